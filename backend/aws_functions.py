"""Adapter: Lambda functions, called through boto3."""

import json
from collections.abc import Mapping
from typing import Protocol

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError

from backend.aws_errors import translated
from backend.config import aws_region
from backend.errors import SettingsError

# Label Studio waits a second for the answer behind a call.
_SWIFT = Config(connect_timeout=1, read_timeout=5, retries={"total_max_attempts": 2, "mode": "standard"})


class LambdaClient(Protocol):
    """As much of boto3's client as is used here."""

    def invoke(self, *, FunctionName: str, InvocationType: str, Payload: bytes) -> object:  # noqa: N803  # its names
        """Call a function."""


class Functions:
    """Lambda functions, to be called behind what the caller does."""

    def __init__(self, client: LambdaClient | None = None) -> None:
        try:
            self._client: LambdaClient = client or boto3.session.Session(region_name=aws_region()).client(
                "lambda", config=_SWIFT
            )
        except (BotoCoreError, ValueError) as error:  # no region, an endpoint URL that is none
            raise SettingsError([f"AWS: {error} (AWS_REGION, AWS_ENDPOINT_URL_LAMBDA)"]) from error

    @translated
    def call_later(self, arn: str, event: Mapping[str, object]) -> None:
        """Have the function called with *event* soon. Lambda keeps the event, and calls again where the call fails."""
        self._client.invoke(FunctionName=arn, InvocationType="Event", Payload=json.dumps(event).encode())
