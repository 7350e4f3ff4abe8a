"""When to train: the rule, and the one execution that it starts."""

import json
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backend.aws import Execution, Failure, ModelPackage
from backend.errors import AwsError, BackendError, LabelConfigError, LabelStudioError
from backend.label_studio import Project
from backend.trainer import ATTEMPTS, Action, Decision, History, Policy, Trainer, decide, execution_token, read_history
from tests import fakes
from tests.fakes import BIRDS, FakeCloud, FakeImages, FakeStudio, annotated_task

NOW = datetime(2026, 1, 10, 12, tzinfo=UTC)
POLICY = Policy()
HISTORIES = st.builds(
    History,
    newest=st.sampled_from(["", "arn:1"]),
    running=st.booleans(),
    last_trained=st.integers(0, 60),
    failures=st.integers(0, 7),
    failed_at=st.integers(0, 60),
    failed_on=st.none() | st.just(NOW - timedelta(minutes=1)) | st.just(NOW - timedelta(days=1)),
    today=st.integers(0, 30),
).filter(lambda history: history.failed_at >= history.last_trained)


def decided(annotations: int, history: History, **options: Any) -> Decision:
    return decide(annotations, history, POLICY, now=NOW, **options)


@pytest.mark.parametrize(
    ("annotations", "history", "action"),
    [
        pytest.param(0, History(), Action.WAIT, id="nothing yet"),
        pytest.param(15, History(), Action.WAIT, id="one too few"),
        pytest.param(16, History(), Action.START, id="the 16th"),
        pytest.param(17, History(), Action.START, id="two came at once"),
        pytest.param(20, History(last_trained=16), Action.WAIT, id="before the second threshold"),
        pytest.param(32, History(last_trained=16), Action.START, id="16 after"),
        pytest.param(36, History(last_trained=20), Action.START, id="16 after a forced one"),
        pytest.param(10, History(last_trained=16), Action.WAIT, id="many were deleted"),
        pytest.param(99, History(running=True), Action.RUNNING, id="one runs"),
        pytest.param(99, History(today=24), Action.DAY_LIMIT, id="as many as a day may have"),
        pytest.param(
            16,
            History(failures=1, failed_at=16, failed_on=NOW - timedelta(minutes=9)),
            Action.COOL_DOWN,
            id="failed now",
        ),
        pytest.param(
            16, History(failures=1, failed_at=16, failed_on=NOW - timedelta(minutes=11)), Action.START, id="cooled down"
        ),
        pytest.param(17, History(failures=ATTEMPTS, failed_at=16), Action.WAIT, id="three attempts failed"),
        pytest.param(32, History(failures=ATTEMPTS, failed_at=16, failed_on=NOW), Action.START, id="next threshold"),
        pytest.param(
            32, History(failures=ATTEMPTS + 1, failed_at=32, failed_on=NOW), Action.COOL_DOWN, id="failed there too"
        ),
    ],
)
def test_training_starts_at_the_threshold(annotations: int, history: History, action: Action):
    assert decided(annotations, history).action is action


@pytest.mark.parametrize(
    ("annotations", "history", "action"),
    [
        pytest.param(3, History(), Action.START, id="below the threshold"),
        pytest.param(20, History(failures=1, failed_at=16, failed_on=NOW), Action.START, id="while cooling down"),
        pytest.param(20, History(today=99), Action.START, id="beyond the day's limit"),
        pytest.param(20, History(running=True), Action.RUNNING, id="not beside a running one"),
        pytest.param(0, History(), Action.WAIT, id="not without annotations"),
    ],
)
def test_start_training_asks_for_no_count(annotations: int, history: History, action: Action):
    assert decided(annotations, history, forced=True).action is action


@given(st.integers(0, 100), HISTORIES)
def test_training_never_starts_below_the_threshold(annotations: int, history: History):
    decision = decided(annotations, history)

    if annotations - history.last_trained < POLICY.every or annotations < decision.train_at:
        assert decision.action is not Action.START


