"""The endpoint serves the newest approved model package, step by step."""

import json
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from backend import preannotator as module
from backend.aws import Endpoint, ModelPackage
from backend.config import Settings
from backend.deployer import Deployer
from backend.errors import AwsError, ImageAwayError, ImageError, LabelConfigError, LabelStudioError
from backend.label_studio import MlBackend, Prediction
from backend.preannotator import Preannotator
from backend.predictor import Outcome
from backend.state import ProjectState, StateFile
from tests import fakes
from tests.fakes import LABELS, FakeCloud, FakePredictor, FakeStudio

DATASET = "s3://birds/ls/projects/3/datasets/abc/"


def package(version: int, dataset: str = DATASET) -> ModelPackage:
    return ModelPackage(f"arn:package/{version}", version, dataset, "job")


def predicted(task: Mapping[str, Any], state: ProjectState) -> Outcome:
    return Outcome({"result": [], "model_version": state.live, "score": 0.5})


@pytest.fixture
def cloud() -> FakeCloud:
    dataset = json.dumps({"labels": list(LABELS)}).encode()
    return FakeCloud(objects={("birds", "ls/projects/3/datasets/abc/dataset.json"): dataset}, packages=[package(1)])


@pytest.fixture
def studio() -> FakeStudio:
    return FakeStudio(
        waiting=[{"id": number, "data": {"image": "/a.jpg"}} for number in range(1, 51)],
        backend=MlBackend(1, "http://backend:9090", "Segmentation"),
    )


@pytest.fixture
def predictor() -> FakePredictor:
    return FakePredictor(predicted)


@pytest.fixture
def states(tmp_path: Path) -> StateFile:
    return StateFile(tmp_path / "projects.json")


def made(
    settings: Settings, cloud: FakeCloud, *, studio: FakeStudio, predictor: FakePredictor, states: StateFile
) -> Deployer:
    """A deployer that has a Label Studio."""
    preannotator = Preannotator(settings, studio=studio, predictor=predictor, states=states)
    return Deployer(settings, cloud=cloud, states=states, preannotation=preannotator)


@pytest.fixture
def deployer(
    tmp_path: Path, cloud: FakeCloud, studio: FakeStudio, predictor: FakePredictor, states: StateFile
) -> Deployer:
    return made(fakes.settings(tmp_path), cloud, studio=studio, predictor=predictor, states=states)


def test_nothing_approved_is_nothing_to_do(deployer: Deployer, cloud: FakeCloud, states: StateFile):
    cloud.packages = []

    deployer.reconcile(3)

    assert (cloud.deployed, states.get(3).live) == ([], "")


@pytest.mark.parametrize("status", ["InService", "Failed"])
def test_when_the_last_approval_is_taken_back_nothing_is_served_or_paid_for(
    deployer: Deployer, cloud: FakeCloud, states: StateFile, status: str
):
    cloud.served = Endpoint(status, 1)
    states.update(3, live="segmentation v1")
    cloud.packages = []

    deployer.reconcile(3)

    served: Endpoint | None = cloud.served
    assert served is None
    assert states.get(3).live == ""


def test_the_first_model_gets_an_endpoint(deployer: Deployer, cloud: FakeCloud, states: StateFile):
    deployer.reconcile(3)

    assert cloud.deployed == [(1, False)]
    assert states.get(3).live == ""


@pytest.mark.parametrize("status", ["Creating", "Updating", "SystemUpdating", "RollingBack", "Deleting"])
def test_what_is_under_way_is_waited_for(deployer: Deployer, cloud: FakeCloud, states: StateFile, status: str):
    cloud.served = Endpoint(status, 1)

    deployer.reconcile(3)

    assert (cloud.deployed, states.get(3).live) == ([], "")


def test_in_service_it_goes_live_is_announced_and_predicts_what_waits(
    deployer: Deployer, cloud: FakeCloud, studio: FakeStudio, states: StateFile
):
    cloud.served = Endpoint("InService", 1)

    deployer.reconcile(3)

    state = states.get(3)
    assert (state.live, state.labels, state.prefetched) == ("birds v1", LABELS, "birds v1")
    assert studio.backend is not None
    assert studio.backend.title == "birds v1"
    assert sorted(each.task for each in studio.stored) == list(range(1, 51))
    assert {each.model_version for each in studio.stored} == {"birds v1"}


