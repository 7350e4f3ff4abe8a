"""A command predicts what waits: only what lacks the live version, and says how far it is and what failed."""

import io
import json
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from backend import bulk as module
from backend.aws import Endpoint, ModelPackage, Registered
from backend.bulk import Bulk, Tally
from backend.console import Console
from backend.errors import AwsError, BackendError, ImageError, LabelConfigError, LabelStudioAwayError
from backend.label_studio import Prediction
from backend.predictor import Outcome
from backend.state import ProjectState
from backend.waiting import Done
from tests import fakes
from tests.fakes import LABELS, FakeCloud, FakePredictor, FakeStudio

DATASET = "s3://birds/ls/projects/3/datasets/abc/"


def predicted(task: Mapping[str, Any], state: ProjectState) -> Outcome:
    return Outcome({"result": [], "model_version": state.live, "score": 0.5})


def failing(error: BackendError, *tasks: int) -> Callable[[Mapping[str, Any], ProjectState], Outcome]:
    """These tasks cannot be predicted; all of them where none is given."""

    def outcome(task: Mapping[str, Any], state: ProjectState) -> Outcome:
        return Outcome({}, error) if not tasks or task["id"] in tasks else predicted(task, state)

    return outcome


class Cloud(FakeCloud):
    """The fake one, without older packages."""

    def newest_packages(self, project: int, count: int) -> list[Registered]:
        return []

    def package(self, arn: str) -> ModelPackage:
        raise AssertionError(arn)


class Studio(FakeStudio):
    """The fake one, which counts too."""

    def count_waiting(self, project: int, model_version: str) -> tuple[int, int]:
        lacking = self.lacking(project, model_version, [task["id"] for task in self.waiting])
        return len(self.waiting), len(lacking)


@dataclass
class World:
    """A project of fifty tasks that wait, and a model that serves."""

    folder: Path
    out: io.StringIO = field(default_factory=io.StringIO)
    predictor: FakePredictor = field(default_factory=lambda: FakePredictor(predicted))
    cloud: Cloud = field(
        default_factory=lambda: Cloud(
            objects={("birds", "ls/projects/3/datasets/abc/dataset.json"): json.dumps({"labels": LABELS}).encode()},
            packages=[ModelPackage("arn:1", 1, DATASET, "job")],
            served=Endpoint("InService", 1),
        )
    )
    studio: Studio = field(
        default_factory=lambda: Studio(waiting=[{"id": number, "data": {}} for number in range(1, 51)])
    )

    def run(self, interrupted: Callable[[], float] = lambda: 0.0, *, at_once: int = 2) -> bool:
        return Bulk(
            settings=fakes.settings(self.folder, predict_concurrency=at_once),
            project=3,
            studio=self.studio,
            registry=self.cloud,
            predictor=self.predictor,
            console=Console(self.out),
        ).run(interrupted)

    def told(self) -> list[str]:
        return self.out.getvalue().splitlines()

    def stored(self) -> list[int]:
        return sorted(each.task for each in self.studio.stored)


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def test_each_task_that_waits_gets_a_prediction_of_the_live_version(world: World):
    assert world.run()

    assert world.stored() == list(range(1, 51))
    assert {each.model_version for each in world.studio.stored} == {"birds v1"}
    assert world.told() == ["project 3: 50 of 50 waiting tasks lack birds v1", "50 predicted by birds v1"]


def test_only_what_lacks_the_live_version_is_predicted(world: World):
    world.studio.stored = [Prediction(task, [], 0.5, "birds v1") for task in range(1, 41)]
    world.studio.stored += [Prediction(task, [], 0.5, "birds v0") for task in range(41, 51)]

    assert world.run()

    assert sorted(world.predictor.asked) == list(range(41, 51))


def test_a_second_run_has_nothing_to_do(world: World):
    world.run()
    world.predictor.asked.clear()

    assert world.run()

    assert world.predictor.asked == []
    assert world.told()[-1] == "0 predicted by birds v1"


