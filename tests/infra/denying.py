"""AWS that denies calls, in AWS's own words; the rest goes to the emulated account."""

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from botocore.client import BaseClient
from botocore.exceptions import ClientError

from tests.infra.account import ACCOUNT

WHO = f"arn:aws:iam::{ACCOUNT}:user/ann"
_HEAD = {"HeadBucket", "HeadObject"}  # their answers have no body, so AWS has no words


def lacking(action: str, resource: str) -> str:
    """What AWS says where no policy allows it; S3 puts the resource in quotes."""
    shown = f'"{resource}"' if action.startswith("s3:") else resource
    return (
        f"User: {WHO} is not authorized to perform: {action} on resource: {shown} "
        f"because no identity-based policy allows the {action} action"
    )


@contextlib.contextmanager
def denying(operation: str, action: str, resource: str, *, told: str = "") -> Iterator[None]:
    """Within it every client is denied *operation*, such as CreateStack."""
    clients: Any = BaseClient
    real = clients._make_api_call

    def call(client: BaseClient, name: str, parameters: Mapping[str, Any]) -> Any:
        if name == operation:
            error = _bare() if name in _HEAD else _worded(told or lacking(action, resource))
            raise ClientError(error, name)
        return real(client, name, parameters)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(clients, "_make_api_call", call)
        yield


def _worded(told: str) -> Any:
    return {"Error": {"Code": "AccessDenied", "Message": told}, "ResponseMetadata": {"HTTPStatusCode": 403}}


def _bare() -> Any:
    return {"Error": {"Code": "403", "Message": "Forbidden"}, "ResponseMetadata": {"HTTPStatusCode": 403}}
