"""The adapter to CloudFormation: requests and answers are checked with botocore's own service model."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import boto3
import pytest
from botocore.stub import Stubber

from backend.errors import AwsAccessError, AwsError
from backend.stacks import MAX_TEMPLATE_BYTES, Stacks

NOW = datetime.now(UTC)
CLIENT = boto3.session.Session(region_name="eu-west-1", aws_access_key_id="k", aws_secret_access_key="s").client(
    "cloudformation"
)
ME = "arn:aws:iam::111122223333:user/ann"


@pytest.fixture
def stub() -> Iterator[Stubber]:
    with Stubber(CLIENT) as stub:
        yield stub
        stub.assert_no_pending_responses()


def described(**more: Any) -> dict[str, Any]:
    stack = {"StackName": "birds-core", "StackId": "id", "CreationTime": NOW, "StackStatus": "CREATE_COMPLETE"}
    return {"Stacks": [{**stack, **more}]}


def happened(number: int, status: str = "CREATE_IN_PROGRESS", reason: str = "") -> dict[str, Any]:
    return {
        "StackId": "id",
        "StackName": "birds-core",
        "EventId": f"e{number}",
        "LogicalResourceId": f"R{number}",
        "ResourceType": "AWS::S3::Bucket",
        "ResourceStatus": status,
        "ResourceStatusReason": reason,
        "Timestamp": NOW,
    }


def test_a_stack_that_is_not_there_is_none(stub: Stubber):
    stub.add_client_error("describe_stacks", "ValidationError", "Stack with id birds-core does not exist")
    assert Stacks(CLIENT).find("birds-core") is None


def test_a_stack_comes_with_outputs_parameters_and_tags(stub: Stubber):
    outputs = [{"OutputKey": "BucketName", "OutputValue": "birds"}]
    stub.add_response("describe_stacks", described(Outputs=outputs, Tags=[{"Key": "a", "Value": "b"}]))

    stack = Stacks(CLIENT).find("birds-core")

    assert stack is not None
    assert (stack.outputs, stack.tags, stack.done) == ({"BucketName": "birds"}, {"a": "b"}, True)


def test_an_update_that_changes_nothing_is_no_error(stub: Stubber):
    stub.add_client_error("update_stack", "ValidationError", "No updates are to be performed.")
    assert Stacks(CLIENT).update("birds-core", "{}", {}, {}) is False


def test_a_parameter_without_a_value_keeps_the_one_it_has(stub: Stubber):
    request = {
        "StackName": "birds-core",
        "TemplateBody": "{}",
        "Parameters": [
            {"ParameterKey": "Name", "ParameterValue": "birds"},
            {"ParameterKey": "BucketName", "UsePreviousValue": True},
        ],
        "Capabilities": ["CAPABILITY_IAM"],
        "Tags": [],
    }
    stub.add_response("update_stack", {"StackId": "id"}, request)
    assert Stacks(CLIENT).update("birds-core", "{}", {"Name": "birds", "BucketName": None}, {}) is True


def test_a_permission_that_lacks_is_told_with_its_action_and_resource(stub: Stubber):
    arn = "arn:aws:cloudformation:eu-west-1:111122223333:stack/birds-core/*"
    told = f"User: {ME} is not authorized to perform: cloudformation:CreateStack on resource: {arn}"
    stub.add_client_error("create_stack", "AccessDenied", told)

    with pytest.raises(AwsAccessError) as caught:
        Stacks(CLIENT).create("birds-core", "{}", {}, {})

    assert str(caught.value).endswith(f"allow cloudformation:CreateStack on {arn} in a policy of whoever runs this")


def test_a_template_that_is_too_long_is_told_before_it_is_sent():
    with pytest.raises(AwsError, match="the template of birds-core has 51201 bytes and CloudFormation takes 51200"):
        Stacks(CLIENT).create("birds-core", "x" * (MAX_TEMPLATE_BYTES + 1), {}, {})


def test_events_are_those_after_the_one_that_is_known_oldest_first(stub: Stubber):
    stub.add_response("describe_stack_events", {"StackEvents": [happened(3), happened(2), happened(1)]})
    assert [event.resource for event in Stacks(CLIENT).events("id", since="e1")] == ["R2", "R3"]


def test_what_was_cancelled_since_something_else_failed_did_not_fail_itself(stub: Stubber):
    cancelled = happened(2, "CREATE_FAILED", "Resource creation cancelled")
    stub.add_response("describe_stack_events", {"StackEvents": [cancelled, happened(1, "CREATE_FAILED", "denied")]})
    assert [event.failed for event in Stacks(CLIENT).events("id")] == [True, False]
