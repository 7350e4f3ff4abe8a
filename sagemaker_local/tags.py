"""AddTags and ListTags."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sagemaker_local.errors import validation

if TYPE_CHECKING:
    from collections.abc import Callable

    from sagemaker_local.state import Document, Store

_MOST_TAGS = 50


class Tags:
    """Tags by ARN."""

    def __init__(self, *, store: Store) -> None:
        self._store = store

    def operations(self) -> dict[str, Callable[[Document], Document]]:
        """The API's operations on tags."""
        return {"AddTags": self.add, "ListTags": self.list_tags}

    def add(self, request: Document) -> Document:
        """AddTags."""
        arn = request["ResourceArn"]
        with self._store.transaction():
            self._store.tag(arn, {tag["Key"]: tag["Value"] for tag in request["Tags"]})
            if len(self._store.tags(arn)) > _MOST_TAGS:
                raise validation(f"A resource can have at most {_MOST_TAGS} tags.")
        return self.list_tags(request)

    def list_tags(self, request: Document) -> Document:
        """ListTags."""
        return {
            "Tags": [{"Key": key, "Value": value} for key, value in self._store.tags(request["ResourceArn"]).items()]
        }
