"""The adapter to Lambda: the request is checked with botocore's own service model."""

import boto3
import pytest
from botocore.stub import Stubber

from backend.aws_functions import Functions
from backend.errors import AwsAccessError, SettingsError

ARN = "arn:aws:lambda:eu-west-1:123456789012:function:trigger"


@pytest.fixture
def client() -> object:
    return boto3.client("lambda", region_name="eu-west-1", aws_access_key_id="x", aws_secret_access_key="x")


def test_a_function_is_called_behind_the_caller(client: object):
    with Stubber(client) as stub:  # type: ignore[arg-type]
        wanted = {"FunctionName": ARN, "InvocationType": "Event", "Payload": b'{"train": {"project": 3}}'}
        stub.add_response("invoke", {"StatusCode": 202}, wanted)

        Functions(client).call_later(ARN, {"train": {"project": 3}})  # type: ignore[arg-type]

        stub.assert_no_pending_responses()


def test_a_denied_call_says_what_to_allow(client: object):
    told = f"User: arn:aws:sts::1:x is not authorized to perform: lambda:InvokeFunction on resource: {ARN}"
    with Stubber(client) as stub:  # type: ignore[arg-type]
        stub.add_client_error("invoke", "AccessDeniedException", told)

        with pytest.raises(AwsAccessError, match="lambda:InvokeFunction"):
            Functions(client).call_later(ARN, {})  # type: ignore[arg-type]


def test_an_address_that_is_none_is_told_with_the_variables(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    monkeypatch.setenv("AWS_ENDPOINT_URL_LAMBDA", "nowhere")

    with pytest.raises(SettingsError, match="AWS_ENDPOINT_URL_LAMBDA"):
        Functions()