def test_tasks_that_fail_are_told_once_each_at_the_end_and_the_others_are_stored(world: World):
    world.predictor.outcome = failing(ImageError("a.jpg is not there"), 7, 30)

    assert not world.run()

    assert world.stored() == [task for task in range(1, 51) if task not in {7, 30}]
    assert world.told()[1:] == [
        "task 7: a.jpg is not there",
        "task 30: a.jpg is not there",
        "48 predicted by birds v1, 2 failed",
    ]


def test_what_somebody_else_predicts_meanwhile_is_told_apart(world: World):
    def outcome(task: Mapping[str, Any], state: ProjectState) -> Outcome:
        if task["id"] == 9:
            world.studio.stored.append(Prediction(9, [], 0.1, state.live))
        return predicted(task, state)

    world.predictor.outcome = outcome

    assert world.run()

    assert world.stored() == list(range(1, 51))
    assert world.told()[-1] == "49 predicted by birds v1, 1 by somebody else meanwhile"


def test_after_ctrl_c_what_is_predicted_is_stored_and_the_next_run_goes_on(world: World):
    pressed = threading.Event()

    def outcome(task: Mapping[str, Any], state: ProjectState) -> Outcome:
        if task["id"] == 10:
            pressed.set()
        return predicted(task, state)

    world.predictor.outcome = outcome
    assert world.run(lambda: time.monotonic() if pressed.is_set() else 0.0, at_once=1)

    stored = len(world.studio.stored)
    assert 10 <= stored < 50
    assert world.stored() == list(range(1, stored + 1))
    assert world.told()[-1] == f"{stored} predicted by birds v1; run this again for the rest"
    world.run()
    assert world.stored() == list(range(1, 51))


def test_after_ctrl_c_answers_that_do_not_come_are_not_waited_for(world: World, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "LEAVE_SECONDS", 0.0)
    hangs, leave = threading.Event(), threading.Event()

    def outcome(task: Mapping[str, Any], state: ProjectState) -> Outcome:
        hangs.set()
        leave.wait(60)
        return predicted(task, state)

    world.predictor.outcome = outcome
    assert world.run(lambda: 1.0 if hangs.is_set() else 0.0)
    leave.set()

    assert world.stored() == []


def test_when_another_version_serves_it_says_so_and_goes_on_with_that(world: World, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "LOOK_SECONDS", -1.0)

    def outcome(task: Mapping[str, Any], state: ProjectState) -> Outcome:
        if task["id"] == 10:
            world.cloud.packages.append(ModelPackage("arn:2", 2, DATASET, "job"))
            world.cloud.served = Endpoint("InService", 2)
        if task["id"] > 10 and state.live == "birds v1":
            return Outcome({}, AwsError("wanted an answer of birds v1, got one of birds v2"))
        return predicted(task, state)

    world.predictor.outcome = outcome

    assert world.run(at_once=1)

    newer = [each.task for each in world.studio.stored if each.model_version == "birds v2"]
    assert sorted(newer) == list(range(1, 51))
    assert re.fullmatch(r"birds v2 serves now, after \d+ predictions of birds v1", world.told()[1])
    assert world.told()[-1] == "50 predicted by birds v2"