def test_without_a_label_studio_it_goes_live_and_nobody_is_told(tmp_path: Path, cloud: FakeCloud, states: StateFile):
    deployer = Deployer(fakes.settings(tmp_path), cloud=cloud, states=states)
    deployer.reconcile(3)
    cloud.served = Endpoint("InService", 1)

    deployer.reconcile(3)

    assert cloud.deployed == [(1, False)]
    assert (states.get(3).live, states.get(3).labels, states.get(3).prefetched) == ("birds v1", LABELS, "")


def test_what_was_done_is_not_done_again(deployer: Deployer, cloud: FakeCloud, predictor: FakePredictor):
    cloud.served = Endpoint("InService", 1)
    deployer.reconcile(3)
    predictor.asked.clear()

    deployer.reconcile(3)

    assert (cloud.deployed, predictor.asked) == ([], [])


def test_a_newer_model_updates_the_endpoint_while_the_old_one_stays_live(
    deployer: Deployer, cloud: FakeCloud, states: StateFile
):
    cloud.served = Endpoint("InService", 1)
    deployer.reconcile(3)
    cloud.packages.append(package(2))

    deployer.reconcile(3)

    assert (cloud.deployed, states.get(3).live) == ([(2, True)], "birds v1")
    cloud.served = Endpoint("InService", 2)
    deployer.reconcile(3)
    assert states.get(3).live == "birds v2"


def test_a_model_that_cannot_be_deployed_is_rejected_with_the_reason_and_the_old_one_stays(
    deployer: Deployer, cloud: FakeCloud, states: StateFile
):
    cloud.served = Endpoint("InService", 1)
    cloud.packages.append(package(2))
    deployer.reconcile(3)
    cloud.served = Endpoint("InService", 1, "the container did not start")

    deployer.reconcile(3)
    deployer.reconcile(3)

    assert cloud.rejected == {"arn:package/2": "it could not be deployed: the container did not start"}
    assert cloud.deployed == [(2, True)]
    assert states.get(3).live == "birds v1"


def test_the_failure_of_one_model_is_not_held_against_another(deployer: Deployer, cloud: FakeCloud):
    """SageMaker tells the reason of a failed update until the next one."""
    cloud.served = Endpoint("InService", 2, "version 3 did not start")
    cloud.packages = [package(1)]  # 2 was rejected by a person, 3 by us

    deployer.reconcile(3)

    assert (cloud.rejected, cloud.deployed) == ({}, [(1, True)])


@pytest.mark.parametrize("status", ["Failed", "UpdateRollbackFailed"])
def test_a_failed_endpoint_is_deleted_and_its_model_rejected(
    deployer: Deployer, cloud: FakeCloud, states: StateFile, status: str
):
    cloud.packages.append(package(2))
    cloud.served = Endpoint(status, 2, "no space")
    states.update(3, live="birds v1")

    deployer.reconcile(3)
    deployer.reconcile(3)

    assert cloud.rejected == {"arn:package/2": "it could not be deployed: no space"}
    assert cloud.deployed == [(1, False)]
    assert states.get(3).live == ""


def test_a_model_that_aws_had_no_room_for_is_not_rejected_but_deployed_again(deployer: Deployer, cloud: FakeCloud):
    cloud.served = Endpoint("Failed", 1, "CapacityError", shortage="AWS has no instance free")

    with pytest.raises(AwsError, match="made anew: AWS has no instance free"):
        deployer.reconcile(3)
    deployer.reconcile(3)

    assert (cloud.rejected, cloud.deployed) == ({}, [(1, False)])


def test_an_update_that_aws_had_no_room_for_is_tried_again_and_told(deployer: Deployer, cloud: FakeCloud):
    cloud.served = Endpoint("InService", 1)
    cloud.packages.append(package(2))
    deployer.reconcile(3)
    cloud.served = Endpoint("InService", 1, "CapacityError", shortage="AWS has no instance free")

    with pytest.raises(AwsError, match="v2 could not be deployed, and is tried again: AWS has no instance free"):
        deployer.reconcile(3)

    assert (cloud.rejected, cloud.deployed) == ({}, [(2, True), (2, True)])


def test_an_endpoint_that_failed_with_an_older_model_is_replaced_by_the_newer(deployer: Deployer, cloud: FakeCloud):
    cloud.packages.append(package(2))
    cloud.served = Endpoint("Failed", 1)

    deployer.reconcile(3)
    deployer.reconcile(3)

    assert (cloud.rejected, cloud.deployed) == ({}, [(2, False)])