@given(st.integers(1, 100), HISTORIES.filter(lambda each: not each.running))
def test_training_always_starts_at_the_threshold_when_nothing_hinders_it(annotations: int, history: History):
    decision = decided(annotations, history)

    if annotations >= decision.train_at and decision.action is not Action.START:
        assert decision.action in {Action.COOL_DOWN, Action.DAY_LIMIT}
        assert history.failed_on == NOW - timedelta(minutes=1) or history.today >= POLICY.per_day


@given(st.integers(0, 100), HISTORIES, st.booleans())
def test_a_decision_tells_count_and_threshold(annotations: int, history: History, forced: bool):
    answer = decided(annotations, history, forced=forced).as_json()

    assert answer["annotations"] == annotations
    assert isinstance(answer["train_at"], int)
    assert answer["status"] in {action.value for action in Action}
    assert answer["message"]


def executions(*statuses: str, annotations: Sequence[int] = (48, 32, 16)) -> list[Execution]:
    return [
        Execution(f"arn:{number}", status, count, 0, NOW - timedelta(hours=20 * number))
        for number, (status, count) in enumerate(zip(statuses, annotations, strict=False))
    ]


@pytest.mark.parametrize(
    ("statuses", "history"),
    [
        pytest.param([], History(), id="none"),
        pytest.param(["Executing"], History("arn:0", running=True, today=1), id="running"),
        pytest.param(["Stopping"], History("arn:0", running=True, today=1), id="being stopped"),
        pytest.param(["Succeeded"], History("arn:0", last_trained=48, today=1), id="succeeded"),
        pytest.param(["Stopped"], History("arn:0", last_trained=48, today=1), id="stopped by somebody"),
        pytest.param(["Failed"], History("arn:0", failures=1, failed_at=48, today=1), id="failed"),
        pytest.param(
            ["Failed", "Failed", "Succeeded"],
            History("arn:0", last_trained=16, failures=2, failed_at=48, today=2),
            id="failed twice since",
        ),
        pytest.param(
            ["Executing", "Failed", "Succeeded"],
            History("arn:0", running=True, last_trained=16, failures=1, failed_at=32, today=2),
            id="tried again",
        ),
        pytest.param(
            ["Succeeded", "Failed"], History("arn:0", last_trained=48, today=2), id="failures before it are forgotten"
        ),
    ],
)
def test_the_history_is_what_the_executions_say(statuses: list[str], history: History):
    assert read_history(executions(*statuses), now=NOW) == history


def test_annotations_that_were_trained_on_and_deleted_need_not_be_made_up_for(
    trainer: Trainer, cloud: FakeCloud, studio: FakeStudio
):
    trainer.consider(3)
    cloud.finish("Succeeded")
    studio.count = 6

    assert trainer.consider(3)[0].train_at == 22
    studio.count = 21
    assert trainer.consider(3)[0].train_at == 22


def test_an_older_refusal_is_no_failure():
    failed, refused = executions("Failed", "Failed")
    ends = {failed.arn: Failure(NOW), refused.arn: Failure(NOW, refused=True)}

    history = read_history([failed, refused], now=NOW, failures=ends)

    assert (history.failures, history.last_trained, history.refused) == (1, refused.annotations, False)


def test_the_newest_failure_tells_what_was_short_until_a_training_succeeds():
    newest, older = executions("Failed", "Failed")
    ends = {newest.arn: Failure(NOW, shortage="ask for more"), older.arn: Failure(NOW, shortage="wait")}

    assert read_history([newest, older], now=NOW, failures=ends).shortage == "ask for more"
    assert read_history(executions("Succeeded", "Failed"), now=NOW, failures=ends).shortage == ""


def test_an_interface_that_cannot_be_trained_on_is_told_long_before_the_threshold(trainer: Trainer, studio: FakeStudio):
    studio.count, studio.label_config = 1, "<View/>"

    with pytest.raises(LabelConfigError, match="PolygonLabels"):
        trainer.consider(3)


def test_a_refused_model_uses_its_annotations_up(trainer: Trainer, cloud: FakeCloud, studio: FakeStudio):
    trainer.consider(3)
    cloud.history[0] = replace(cloud.history[0], status="Failed")
    cloud.refused = True

    decision, history = trainer.consider(3)

    assert (decision.action, decision.train_at, history.failures) == (Action.WAIT, 32, 0)
    assert "MINIMUM_MIOU" in decision.reason


