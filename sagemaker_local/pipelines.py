"""Pipelines: CreatePipeline and its kin."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sagemaker_local.arguments import check_arguments
from sagemaker_local.definition import parse_definition
from sagemaker_local.errors import JobError, conflict, not_found, validation
from sagemaker_local.listing import page
from sagemaker_local.names import bare_name
from sagemaker_local.parameters import DefinitionError
from sagemaker_local.transfer import S3Uri

if TYPE_CHECKING:
    from collections.abc import Callable

    from sagemaker_local.names import Names
    from sagemaker_local.protocol import Protocol
    from sagemaker_local.state import Document, Store
    from sagemaker_local.transfer import Transfer


class Pipelines:
    """The pipelines of the account. Their names differ in more than case, since ARNs are lower-case."""

    def __init__(self, *, store: Store, names: Names, protocol: Protocol, transfer: Transfer) -> None:
        self._store = store
        self._names = names
        self._protocol = protocol
        self._transfer = transfer

    def operations(self) -> dict[str, Callable[[Document], Document]]:
        """The API's operations on pipelines."""
        return {
            "CreatePipeline": self.create,
            "UpdatePipeline": self.update,
            "DescribePipeline": self.describe,
            "ListPipelines": self.list_pipelines,
            "DeletePipeline": self.delete,
        }

    def find(self, name_or_arn: str) -> Document:
        """The pipeline of this name or ARN; ResourceNotFound if there is none."""
        name = bare_name(name_or_arn)
        pipeline = self._store.get("pipeline", name.lower())
        if pipeline is None:
            raise not_found(f"Pipeline '{self._names.arn('pipeline', name)}' does not exist.")
        return pipeline

    def create(self, request: Document) -> Document:
        """CreatePipeline. The same ClientRequestToken again answers the same."""
        name = request["PipelineName"]
        arn = self._names.arn("pipeline", name)
        with self._store.transaction():
            if self._store.remembered(f"pipeline/{arn}", request["ClientRequestToken"]):
                return {"PipelineArn": arn}
        document = self._body(request) | {
            "PipelineName": name,
            "PipelineArn": arn,
            "PipelineStatus": "Active",
            "PipelineDisplayName": request.get("PipelineDisplayName", name),
        }
        if "PipelineDefinition" not in document:
            raise validation("Either PipelineDefinition or PipelineDefinitionS3Location is required.")
        with self._store.transaction():
            if not self._store.insert("pipeline", name.lower(), document):
                raise validation(
                    "Pipeline names must be unique within an AWS account and region. "
                    f"Pipeline with name ({name}) already exists."
                )
            self._store.remember(f"pipeline/{arn}", request["ClientRequestToken"], arn)
            self._store.tag(arn, {tag["Key"]: tag["Value"] for tag in request.get("Tags", [])})
        return {"PipelineArn": arn}

    def update(self, request: Document) -> Document:
        """UpdatePipeline: executions that run keep the definition they began with."""
        pipeline = self.find(request["PipelineName"])
        self._store.update("pipeline", pipeline["PipelineName"].lower(), self._body(request))
        return {"PipelineArn": pipeline["PipelineArn"]}

    def describe(self, request: Document) -> Document:
        """DescribePipeline."""
        pipeline = self.find(request["PipelineName"])
        executions = self._store.documents("execution", parent=pipeline["PipelineArn"])
        return pipeline | ({"LastRunTime": executions[-1]["CreationTime"]} if executions else {})

    def list_pipelines(self, request: Document) -> Document:
        """ListPipelines."""
        shown, token = page(self._store.documents("pipeline"), request, name="PipelineName")
        return {"PipelineSummaries": shown, "NextToken": token}

    def delete(self, request: Document) -> Document:
        """DeletePipeline, with its executions; ConflictException while one runs."""
        pipeline = self.find(request["PipelineName"])
        arn = pipeline["PipelineArn"]
        with self._store.transaction():
            executions = self._store.documents("execution", parent=arn)
            if any(item["PipelineExecutionStatus"] in ("Executing", "Stopping") for item in executions):
                raise conflict(f"Pipeline '{arn}' has an execution that is still running. Stop it first.")
            for execution in executions:
                self._delete_execution(execution["PipelineExecutionArn"])
            self._store.delete("pipeline", pipeline["PipelineName"].lower())
            self._store.forget(f"pipeline/{arn}")
            self._store.forget(f"execution/{arn}")
            self._store.untag(arn)
        return {"PipelineArn": arn}

    def _delete_execution(self, arn: str) -> None:
        for step in self._store.documents("step", parent=arn):
            self._store.delete("step", step["_name"])
        self._store.delete("execution", arn)

    def _body(self, request: Document) -> Document:
        """What CreatePipeline and UpdatePipeline have in common, with a definition that was checked."""
        kept = (
            "PipelineDefinition",
            "PipelineDisplayName",
            "PipelineDescription",
            "RoleArn",
            "ParallelismConfiguration",
        )
        body = {key: request[key] for key in kept if key in request}
        location = request.get("PipelineDefinitionS3Location")
        if location:
            body["PipelineDefinition"] = self._read(S3Uri(location["Bucket"], location["ObjectKey"]))
        if "PipelineDefinition" in body:
            self._check(body["PipelineDefinition"])
        return body

    def _read(self, uri: S3Uri) -> str:
        try:
            return self._transfer.read(uri).decode()
        except (JobError, UnicodeDecodeError) as error:
            raise validation(f"PipelineDefinitionS3Location {uri} cannot be read: {error}") from error

    def _check(self, text: str) -> None:
        try:
            check_arguments(parse_definition(text), self._protocol)
        except DefinitionError as error:
            raise validation(str(error)) from error
