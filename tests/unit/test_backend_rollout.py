"""Bringing stacks to where they are wanted: what is waited for, what is told, and what is tried again."""

import io
from collections.abc import Mapping
from dataclasses import dataclass, field

import pytest

from backend.console import Console
from backend.errors import AwsAwayError, AwsError
from backend.rollout import Rollout, Wanted
from backend.stacks import Stack, StackEvent

WANTED = Wanted(name="birds-core", template="Parameters:\n  Name:\n    Type: String\n", parameters={"Name": "birds"})
DENIED = (
    "User: arn:aws:iam::111122223333:user/ann is not authorized to perform: iam:CreateRole on resource: "
    "arn:aws:iam::111122223333:role/birds because no identity-based policy allows it"
)


@dataclass
class Stacks:
    """A CloudFormation whose one stack takes *course*, a status a look; '' is no stack, AWAY none to be had."""

    course: list[str]
    happened: list[StackEvent] = field(default_factory=list)
    parameters: Mapping[str, str] = field(default_factory=dict)
    changes: bool = True
    asked: list[tuple[str, object]] = field(default_factory=list)

    def find(self, name: str) -> Stack | None:
        status = self.course.pop(0) if len(self.course) > 1 else self.course[0]
        if status == "AWAY":
            raise AwsAwayError("AWS cannot be reached")
        if not status:
            return None
        return Stack(id="id", name="birds-core", status=status, outputs={}, parameters=self.parameters, tags={})

    def create(self, name: str, template: str, parameters: Mapping[str, str], tags: Mapping[str, str]) -> None:
        self.asked.append(("create", parameters))

    def update(self, name: str, template: str, parameters: Mapping[str, str | None], tags: Mapping[str, str]) -> bool:
        self.asked.append(("update", parameters))
        return self.changes

    def delete(self, name: str) -> None:
        self.asked.append(("delete", name))

    def events(self, stack: str, *, since: str = "") -> list[StackEvent]:
        return self.happened

    def last_event(self, stack: str) -> str:
        return "before"


class Clock:
    """Time that passes as it is slept."""

    now = 0.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def rollout(stacks: Stacks) -> tuple[Rollout, io.StringIO]:
    clock, told = Clock(), io.StringIO()
    return Rollout(stacks, Console(told, clock=clock, sleep=clock.sleep)), told


def failure(stacks: Stacks) -> str:
    with pytest.raises(AwsError) as caught:
        rollout(stacks)[0].ensure(WANTED)
    return str(caught.value)


def test_a_stack_that_is_not_there_is_made():
    stacks = Stacks(["", "CREATE_IN_PROGRESS", "CREATE_COMPLETE"])
    assert rollout(stacks)[0].ensure(WANTED)[1] == "made"
    assert stacks.asked == [("create", {"Name": "birds"})]


def test_what_takes_long_is_told_of_with_what_happened_last():
    stacks = Stacks(["", *["CREATE_IN_PROGRESS"] * 4, "CREATE_COMPLETE"])
    stacks.happened = [StackEvent("1", "Bucket", "AWS::S3::Bucket", "CREATE_IN_PROGRESS")]
    running, told = rollout(stacks)

    running.ensure(WANTED)

    assert "stack birds-core (create in progress): Bucket create in progress" in told.getvalue()


def test_a_stack_that_does_not_differ_is_found():
    stacks = Stacks(["CREATE_COMPLETE"], changes=False)
    assert rollout(stacks)[0].ensure(WANTED)[1] == "found"


def test_parameters_that_nobody_gives_keep_their_values_and_old_ones_are_dropped():
    stacks = Stacks(["UPDATE_COMPLETE"], parameters={"Name": "old", "Gone": "1"})
    rollout(stacks)[0].ensure(WANTED)
    assert stacks.asked == [("update", {"Name": "birds"})]


@pytest.mark.parametrize("status", ["ROLLBACK_COMPLETE", "CREATE_FAILED", "DELETE_FAILED", "REVIEW_IN_PROGRESS"])
def test_a_stack_that_was_never_wholly_made_is_deleted_first(status: str):
    stacks = Stacks([status, status, "DELETE_COMPLETE", "CREATE_COMPLETE"])
    assert rollout(stacks)[0].ensure(WANTED)[1] == "made"
    assert [what for what, _ in stacks.asked] == ["delete", "create"]


