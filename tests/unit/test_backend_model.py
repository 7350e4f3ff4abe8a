"""The two hooks: fit() hears every event, predict() gives the polygons."""

from pathlib import Path
from typing import Any

import pytest

from backend.config import NO_MODEL
from backend.errors import RequestError
from backend.listener import NEW_TO_PREDICT, NOT_FORCED
from backend.model import SageMakerSegmentation, Service
from backend.predictor import Outcome
from backend.state import StateFile
from backend.trainer import Policy
from tests import fakes
from tests.fakes import BIRDS, FakeBackground, FakePredictor, recorded, recorded_names


@pytest.fixture
def background() -> FakeBackground:
    return FakeBackground()


@pytest.fixture
def service(tmp_path: Path, background: FakeBackground) -> Service:
    predictor = FakePredictor(lambda task, state: Outcome({"result": [], "model_version": state.live}))
    return Service(fakes.settings(tmp_path), StateFile(tmp_path / "projects.json"), predictor, background, Policy())


@pytest.fixture
def model(service: Service) -> type[SageMakerSegmentation]:
    return SageMakerSegmentation.bound(service)


def event(annotations: object, *, action: str = "ANNOTATION_CREATED", project: int = 3) -> dict[str, Any]:
    return {"action": action, "project": {"id": project, "total_annotations_number": annotations}}


def test_the_13th_annotation_is_told_how_many_are_wanted(model: type[SageMakerSegmentation]):
    assert model().fit("ANNOTATION_CREATED", event(13)) == {
        "status": "waiting",
        "annotations": 13,
        "train_at": 16,
        "message": "13/16 annotations",
    }


@pytest.mark.parametrize(
    ("state", "annotations", "action", "status"),
    [
        pytest.param({}, 16, "ANNOTATION_CREATED", "starting", id="the 16th"),
        pytest.param({}, 3, "START_TRAINING", "starting", id="asked for"),
        pytest.param({}, 0, "START_TRAINING", "nothing to train on", id="asked for without annotations"),
        pytest.param({"running": True}, 16, "ANNOTATION_CREATED", "running", id="one runs"),
        pytest.param({"running": True}, 16, "START_TRAINING", "running", id="asked for while one runs"),
        pytest.param({"last_trained": 16}, 20, "ANNOTATION_CREATED", "waiting", id="trained at 16"),
        pytest.param(
            {"failures": 1, "failed_at": 16, "failed_on": 4e9}, 16, "ANNOTATION_CREATED", "cooling down", id="it failed"
        ),
    ],
)
def test_fit_answers_how_things_stand(
    model: type[SageMakerSegmentation],
    service: Service,
    state: dict[str, Any],
    annotations: int,
    action: str,
    status: str,
):
    service.states.update(3, **state)

    assert model().fit(action, event(annotations, action=action))["status"] == status


@pytest.mark.parametrize(
    ("annotations", "state", "status"),
    [
        pytest.param(3, {}, "waiting", id="below the threshold"),
        pytest.param(16, {}, "starting", id="at the threshold"),
        pytest.param(16, {"today": 24}, "daily limit reached", id="at the day's limit"),
        pytest.param(None, {}, "noted", id="without a count"),
    ],
)
def test_start_training_counts_as_a_save_while_the_switch_is_on_and_says_so(
    model: type[SageMakerSegmentation],
    service: Service,
    background: FakeBackground,
    annotations: int | None,
    state: dict[str, Any],
    status: str,
    caplog: pytest.LogCaptureFixture,
):
    service.states.update(3, **state)
    body = event(annotations, action="START_TRAINING")
    body["project"]["min_annotations_to_start_training"] = 1

    with caplog.at_level("INFO"):
        answer = model().fit("START_TRAINING", body)

    assert (answer["status"], answer["note"]) == (status, NOT_FORCED)
    assert background.woken == [(3, False, False)]
    assert "'Start model training on annotation submission' is on" in caplog.text


@pytest.mark.parametrize("field", ["problem", "serving_problem"])
def test_fit_tells_what_is_wrong(model: type[SageMakerSegmentation], service: Service, field: str):
    service.states.update(3, **{field: "S3 is away"})

    assert model().fit("ANNOTATION_CREATED", event(13))["problem"] == "S3 is away"


