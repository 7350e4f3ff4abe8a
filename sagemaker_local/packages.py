"""Model package groups and their versions."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from sagemaker_local.errors import conflict, validation
from sagemaker_local.listing import page
from sagemaker_local.names import bare_name

if TYPE_CHECKING:
    from collections.abc import Callable

    from sagemaker_local.names import Names
    from sagemaker_local.state import Document, Store

_GROUP, _PACKAGE = "model-package-group", "model-package"
_CREATED_BY: dict[str, str] = {}


class Packages:
    """Model packages: numbered versions in a group, each with an approval status."""

    def __init__(self, *, store: Store, names: Names) -> None:
        self._store = store
        self._names = names

    def operations(self) -> dict[str, Callable[[Document], Document]]:
        """The API's operations on groups and packages."""
        return {
            "CreateModelPackageGroup": self.create_group,
            "DescribeModelPackageGroup": self.describe_group,
            "ListModelPackageGroups": self.list_groups,
            "DeleteModelPackageGroup": self.delete_group,
            "CreateModelPackage": self.create,
            "DescribeModelPackage": self.describe,
            "ListModelPackages": self.list_packages,
            "UpdateModelPackage": self.update,
            "DeleteModelPackage": self.delete,
        }

    def create_group(self, request: Document) -> Document:
        """CreateModelPackageGroup."""
        name = request["ModelPackageGroupName"]
        arn = self._names.arn(_GROUP, name)
        document = request | {
            "ModelPackageGroupArn": arn,
            "ModelPackageGroupStatus": "Completed",
            "CreatedBy": _CREATED_BY,
            "_last_version": 0,
        }
        with self._store.transaction():
            if not self._store.insert(_GROUP, name.lower(), document):
                raise validation(f"Model Package Group already exists: {arn}")
            self._store.tag(arn, {tag["Key"]: tag["Value"] for tag in request.get("Tags", [])})
        return {"ModelPackageGroupArn": arn}

    def describe_group(self, request: Document) -> Document:
        """DescribeModelPackageGroup."""
        return self._group(request["ModelPackageGroupName"])

    def list_groups(self, request: Document) -> Document:
        """ListModelPackageGroups."""
        shown, token = page(self._store.documents(_GROUP), request, name="ModelPackageGroupName")
        return {"ModelPackageGroupSummaryList": shown, "NextToken": token}

    def delete_group(self, request: Document) -> Document:
        """DeleteModelPackageGroup; ConflictException while it has versions."""
        group = self._group(request["ModelPackageGroupName"])
        arn, name = group["ModelPackageGroupArn"], group["ModelPackageGroupName"]
        with self._store.transaction():
            if self._store.documents(_PACKAGE, parent=name.lower()):
                raise conflict(f"Model Package Group {arn} cannot be deleted because it still contains Model Packages.")
            self._store.delete(_GROUP, name.lower())
            self._store.untag(arn)
        return {}

    def _group(self, name_or_arn: str) -> Document:
        name = bare_name(name_or_arn)
        group = self._store.get(_GROUP, name.lower())
        if group is None:
            raise validation(f"ModelPackageGroup {self._names.arn(_GROUP, name)} does not exist.")
        return group

    def create(self, request: Document) -> Document:
        """CreateModelPackage: the next version of its group."""
        if "ModelPackageGroupName" not in request or "InferenceSpecification" not in request:
            raise validation(
                "sagemaker_local keeps versioned model packages only: "
                "ModelPackageGroupName and InferenceSpecification are required."
            )
        with self._store.transaction():
            group = self._group(request["ModelPackageGroupName"])
            name, version = group["ModelPackageGroupName"], group["_last_version"] + 1
            arn = self._names.arn(_PACKAGE, f"{name}/{version}")
            document: Document = {"ModelApprovalStatus": "PendingManualApproval"} | request
            document |= {
                "ModelPackageName": f"{name}/{version}",
                "ModelPackageGroupName": name,
                "ModelPackageVersion": version,
                "ModelPackageArn": arn,
                "ModelPackageStatus": "Completed",
                "ModelPackageStatusDetails": {"ValidationStatuses": [], "ImageScanStatuses": []},
                "CreatedBy": _CREATED_BY,
            }
            self._store.insert(_PACKAGE, f"{name}/{version}".lower(), document, parent=name.lower())
            self._store.update(_GROUP, name.lower(), {"_last_version": version})
            self._store.tag(arn, {tag["Key"]: tag["Value"] for tag in request.get("Tags", [])})
        return {"ModelPackageArn": arn}

    def describe(self, request: Document) -> Document:
        """DescribeModelPackage, by name (`group/version`) or ARN."""
        return self.find(request["ModelPackageName"])

    def list_packages(self, request: Document) -> Document:
        """ListModelPackages, of one group or all, newest first unless asked otherwise."""
        group = request.get("ModelPackageGroupName")
        parent = self._group(group)["ModelPackageGroupName"].lower() if group else None
        wanted = request.get("ModelApprovalStatus")
        packages = self._store.documents(_PACKAGE, parent=parent)
        packages = [item for item in packages if wanted in (None, item["ModelApprovalStatus"])]
        shown, token = page(packages, request, name="ModelPackageName")
        return {"ModelPackageSummaryList": [_summary(item) for item in shown], "NextToken": token}

    def update(self, request: Document) -> Document:
        """UpdateModelPackage: approval, its description, customer metadata."""
        with self._store.transaction():
            package = self.find(request["ModelPackageArn"])
            kept = ("ModelApprovalStatus", "ApprovalDescription", "InferenceSpecification", "SourceUri")
            changes = {key: request[key] for key in kept if key in request}
            properties = package.get("CustomerMetadataProperties", {})
            properties = properties | request.get("CustomerMetadataProperties", {})
            gone = request.get("CustomerMetadataPropertiesToRemove", [])
            changes["CustomerMetadataProperties"] = {k: v for k, v in properties.items() if k not in gone}
            changes |= {"LastModifiedTime": time.time(), "LastModifiedBy": _CREATED_BY}
            self._store.update(_PACKAGE, package["ModelPackageName"].lower(), changes)
        return {"ModelPackageArn": package["ModelPackageArn"]}

    def delete(self, request: Document) -> Document:
        """DeleteModelPackage; its version number is not used again."""
        package = self.find(request["ModelPackageName"])
        self._store.delete(_PACKAGE, package["ModelPackageName"].lower())
        self._store.untag(package["ModelPackageArn"])
        return {}

    def find(self, name_or_arn: str) -> Document:
        """The package of this name or ARN; ValidationException if there is none."""
        name = bare_name(name_or_arn)
        package = self._store.get(_PACKAGE, name.lower())
        if package is None:
            raise validation(f"ModelPackage {self._names.arn(_PACKAGE, name)} does not exist.")
        return package


def _summary(package: Document) -> Document:
    """A versioned package has no name of its own in listings."""
    return {key: value for key, value in package.items() if key != "ModelPackageName"}