def test_an_endpoint_that_somebody_deleted_is_made_anew(deployer: Deployer, cloud: FakeCloud):
    cloud.served = Endpoint("InService", 1)
    deployer.reconcile(3)
    cloud.served = None

    deployer.reconcile(3)

    assert cloud.deployed == [(1, False)]


def test_a_model_without_a_dataset_has_no_labels_of_its_own(deployer: Deployer, cloud: FakeCloud, states: StateFile):
    cloud.packages, cloud.served = [package(1, dataset="")], Endpoint("InService", 1)

    deployer.reconcile(3)

    assert (states.get(3).live, states.get(3).labels) == ("birds v1", ())


def test_a_dataset_that_names_no_labels_is_an_error(deployer: Deployer, cloud: FakeCloud, states: StateFile):
    cloud.objects["birds", "ls/projects/3/datasets/abc/dataset.json"] = b'{"labels": "Beak"}'
    cloud.served = Endpoint("InService", 1)

    with pytest.raises(AwsError, match="wanted a list of labels in s3://birds"):
        deployer.reconcile(3)

    assert states.get(3).live == ""


def test_a_project_that_disconnected_the_backend_is_served_all_the_same(
    deployer: Deployer, cloud: FakeCloud, studio: FakeStudio, states: StateFile
):
    cloud.served, studio.backend = Endpoint("InService", 1), None

    deployer.reconcile(3)

    assert states.get(3).live == "birds v1"


@pytest.mark.parametrize(
    ("error", "again"),
    [
        pytest.param(AwsError("throttled"), True, id="the endpoint failed"),
        pytest.param(ImageError("broken"), False, id="the image is broken"),
    ],
)
def test_tasks_that_failed_are_predicted_again_if_that_can_help(
    deployer: Deployer,
    cloud: FakeCloud,
    studio: FakeStudio,
    predictor: FakePredictor,
    error: AwsError | ImageError,
    again: bool,
):
    cloud.served = Endpoint("InService", 1)
    predictor.outcome = lambda task, state: Outcome({}, error) if task["id"] == 7 else predicted(task, state)
    deployer.reconcile(3)
    assert len(studio.stored) == 49
    predictor.asked.clear()

    deployer.reconcile(3)

    assert predictor.asked == ([7] if again else [])


def test_predicting_what_waits_ends_after_its_time_and_goes_on_at_the_next_look(
    deployer: Deployer, cloud: FakeCloud, studio: FakeStudio, monkeypatch: pytest.MonkeyPatch
):
    cloud.served = Endpoint("InService", 1)
    monkeypatch.setattr(module, "PREFETCH_SECONDS", -1.0)
    deployer.reconcile(3)
    first = len(studio.stored)
    assert 0 < first < 50

    deployer.reconcile(3)

    assert len(studio.stored) > first


def away(*numbers: int) -> Callable[[Mapping[str, Any], ProjectState], Outcome]:
    """Outcomes where the images of the tasks *numbers* cannot be had."""

    def outcome(task: Mapping[str, Any], state: ProjectState) -> Outcome:
        return Outcome({}, ImageAwayError("away")) if task["id"] in numbers else predicted(task, state)

    return outcome


@pytest.fixture
def one_batch_a_look(cloud: FakeCloud, monkeypatch: pytest.MonkeyPatch) -> None:
    """As if every batch took all the time that a look has."""
    cloud.served = Endpoint("InService", 1)
    monkeypatch.setattr(module, "PREFETCH_SECONDS", -1.0)


@pytest.mark.usefixtures("one_batch_a_look")
def test_tasks_whose_images_are_away_do_not_keep_the_others_waiting(
    deployer: Deployer, studio: FakeStudio, predictor: FakePredictor
):
    predictor.outcome = away(*range(1, 21))

    for _ in range(3):
        deployer.reconcile(3)

    assert sorted(predictor.asked) == list(range(1, 51))
    assert sorted(each.task for each in studio.stored) == list(range(21, 51))


@pytest.mark.usefixtures("one_batch_a_look")
def test_tasks_that_failed_are_asked_again_after_all_others(
    deployer: Deployer, studio: FakeStudio, predictor: FakePredictor, states: StateFile
):
    predictor.outcome = away(1, 2)
    for _ in range(4):
        deployer.reconcile(3)
    predictor.asked.clear()
    predictor.outcome = predicted

    for _ in range(2):
        deployer.reconcile(3)

    assert sorted(predictor.asked) == [1, 2]
    assert len(studio.stored) == 50


