"""Stacks that are half-made: `provision` heals them, or says what a person has to do first."""

from typing import Any

import pytest

from backend.errors import AwsError, BackendError
from tests.infra.desk import PACKAGE, Desk, client
from tests.infra.half_made import Phase, failing

pytestmark = pytest.mark.usefixtures("account")
TOPICS = "the account has no room for more topics"
POLICY = "AWS::IAM::ManagedPolicy"
ANN = "ann@example.com"


def status(stack: str = "birds-core") -> str:
    found: Any = client("cloudformation").describe_stacks(StackName=stack)["Stacks"][0]
    return str(found["StackStatus"])


def break_off(phase: Phase, ends: str, **parameters: str) -> str:
    """What a `provision` says that CloudFormation does not bring to its end."""
    with failing(POLICY, TOPICS, phase=phase, ends=ends), pytest.raises(AwsError) as caught:
        Desk().make(**parameters)
    return str(caught.value)


@pytest.mark.parametrize("ends", ["ROLLBACK_COMPLETE", "ROLLBACK_FAILED", "CREATE_FAILED"])
def test_one_that_was_never_wholly_made_is_made_anew_and_its_reason_told(ends: str):
    told = break_off("CREATE", ends)
    assert told == (f"stack birds-core: {ends}: SageMakerPolicy ({POLICY}): {TOPICS}; mend that, and run this again")
    desk = Desk()

    core, _ = desk.make()

    assert core.done
    assert f"birds-core: {ends} (SageMakerPolicy ({POLICY}): {TOPICS}), so it is deleted" in desk.told.getvalue()


def test_one_that_was_only_reviewed_is_made():
    client("cloudformation").create_change_set(
        StackName="birds-core",
        ChangeSetName="looked-at",
        ChangeSetType="CREATE",
        TemplateBody='{"Resources": {}, "Parameters": {"Name": {"Type": "String"}}}',
        Parameters=[{"ParameterKey": "Name", "ParameterValue": "birds"}],
        Tags=[{"Key": "label-studio", "Value": "http://studio.example:8080"}],
    )
    assert status() == "REVIEW_IN_PROGRESS"
    assert Desk().make()[0].done


def test_one_that_was_not_wholly_deleted_is_made_anew_though_its_pipeline_is_there():
    desk = Desk()
    desk.make()
    running = "Pipeline birds has executions that run"
    with (
        failing("AWS::SageMaker::Pipeline", running, phase="DELETE", ends="DELETE_FAILED"),
        pytest.raises(AwsError, match=f"DELETE_FAILED: Pipeline .*: {running}; mend that, and run this again"),
    ):
        desk.destroy()
    assert desk.account.pipeline() is not None

    assert Desk().make()[0].done


def test_one_that_cannot_be_deleted_is_told_with_who_ends_what_runs():
    desk = Desk()
    desk.make()
    with failing(POLICY, "it is attached", phase="DELETE", ends="DELETE_FAILED"):
        with pytest.raises(AwsError):
            desk.destroy()
        with pytest.raises(AwsError, match=r"it is attached; mend that, and run this again \(`destroy` ends trainings"):
            Desk().make()


def test_a_destroy_that_could_not_delete_a_stack_goes_on():
    desk = Desk()
    desk.make()
    with failing(POLICY, "it is attached", phase="DELETE", ends="DELETE_FAILED"), pytest.raises(AwsError):
        desk.destroy()

    desk.destroy(data=True)

    assert desk.teardown.find().nothing


def test_an_update_that_was_rolled_back_is_told_and_tried_again():
    Desk().make()
    told = break_off("UPDATE", "UPDATE_ROLLBACK_COMPLETE", NotificationEmail=ANN)
    assert told.endswith(f"{TOPICS}; mend that, and run this again")

    core, _ = Desk().make(NotificationEmail=ANN)

    assert core.parameters["NotificationEmail"] == ANN


def test_an_update_that_could_not_be_rolled_back_says_how_it_is_brought_back():
    Desk().make()
    break_off("UPDATE", "UPDATE_ROLLBACK_FAILED", NotificationEmail=ANN)

    with pytest.raises(AwsError) as caught:
        Desk().make()

    assert str(caught.value) == (
        f"stack birds-core: UPDATE_ROLLBACK_FAILED: SageMakerPolicy ({POLICY}): {TOPICS}; mend that; then `aws "
        "cloudformation continue-update-rollback --stack-name birds-core` brings it back, and then run this again"
    )


def test_a_trigger_that_is_half_made_is_made_anew():
    core, settings = Desk().make()
    with failing("AWS::Lambda::Function", "no such runtime"), pytest.raises(AwsError):
        Desk().provision.trigger(core, settings, PACKAGE, {})
    assert status("birds-trigger") == "ROLLBACK_COMPLETE"

    assert Desk().provision.trigger(core, settings, PACKAGE, {}).endswith("/webhook")


def test_a_bucket_that_a_half_made_stack_left_behind_is_told_with_what_to_do():
    desk = Desk(S3_BUCKET="my-birds")
    desk.make()
    with failing(POLICY, "it is attached", phase="DELETE", ends="DELETE_FAILED"), pytest.raises(AwsError):
        desk.destroy()
    with pytest.raises(BackendError, match=r"the bucket my-birds is there already, .*: leave S3_BUCKET out"):
        Desk(S3_BUCKET="my-birds").make()
