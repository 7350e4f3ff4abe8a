"""List operations: filter, sort and page, the same for every noun."""

from __future__ import annotations

import base64
import json
from datetime import datetime
from typing import TYPE_CHECKING, Any

from sagemaker_local.errors import validation

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sagemaker_local.state import Document

Page = tuple[list["Document"], str | None]

_LATER = {
    "CreationTimeAfter": "CreationTime",
    "CreatedAfter": "CreationTime",
    "LastModifiedTimeAfter": "LastModifiedTime",
}
_EARLIER = {
    "CreationTimeBefore": "CreationTime",
    "CreatedBefore": "CreationTime",
    "LastModifiedTimeBefore": "LastModifiedTime",
}


def page(
    documents: Sequence[Document],
    request: Document,
    *,
    name: str,
    status: str = "",
    sort_by: str = "CreationTime",
    sort_order: str = "Descending",
) -> Page:
    """One page of the documents that the request wants, and the token of the next page.

    `name` and `status` are the members that hold a document's name and status. A token names the last document
    shown, so what is created between two pages neither hides nor repeats one.
    """
    by: str = request.get("SortBy", sort_by)
    by = {"Name": name, "Status": status}.get(by, by)
    descending = request.get("SortOrder", sort_order) == "Descending"

    def key(document: Document) -> list[Any]:
        return [document[by], document["CreationTime"], document[name]]

    wanted = [item for item in documents if _matches(item, request, name=name, status=status)]
    ordered = sorted(wanted, key=key, reverse=descending)
    return _cut(ordered, request, key=key, descending=descending)


def _matches(document: Document, request: Document, *, name: str, status: str) -> bool:
    return (
        request.get("NameContains", "").lower() in document[name].lower()
        and document[name].startswith(request.get("PipelineNamePrefix", ""))
        and request.get("StatusEquals") in (None, document.get(status))
        and all(document[member] > _epoch(request[key]) for key, member in _LATER.items() if key in request)
        and all(document[member] < _epoch(request[key]) for key, member in _EARLIER.items() if key in request)
    )


def _cut(ordered: list[Document], request: Document, *, key: Callable[[Document], list[Any]], descending: bool) -> Page:
    if "NextToken" in request:
        ordered = _after(ordered, _token_key(request["NextToken"]), key=key, descending=descending)
    size = request.get("MaxResults", 100)
    shown = ordered[:size]
    more = len(ordered) > size
    return shown, (_token(key(shown[-1])) if more else None)


def _after(
    ordered: list[Document], last: list[Any], *, key: Callable[[Document], list[Any]], descending: bool
) -> list[Document]:
    try:
        return [item for item in ordered if (key(item) < last if descending else key(item) > last)]
    except TypeError as error:  # a token of another list
        raise validation("Invalid pagination token.") from error


def _token(key: list[Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(key).encode()).decode()


def _token_key(token: str) -> list[Any]:
    try:
        key = json.loads(base64.urlsafe_b64decode(token))
    except ValueError as error:
        raise validation("Invalid pagination token.") from error
    if not isinstance(key, list):
        raise validation("Invalid pagination token.")
    return key


def _epoch(value: float | str) -> float:
    """A time of a request as epoch seconds: boto3 sends a number, other clients may send ISO 8601."""
    if isinstance(value, int | float):
        return float(value)
    try:
        return datetime.fromisoformat(value).timestamp()
    except ValueError as error:
        raise validation(f"{value!r} is not a time") from error