@pytest.mark.parametrize("waiting", [3, 50])
def test_while_the_endpoint_is_updated_it_waits_and_goes_on_with_the_next_version(
    world: World, monkeypatch: pytest.MonkeyPatch, waiting: int
):
    monkeypatch.setattr(module, "RETRY_SECONDS", 0.0)
    world.studio.waiting = world.studio.waiting[:waiting]
    looks: list[str] = []

    def early(task: Mapping[str, Any], state: ProjectState) -> Outcome:
        """By the next version, as the endpoint does before it says that it serves it."""
        if state.live == "birds v1":
            world.cloud.served = Endpoint("Updating", 1)
            return Outcome({}, AwsError("wanted an answer of birds v1, got one of birds v2"))
        return predicted(task, state)

    def endpoint(project: int) -> Endpoint | None:
        looks.append(world.cloud.served.status if world.cloud.served else "")
        if len(looks) > 6:
            world.cloud.packages = [ModelPackage("arn:2", 2, DATASET, "job")]
            world.cloud.served = Endpoint("InService", 2)
        return world.cloud.served

    monkeypatch.setattr(world.cloud, "endpoint", endpoint)
    world.predictor.outcome = early

    assert world.run()
    assert "Updating" in looks
    assert world.stored() == list(range(1, waiting + 1))
    assert {each.model_version for each in world.studio.stored} == {"birds v2"}


def test_an_endpoint_that_fails_again_and_again_ends_it_with_the_reason(world: World):
    world.studio.waiting = [{"id": number, "data": {}} for number in range(1, 1001)]
    world.predictor.outcome = failing(AwsError("no answer"))

    with pytest.raises(AwsError, match=r"failed \d+ times in a row: no answer; run this again"):
        world.run()

    assert len(world.predictor.asked) < 200


def test_an_endpoint_that_is_gone_meanwhile_is_told_as_such(world: World):
    def outcome(task: Mapping[str, Any], state: ProjectState) -> Outcome:
        world.cloud.served = Endpoint("Failed", 1, "no capacity")
        return Outcome({}, AwsError("no answer"))

    world.predictor.outcome = outcome

    with pytest.raises(BackendError, match="its endpoint failed: no capacity"):
        world.run()


def test_an_interface_that_the_model_does_not_fit_ends_it_at_once(world: World):
    world.predictor.outcome = failing(LabelConfigError("wanted a label in common"))

    with pytest.raises(LabelConfigError, match="wanted a label in common"):
        world.run()


def test_no_model_is_a_sentence(world: World):
    world.cloud.packages, world.cloud.served = [], None

    with pytest.raises(BackendError, match="has no approved model yet"):
        world.run()


def test_a_page_that_label_studio_does_not_give_at_once_is_asked_for_again(
    world: World, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(module, "RETRY_SECONDS", 0.0)

    class Away(Studio):
        away = 2

        def waiting_tasks(self, project: int, model_version: str, *, after: int = 0) -> Iterator[list[dict[str, Any]]]:
            (page,) = super().waiting_tasks(project, model_version, after=after)
            yield page[:20]
            self.away -= 1
            if self.away >= 0:
                raise LabelStudioAwayError("away")
            yield page[20:]

    world.studio = Away(waiting=world.studio.waiting)

    assert world.run()
    assert sorted(world.predictor.asked) == list(range(1, 51))


def done(*tasks: int) -> list[Done]:
    return [Done(task, Outcome({"result": []}), stored=True) for task in tasks]


def test_the_line_tells_count_rate_and_time_left():
    now = iter([0.0, 10.0, 35.0])
    tally = Tally(1000, clock=lambda: next(now))
    assert tally.line() == "[........................] 0 of 1000"

    tally.add(done())
    tally.add(done(*range(100)))
    assert tally.line() == "[##......................] 100 of 1000, 10.0/s, 1:30 left"

    tally.add([*done(*range(100, 250)), Done(999, Outcome({}, ImageError("gone")))])  # the rate is the recent one
    assert tally.line() == "[######..................] 251 of 1000, 6.0/s, 2:04 left, 1 failed"


def test_a_long_way_is_told_in_hours_and_tasks_that_come_meanwhile_count():
    now = iter([0.0, 10.0])
    tally = Tally(50_000, clock=lambda: next(now))
    tally.add(done())
    tally.add(done(*range(50)))
    assert tally.line().endswith("5.0/s, 2:46:30 left")

    tally.total = 10
    assert tally.line().startswith("[########################] 50 of 50, ")