def test_the_token_is_the_same_for_the_same_state_alone():
    history = History("arn:1")
    token = execution_token("pipeline", 3, history)

    assert token == execution_token("pipeline", 3, History("arn:1", today=5))
    assert 32 <= len(token) <= 128  # what SageMaker takes
    others = [("other", 3, history), ("pipeline", 4, history), ("pipeline", 3, History("arn:2"))]
    assert token not in [execution_token(*other) for other in others]


@pytest.fixture
def cloud() -> FakeCloud:
    return FakeCloud()


@pytest.fixture
def studio() -> FakeStudio:
    return FakeStudio(tasks=[annotated_task(number) for number in range(1, 17)])


@pytest.fixture
def images() -> FakeImages:
    return FakeImages()


@pytest.fixture
def trainer(tmp_path: Path, cloud: FakeCloud, studio: FakeStudio, images: FakeImages) -> Trainer:
    return Trainer(fakes.settings(tmp_path), cloud=cloud, source=studio, images=images)


def test_at_16_a_snapshot_is_written_and_the_pipeline_is_started_with_it(trainer: Trainer, cloud: FakeCloud):
    decision, _ = trainer.consider(3)

    assert decision.action is Action.START
    (parameters,) = cloud.parameters
    folder = parameters["DatasetS3Uri"].removeprefix("s3://birds/")
    assert folder.startswith("ls/projects/3/datasets/")
    assert folder.endswith("/")
    dataset = json.loads(cloud.objects["birds", f"{folder}dataset.json"])
    assert (dataset["annotations"], dataset["train"] + dataset["validation"]) == (16, 16)
    assert ("birds", f"{folder}tasks.jsonl") in cloud.objects
    assert ("birds", f"{folder}images.manifest") in cloud.objects
    assert parameters == {**parameters, "ModelPackageGroupName": "group-p3", "MinimumMIoU": "0.4", "ApproveMIoU": "0.4"}


def test_training_goes_on_from_the_live_model(trainer: Trainer, cloud: FakeCloud):
    cloud.packages = [ModelPackage("arn:package/1", 1, "s3://birds/old/", "job", "s3://birds/models/1/model.tar.gz")]
    cloud.objects["birds", "old/dataset.json"] = json.dumps({"labels": ["Head", "Tail", "Beak"]}).encode()

    trainer.consider(3)

    folder = cloud.parameters[0]["DatasetS3Uri"].removeprefix("s3://birds/")
    manifest = json.loads(cloud.objects["birds", f"{folder}model.manifest"])
    assert manifest == [{"prefix": "s3://birds/"}, f"{folder}earlier.json", "models/1/model.tar.gz"]
    earlier = json.loads(cloud.objects["birds", f"{folder}earlier.json"])
    assert earlier["classes"][:3] == [0, 3, 1]


def test_training_begins_anew_when_nobody_can_tell_the_live_models_labels(tmp_path: Path, studio: FakeStudio):
    class Forgetful(FakeCloud):
        def get_json(self, uri: str) -> Mapping[str, object]:
            raise AwsError("no such object")

    live = ModelPackage("arn:package/1", 1, "s3://birds/old/", "job", "s3://birds/models/1/model.tar.gz")
    cloud = Forgetful(packages=[live])
    trainer = Trainer(fakes.settings(tmp_path), cloud=cloud, source=studio, images=FakeImages())

    assert trainer.consider(3)[0].action is Action.START
    folder = cloud.parameters[0]["DatasetS3Uri"].removeprefix("s3://birds/")
    assert len(json.loads(cloud.objects["birds", f"{folder}model.manifest"])) == 2


def test_below_16_nothing_is_exported(trainer: Trainer, cloud: FakeCloud, studio: FakeStudio):
    studio.tasks.pop()

    decision, _ = trainer.consider(3)

    assert (decision.action, decision.reason) == (Action.WAIT, "15/16 annotations")
    assert (cloud.history, cloud.objects) == ([], {})