@pytest.mark.usefixtures("one_batch_a_look")
def test_tasks_that_come_meanwhile_do_not_bring_the_walk_back_to_its_start(
    deployer: Deployer, predictor: FakePredictor, studio: FakeStudio, states: StateFile
):
    predictor.outcome = away(*range(1, 21))

    for now in range(1, 5):
        deployer.reconcile(3)
        studio.waiting.append({"id": 50 + now, "data": {"image": "/a.jpg"}})
        states.update(3, prefetched="", tasks_changed=float(now))

    assert sorted(predictor.asked) == list(range(1, 54))


def test_a_changed_labeling_interface_has_all_waiting_tasks_looked_at_again(
    deployer: Deployer, cloud: FakeCloud, predictor: FakePredictor, states: StateFile, monkeypatch: pytest.MonkeyPatch
):
    def unlike(task: Mapping[str, Any], state: ProjectState) -> Outcome:
        return Outcome({}, LabelConfigError("no label in common"))

    cloud.served, predictor.outcome = Endpoint("InService", 1), unlike
    monkeypatch.setattr(module, "PREFETCH_SECONDS", -1.0)
    deployer.reconcile(3)  # the first twenty
    states.update(3, prefetched="", tasks_changed=1.0)
    predictor.outcome = predicted
    monkeypatch.setattr(module, "PREFETCH_SECONDS", 60.0)
    deployer.reconcile(3)  # the others

    deployer.reconcile(3)

    assert sorted(predictor.asked) == sorted([*range(1, 51), *range(1, 21)])
    assert states.get(3).prefetched == "birds v1"


def test_a_change_while_the_last_tasks_are_predicted_is_not_lost(
    deployer: Deployer, cloud: FakeCloud, predictor: FakePredictor, states: StateFile
):
    def outcome(task: Mapping[str, Any], state: ProjectState) -> Outcome:
        states.update(3, prefetched="", tasks_changed=1.0)
        return predicted(task, state)

    cloud.served, predictor.outcome = Endpoint("InService", 1), outcome
    deployer.reconcile(3)
    assert states.get(3).prefetched == ""

    deployer.reconcile(3)

    assert states.get(3).prefetched == "birds v1"