@pytest.mark.parametrize("name", recorded_names("webhook_*"))
def test_every_recorded_event_wakes_its_project(
    model: type[SageMakerSegmentation], background: FakeBackground, name: str
):
    body = recorded(name)
    action = body["action"]

    answer = model().fit(action, body)

    forced = action == "START_TRAINING" and not body["project"]["min_annotations_to_start_training"]
    assert background.woken == [(body["project"]["id"], forced, action in NEW_TO_PREDICT)]
    assert answer["annotations"] == body["project"]["total_annotations_number"]


def test_an_event_without_a_count_is_noted(model: type[SageMakerSegmentation], background: FakeBackground):
    assert model().fit("ANNOTATION_CREATED", event(None)) == {"status": "noted", "message": "ANNOTATION_CREATED"}
    assert background.woken == [(3, False, False)]


def test_an_event_without_a_project_wakes_all(
    model: type[SageMakerSegmentation], service: Service, background: FakeBackground
):
    service.states.update(3, url="")
    service.states.update(5, url="")

    answer = model().fit("ANNOTATION_CREATED", recorded("project_webhook_no_payload"))

    assert answer == {"status": "noted", "message": "ANNOTATION_CREATED named no project; looking at 2"}
    assert background.woken == [(3, False, False), (5, False, False)]


def test_start_training_without_a_project_is_refused(model: type[SageMakerSegmentation], background: FakeBackground):
    with pytest.raises(RequestError, match='wanted "project"'):
        model().fit("START_TRAINING", {})

    assert background.woken == []


def test_an_unknown_event_is_ignored(model: type[SageMakerSegmentation], background: FakeBackground):
    assert model().fit("LABEL_LINK_CREATED", event(16))["status"] == "ignored"
    assert background.woken == []


def test_another_projects_event_touches_that_project_alone(model: type[SageMakerSegmentation], service: Service):
    service.states.update(3, running=True)

    assert model().fit("ANNOTATION_CREATED", event(13, project=99))["status"] == "waiting"


def test_before_the_first_model_every_item_is_empty_so_that_label_studio_asks_again(model: type[SageMakerSegmentation]):
    hosted = model("3.179", BIRDS)

    assert hosted.predict([{"id": 1}, {"id": 2}]) == [{}, {}]
    assert hosted.model_version == NO_MODEL


def test_a_prediction_has_the_version_that_setup_tells(model: type[SageMakerSegmentation], service: Service):
    service.states.update(3, live="birds v1")
    hosted = model("3.179", BIRDS)

    assert [item["model_version"] for item in hosted.predict([{"id": 1}, {"id": 2}])] == ["birds v1"] * 2
    assert hosted.model_version == "birds v1"


def test_a_host_that_does_not_tell_the_project_gets_it_from_the_tasks(
    model: type[SageMakerSegmentation], service: Service
):
    body = recorded("predict_dm_retrieve_s3_from_ui")
    service.states.update(body["tasks"][0]["project"], live="birds v1")

    assert all(model(label_config=BIRDS).predict(body["tasks"]))
    assert model(label_config=BIRDS).predict([]) == []


@pytest.mark.parametrize("xml", ["", "<View/>", None])
def test_an_interface_that_cannot_be_predicted_for_gives_empty_items(
    model: type[SageMakerSegmentation], service: Service, xml: str | None, caplog: pytest.LogCaptureFixture
):
    service.states.update(3, live="birds v1")

    assert model("3.179", xml).predict([{"id": 1}]) == [{}]
    assert "no predictions" in caplog.text


def test_two_bound_classes_do_not_share_their_service(service: Service, tmp_path: Path):
    other = Service(fakes.settings(tmp_path), StateFile(tmp_path / "b"), service.predictor, FakeBackground(), Policy())
    first, second = SageMakerSegmentation.bound(service), SageMakerSegmentation.bound(other)

    assert first.service is service
    assert second.service is other
    assert first.__name__ == second.__name__ == "SageMakerSegmentation"