@pytest.mark.parametrize(("told", "action"), [(15, Action.WAIT), (16, Action.START)])
def test_what_an_event_told_of_a_project_need_not_be_asked_for(
    trainer: Trainer, studio: FakeStudio, told: int, action: Action
):
    studio.count = 999

    assert trainer.consider(3, told=Project(3, BIRDS, told, 0))[0].action is action


def test_an_event_that_comes_late_or_twice_takes_nothing_back(trainer: Trainer, cloud: FakeCloud, studio: FakeStudio):
    trainer.consider(3)
    for told in (3, 15, 16):
        trainer.consider(3, told=Project(3, BIRDS, told, 0))
    cloud.finish("Succeeded")
    trainer.consider(3, told=Project(3, BIRDS, 3, 0))

    decision, _ = trainer.consider(3)

    assert (decision.action, decision.train_at, len(cloud.history)) == (Action.WAIT, 32, 1)


def test_annotations_that_an_event_told_of_and_nobody_finds_are_told(
    trainer: Trainer, cloud: FakeCloud, studio: FakeStudio, caplog: pytest.LogCaptureFixture
):
    """Imported ones, say, which Label Studio writes into a target storage only when that is synced."""
    studio.tasks = studio.tasks[:4]

    decision, _ = trainer.consider(3, told=Project(3, BIRDS, 20, 0))

    assert (decision.action, decision.annotations, cloud.history) == (Action.WAIT, 4, [])
    assert "project 3: 20 annotations were told of, 4 are there; a target storage may want a sync" in caplog.text


def test_while_one_runs_none_is_started_and_what_came_meanwhile_counts_afterwards(
    trainer: Trainer, cloud: FakeCloud, studio: FakeStudio
):
    trainer.consider(3)
    studio.tasks += [annotated_task(number) for number in range(17, 41)]
    assert trainer.consider(3)[0].action is Action.RUNNING

    cloud.finish()
    trainer.consider(3)

    assert [each.annotations for each in cloud.history] == [16, 40]


def test_a_failure_is_tried_again_after_the_cool_down_three_times_in_all(trainer: Trainer, cloud: FakeCloud):
    actions = []
    for _ in range(ATTEMPTS):
        trainer.consider(3)
        cloud.finish("Failed")
        actions.append(trainer.consider(3)[0].action)
        cloud.finish("Failed", ago=timedelta(minutes=11))
    trainer.consider(3)

    assert actions == [Action.COOL_DOWN, Action.COOL_DOWN, Action.WAIT]
    assert [each.attempt for each in cloud.history] == [0, 1, 2]


def test_the_count_is_that_of_the_export(trainer: Trainer, cloud: FakeCloud, studio: FakeStudio):
    studio.count = 16
    studio.tasks = studio.tasks[:10]  # some were deleted in between

    decision, _ = trainer.consider(3)

    assert (decision.action, decision.annotations) == (Action.WAIT, 10)
    assert cloud.history == []


@pytest.mark.parametrize("polygons", [0, 1, 2])
def test_a_polygon_is_enough_to_learn_from_and_none_is_not(trainer: Trainer, studio: FakeStudio, polygons: int):
    for task in studio.tasks[polygons:]:
        task["annotations"][0]["result"] = []

    decision, _ = trainer.consider(3)

    assert decision.action is (Action.START if polygons else Action.NOTHING)


def test_when_no_image_can_be_had_there_is_nothing_to_train_on(
    trainer: Trainer, studio: FakeStudio, images: FakeImages
):
    images.missing = {task["data"]["image"] for task in studio.tasks[1:]}

    decision, _ = trainer.consider(3)

    assert decision.action is Action.NOTHING
    assert "found 1 usable images" in decision.reason


def test_why_regions_were_left_out_is_told(trainer: Trainer, studio: FakeStudio):
    for task in studio.tasks:
        task["annotations"][0]["result"] = [fakes.region("Tail")]

    assert "label 'Tail' is not in the labeling interface" in trainer.consider(3)[0].reason


def test_an_interface_that_cannot_be_trained_on_is_told(trainer: Trainer, studio: FakeStudio):
    studio.label_config = "<View/>"

    with pytest.raises(LabelConfigError, match="exactly one <PolygonLabels>"):
        trainer.consider(3)