def test_what_fails_again_and_again_is_left_until_something_changes(
    deployer: Deployer, cloud: FakeCloud, predictor: FakePredictor, states: StateFile, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(module, "PAUSE_SECONDS", 0.0)
    cloud.served, predictor.outcome = Endpoint("InService", 1), away(7)

    for _ in range(50):
        deployer.reconcile(3)

    assert predictor.asked.count(7) == module.PASSES
    states.update(3, prefetched="", tasks_changed=1.0)
    deployer.reconcile(3)
    assert predictor.asked.count(7) == module.PASSES + 1


def test_the_pause_before_another_pass_doubles():
    walk, pauses = module.Walk("birds v1", 0.0), []
    more = True
    while more:
        walk.clean = False
        now = time.monotonic()
        more = walk.end_pass()
        pauses.append(round(walk.resume - now))

    assert pauses == [0, 60, 180, 420, 900, 1860, 3780, 7620]


def test_during_a_pause_nothing_is_asked_for(deployer: Deployer, cloud: FakeCloud, predictor: FakePredictor):
    cloud.served, predictor.outcome = Endpoint("InService", 1), away(7)

    for _ in range(5):
        deployer.reconcile(3)

    assert predictor.asked.count(7) == 2


def test_a_prediction_that_label_studio_refuses_keeps_no_other_from_being_stored(
    tmp_path: Path, cloud: FakeCloud, states: StateFile, caplog: pytest.LogCaptureFixture
):
    class Refusing(FakeStudio):
        """Takes no prediction of task 7."""

        def store_predictions(self, project: int, predictions: Sequence[Prediction]) -> None:
            if 7 in {each.task for each in predictions}:
                raise LabelStudioError("refused")
            super().store_predictions(project, predictions)

    studio = Refusing(waiting=[{"id": number, "data": {}} for number in range(1, 51)])
    cloud.served = Endpoint("InService", 1)
    deployer = made(fakes.settings(tmp_path), cloud, studio=studio, predictor=FakePredictor(predicted), states=states)

    deployer.reconcile(3)

    assert {each.task for each in studio.stored} == {*range(1, 51)} - {7}
    assert "task 7: the prediction was not stored: refused" in caplog.text


def test_while_label_studio_takes_no_predictions_the_walk_goes_on_from_where_it_was(
    tmp_path: Path, cloud: FakeCloud, states: StateFile
):
    class Full(FakeStudio):
        """Has no room at first."""

        full = True

        def store_predictions(self, project: int, predictions: Sequence[Prediction]) -> None:
            if self.full:
                raise LabelStudioError("no room")
            super().store_predictions(project, predictions)

    studio = Full(waiting=[{"id": number, "data": {}} for number in range(1, 51)])
    cloud.served = Endpoint("InService", 1)
    deployer = made(fakes.settings(tmp_path), cloud, studio=studio, predictor=FakePredictor(predicted), states=states)
    with pytest.raises(LabelStudioError, match="no room"):
        deployer.reconcile(3)
    studio.full = False

    for _ in range(3):
        deployer.reconcile(3)

    assert {each.task for each in studio.stored} == {*range(1, 51)}
    assert states.get(3).prefetched == "birds v1"


def test_projects_that_have_tasks_to_be_predicted_share_the_time_of_a_look(
    tmp_path: Path, studio: FakeStudio, predictor: FakePredictor, states: StateFile
):
    preannotator = Preannotator(fakes.settings(tmp_path), studio=studio, predictor=predictor, states=states)
    states.update(3, live="birds v1")
    states.update(4, live="birds v2", prefetched="birds v1")
    states.update(5, live="birds v1", prefetched="birds v1")
    states.update(6)

    assert preannotator.share() == module.PREFETCH_SECONDS / 2


def test_no_batch_gets_more_time_than_the_look_has(
    tmp_path: Path, cloud: FakeCloud, studio: FakeStudio, states: StateFile
):
    deadlines: list[float] = []

    class Clocked(FakePredictor):
        def predict(self, tasks: Any, *, config: Any, state: ProjectState, deadline: float) -> list[Outcome]:
            deadlines.append(deadline)
            return super().predict(tasks, config=config, state=state, deadline=deadline)

    settings = fakes.settings(tmp_path, predict_timeout_seconds=3600.0)
    deployer = made(settings, cloud, studio=studio, predictor=Clocked(predicted), states=states)
    cloud.served = Endpoint("InService", 1)

    deployer.reconcile(3)

    assert max(deadlines) <= time.monotonic() + module.PREFETCH_SECONDS


def test_predicting_what_waits_stops_when_another_model_goes_live(
    deployer: Deployer, cloud: FakeCloud, studio: FakeStudio, predictor: FakePredictor, states: StateFile
):
    def outcome(task: Mapping[str, Any], state: ProjectState) -> Outcome:
        states.update(3, live="birds v2")
        return predicted(task, state)

    predictor.outcome = outcome
    cloud.served = Endpoint("InService", 1)

    deployer.reconcile(3)

    assert len(studio.stored) < 50
    assert states.get(3).prefetched == ""


@pytest.mark.parametrize("away", ["cloud", "studio"])
def test_after_an_error_the_next_call_goes_on(
    deployer: Deployer, cloud: FakeCloud, studio: FakeStudio, states: StateFile, away: str
):
    cloud.served = Endpoint("InService", 1)
    if away == "cloud":
        cloud.error = AwsError("AWS is away")
    else:
        studio.error = LabelStudioError("Label Studio is away")
    with pytest.raises((AwsError, LabelStudioError), match="away"):
        deployer.reconcile(3)
    cloud.error = studio.error = None

    deployer.reconcile(3)

    assert (states.get(3).live, len(studio.stored)) == ("birds v1", 50)


@pytest.mark.parametrize(
    ("authorization", "headers"),
    [("", {}), ("Basic abc", {"Authorization": "Basic abc"})],
    ids=["without basic auth", "with basic auth"],
)
def test_the_webhook_gets_the_header_that_it_lacks(
    tmp_path: Path, studio: FakeStudio, states: StateFile, authorization: str, headers: dict[str, str]
):
    settings, predictor = fakes.settings(tmp_path), FakePredictor(predicted)
    preannotator = Preannotator(
        settings, studio=studio, predictor=predictor, states=states, authorization=authorization
    )
    deployer = Deployer(settings, cloud=FakeCloud(), states=states, preannotation=preannotator)

    deployer.reconcile(3)

    assert studio.headers == headers