def test_a_stack_that_somebody_else_works_on_is_waited_for():
    stacks = Stacks(["UPDATE_IN_PROGRESS", "UPDATE_IN_PROGRESS", "UPDATE_COMPLETE"])
    rollout(stacks)[0].ensure(WANTED)
    assert [what for what, _ in stacks.asked] == ["update"]


def test_a_stack_that_somebody_else_deletes_is_waited_for_and_made_anew():
    stacks = Stacks(["DELETE_IN_PROGRESS", "DELETE_COMPLETE", "CREATE_COMPLETE"])
    assert rollout(stacks)[0].ensure(WANTED)[1] == "made"
    assert [what for what, _ in stacks.asked] == ["create"]


def test_a_stack_that_was_deleted_while_it_was_waited_for_is_none():
    assert rollout(Stacks(["DELETE_IN_PROGRESS", "DELETE_COMPLETE"]))[0].settled("birds-core") is None


def test_a_look_that_fails_does_not_end_the_wait():
    stacks = Stacks(["", "CREATE_IN_PROGRESS", "AWAY", "AWAY", "CREATE_COMPLETE"])
    assert rollout(stacks)[0].ensure(WANTED)[0].done


def test_a_failed_stack_is_told_with_the_first_reason_of_its_own():
    stacks = Stacks(["", "CREATE_IN_PROGRESS", "ROLLBACK_COMPLETE"])
    stacks.happened = [
        StackEvent("1", "Role", "AWS::IAM::Role", "CREATE_FAILED", "Resource creation cancelled"),
        StackEvent("2", "Topic", "AWS::SNS::Topic", "CREATE_FAILED", "no more topics"),
        StackEvent("3", "Bucket", "AWS::S3::Bucket", "CREATE_FAILED", "later"),
    ]
    assert failure(stacks) == (
        "stack birds-core: ROLLBACK_COMPLETE: Topic (AWS::SNS::Topic): no more topics; mend that, and run this again"
    )


@pytest.mark.parametrize(
    ("reason", "cure"),
    [
        (DENIED, "allow iam:CreateRole on arn:aws:iam::111122223333:role/birds in a policy of whoever runs this"),
        ("birds already exists in stack arn:x", "Choose another SAGEMAKER_PIPELINE or S3_BUCKET"),
        (
            "The requested bucket name is not available. The bucket namespace is shared by all users",
            "choose another S3_BUCKET",
        ),
    ],
)
def test_a_reason_that_is_known_comes_with_its_cure(reason: str, cure: str):
    stacks = Stacks(["", "ROLLBACK_COMPLETE"])
    stacks.happened = [StackEvent("1", "Role", "AWS::IAM::Role", "CREATE_FAILED", reason)]
    assert cure in failure(stacks)


def test_an_update_that_could_not_be_rolled_back_is_left_to_the_person():
    stacks = Stacks(["UPDATE_ROLLBACK_FAILED"])
    assert "aws cloudformation continue-update-rollback --stack-name birds-core" in failure(stacks)
    assert stacks.asked == []


def test_an_update_that_was_rolled_back_can_be_tried_again():
    stacks = Stacks(["UPDATE_ROLLBACK_COMPLETE", "UPDATE_IN_PROGRESS", "UPDATE_COMPLETE"])
    assert rollout(stacks)[0].ensure(WANTED)[1] == "updated"


def test_what_is_gone_need_not_be_removed():
    stacks = Stacks([""])
    assert rollout(stacks)[0].remove("birds-core") is False
    assert stacks.asked == []


def test_a_stack_that_does_not_go_is_told_with_its_reason():
    stacks = Stacks(["CREATE_COMPLETE", "DELETE_IN_PROGRESS", "DELETE_FAILED"])
    stacks.happened = [StackEvent("1", "Pipeline", "AWS::SageMaker::Pipeline", "DELETE_FAILED", "it runs")]
    with pytest.raises(AwsError, match=r"DELETE_FAILED: Pipeline .*: it runs"):
        rollout(stacks)[0].remove("birds-core")