@pytest.mark.parametrize(
    ("live", "threshold"),
    [
        pytest.param(None, "0.4", id="a model whose quality is not known"),
        pytest.param(0.8, "0.78", id="not worse than the live one by more than the tolerance"),
        pytest.param(0.3, "0.4", id="never below the floor"),
    ],
)
def test_a_new_model_has_to_be_about_as_good_as_the_live_one(
    trainer: Trainer, cloud: FakeCloud, live: float | None, threshold: str
):
    cloud.packages = [ModelPackage("arn:package/1", 1, "", "job")]
    cloud.miou = live

    trainer.consider(3)

    assert cloud.parameters[0]["ApproveMIoU"] == threshold


def test_training_goes_on_when_the_live_models_quality_cannot_be_asked(tmp_path: Path, studio: FakeStudio):
    class Forgetful(FakeCloud):
        def validation_miou(self, package: ModelPackage) -> float | None:
            raise AwsError("no such training job")

    cloud = Forgetful(packages=[ModelPackage("arn:package/1", 1, "", "job")])
    trainer = Trainer(fakes.settings(tmp_path), cloud=cloud, source=studio, images=FakeImages())

    assert trainer.consider(3)[0].action is Action.START


@pytest.mark.parametrize("error", [AwsError("AWS is away"), LabelStudioError("Label Studio is away")])
def test_while_one_of_them_is_away_nothing_is_lost(
    trainer: Trainer, cloud: FakeCloud, studio: FakeStudio, error: BackendError
):
    away: Any = cloud if isinstance(error, AwsError) else studio
    away.error = error
    with pytest.raises(BackendError, match="away"):
        trainer.consider(3)

    away.error = None

    assert trainer.consider(3)[0].action is Action.START


class Interleaved(FakeCloud):
    """A cloud that each of two workers reads before either of them starts anything."""

    def __init__(self) -> None:
        super().__init__()
        self.barrier = threading.Barrier(2)

    def executions(self, project: int) -> list[Execution]:
        found = super().executions(project)
        self.barrier.wait(timeout=5)
        return found


def test_two_workers_that_see_the_same_state_start_one_execution(tmp_path: Path, studio: FakeStudio):
    cloud = Interleaved()
    workers = [Trainer(fakes.settings(tmp_path), cloud=cloud, source=studio, images=FakeImages()) for _ in range(2)]

    with ThreadPoolExecutor(2) as pool:
        decisions = list(pool.map(lambda worker: worker.consider(3)[0], workers))

    assert [each.action for each in decisions] == [Action.START, Action.START]
    assert len(cloud.history) == 1


STEPS = st.lists(st.sampled_from(["look 0", "look 1", "act 0", "act 1", "label", "finish"]), min_size=4, max_size=60)


@settings(deadline=None)
@given(STEPS)
def test_any_interleaving_of_two_workers_starts_one_execution_a_threshold(steps: list[str]):
    """A worker looks (reads the history) and acts on what it saw, however much later; both see the same annotations."""
    cloud, annotations = FakeCloud(), 16
    seen: dict[str, History] = {}
    for step in steps:
        kind, _, worker = step.partition(" ")
        if kind == "label":
            annotations += 4
        elif kind == "finish" and cloud.history:
            cloud.finish()
        elif kind == "look":
            seen[worker] = read_history(cloud.executions(3), now=datetime.now(UTC))
        elif kind == "act" and worker in seen:
            act(cloud, annotations, seen[worker])

    counts = [each.annotations for each in cloud.history]
    assert all(after - before >= POLICY.every for before, after in zip([0, *counts], counts, strict=False))
    assert sum(each.running for each in cloud.history) <= 1


def act(cloud: FakeCloud, annotations: int, history: History) -> None:
    policy = Policy(per_day=10_000)
    if decide(annotations, history, policy, now=datetime.now(UTC)).action is Action.START:
        token = execution_token("pipeline", 3, history)
        cloud.start_execution(project=3, annotations=annotations, attempt=0, token=token, parameters={})
