"""The threads behind the requests."""

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from backend import poller as module
from backend.errors import AwsError
from backend.poller import Inline, Poller, Rounds
from backend.state import Leadership, StateFile
from backend.trainer import Action, Decision, History, LabelledProject
from tests.fakes import FakeDeployer, FakeTrainer

WAIT = Decision(Action.WAIT, 13, 16, "13/16 annotations")
START = Decision(Action.START, 16, 16, "16/16 annotations")
NOTHING = Decision(Action.NOTHING, 16, 16, "wanted two images")


class NoLeadership(Leadership):
    """Another process leads."""

    def held(self) -> bool:
        return False


@pytest.fixture
def states(tmp_path: Path) -> StateFile:
    return StateFile(tmp_path / "projects.json")


@pytest.fixture
def trainer() -> FakeTrainer:
    return FakeTrainer([WAIT])


@pytest.fixture
def deployer() -> FakeDeployer:
    return FakeDeployer()


@pytest.fixture
def rounds(trainer: FakeTrainer, deployer: FakeDeployer, states: StateFile) -> Rounds:
    return Rounds(trainer=trainer, deployer=deployer, states=states)


@pytest.fixture
def poller(rounds: Rounds, states: StateFile, tmp_path: Path) -> Iterator[Callable[..., Poller]]:
    """Starts pollers, which look after all every hour unless told otherwise."""
    started: list[Poller] = []

    def start(**changes: Any) -> Poller:
        leadership = Leadership(tmp_path / "leader.lock")
        made = Poller(rounds, **{"states": states, "leadership": leadership, "interval": 3600.0, **changes})
        started.append(made)
        made.start()
        return made

    yield start
    for each in started:
        each.stop()
        each.join(5)
        assert not each.is_alive()


def eventually(holds: Callable[[], bool]) -> None:
    """Wait until *holds* does."""
    end = time.monotonic() + 5
    while not holds():
        assert time.monotonic() < end, "it did not come about"
        time.sleep(0.005)


def test_a_decision_is_remembered_and_observed(states: StateFile, deployer: FakeDeployer):
    observed: list[Decision] = []
    rounds = Rounds(trainer=FakeTrainer([START]), deployer=deployer, states=states, observe=observed.append)

    assert rounds.train(3)

    assert observed == [START]
    assert states.get(3).running
    assert states.get(3).problem == ""


def test_a_problem_is_logged_once_and_kept_until_it_is_solved(
    rounds: Rounds, trainer: FakeTrainer, deployer: FakeDeployer, states: StateFile, caplog: pytest.LogCaptureFixture
):
    def fail(_project: int) -> None:
        raise AwsError("S3 is away")

    trainer.results, deployer.work = [AwsError("SageMaker is away")], fail
    for _ in range(3):
        assert not rounds.train(3)
        rounds.deploy(3)

    assert (states.get(3).problem, states.get(3).serving_problem) == ("SageMaker is away", "S3 is away")
    assert caplog.text.count("SageMaker is away") == 1
    assert caplog.text.count("S3 is away") == 1
    trainer.results, deployer.work = [WAIT], lambda _project: None
    rounds.train(3)
    assert (states.get(3).problem, states.get(3).serving_problem) == ("", "S3 is away")
    rounds.deploy(3)
    assert states.get(3).serving_problem == ""


def test_nothing_to_train_on_is_a_problem_that_a_person_can_solve(
    rounds: Rounds, trainer: FakeTrainer, states: StateFile
):
    trainer.results = [NOTHING]

    assert rounds.train(3)

    assert states.get(3).problem == "wanted two images"
    assert not states.get(3).running


def test_what_aws_had_no_room_for_is_a_problem_until_the_next_training_runs(states: StateFile, deployer: FakeDeployer):
    class Trainer:
        history = History(failures=1, shortage="ask for more GPUs")

        def consider(self, *_: object, **__: object) -> tuple[Decision, History]:
            return WAIT, self.history

    trainer = Trainer()
    rounds = Rounds(trainer=trainer, deployer=deployer, states=states)
    rounds.train(3)
    assert states.get(3).problem == "the last training failed: ask for more GPUs"

    trainer.history = replace(trainer.history, running=True)
    rounds.train(3)
    assert states.get(3).problem == ""


def test_a_project_is_looked_at_at_once_when_it_is_woken(poller: Callable[..., Poller], trainer: FakeTrainer):
    running = poller()

    running.wake(3)

    assert trainer.heard.wait(5)
    assert trainer.asked == [(3, False)]


def test_wishes_that_come_while_one_is_worked_on_become_one(poller: Callable[..., Poller], trainer: FakeTrainer):
    release = threading.Event()
    consider = trainer.consider

    def slowly(project: int, *, forced: bool = False, told: LabelledProject | None = None) -> Any:
        result = consider(project, forced=forced, told=told)
        release.wait(5)
        return result

    trainer.consider = slowly  # type: ignore[method-assign]
    running = poller()
    running.wake(3)
    assert trainer.heard.wait(5)
    for forced in (False, True, False):
        running.wake(3, forced=forced)
    release.set()

    eventually(lambda: len(trainer.asked) == 2)
    time.sleep(0.05)
    assert trainer.asked == [(3, False), (3, True)]


def test_the_leader_looks_after_all_projects_regularly(
    poller: Callable[..., Poller], states: StateFile, trainer: FakeTrainer, deployer: FakeDeployer
):
    states.update(3, url="")
    states.update(4, url="")

    poller(interval=0.02)

    eventually(lambda: min(trainer.asked.count((3, False)), trainer.asked.count((4, False))) >= 2)
    eventually(lambda: min(deployer.asked.count(3), deployer.asked.count(4)) >= 2)


def test_others_do_what_they_are_woken_for_and_no_more(
    poller: Callable[..., Poller], states: StateFile, trainer: FakeTrainer, deployer: FakeDeployer, tmp_path: Path
):
    states.update(3, url="")
    running = poller(interval=0.02, leadership=NoLeadership(tmp_path / "x"))
    running.wake(4)

    eventually(lambda: len(trainer.asked) == 1)
    time.sleep(0.1)
    assert (trainer.asked, deployer.asked) == ([(4, False)], [])


def test_a_training_asked_for_is_tried_until_it_can_be_decided_on(
    poller: Callable[..., Poller], trainer: FakeTrainer, tmp_path: Path
):
    trainer.results = [AwsError("AWS is away"), AwsError("AWS is away"), START, WAIT]
    running = poller(interval=0.02, leadership=NoLeadership(tmp_path / "x"))

    running.wake(3, forced=True)

    eventually(lambda: len(trainer.asked) == 3)
    time.sleep(0.1)
    assert trainer.asked == [(3, True)] * 3


def test_a_training_asked_for_is_given_up_after_ten_minutes(
    poller: Callable[..., Poller], trainer: FakeTrainer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    assert module.FORCED_SECONDS == 600
    monkeypatch.setattr(module, "FORCED_SECONDS", 0.1)
    trainer.results = [AwsError("AWS is away")]
    running = poller(interval=0.02, leadership=NoLeadership(tmp_path / "x"))
    running.wake(3, forced=True)
    eventually(lambda: (3, False) in trainer.asked)
    asked = len(trainer.asked)

    time.sleep(0.1)

    assert len(trainer.asked) == asked


def test_what_is_new_is_to_be_predicted_as_well(poller: Callable[..., Poller], states: StateFile):
    states.update(3, prefetched="birds v1")

    poller().wake(3, tasks_changed=True)

    eventually(lambda: states.get(3).prefetched == "")
    assert states.get(3).tasks_changed == pytest.approx(time.time(), abs=60)


def test_a_fault_in_one_project_harms_no_other(
    poller: Callable[..., Poller],
    states: StateFile,
    trainer: FakeTrainer,
    deployer: FakeDeployer,
    caplog: pytest.LogCaptureFixture,
):
    def fail(project: int) -> None:
        if project == 3:
            raise ZeroDivisionError

    deployer.work = fail
    trainer.results = [ZeroDivisionError(), WAIT]
    states.update(3, url="")
    states.update(4, url="")

    running = poller(interval=0.02)

    eventually(lambda: (4, False) in trainer.asked and deployer.asked.count(4) >= 2)
    assert "deployment of project 3 failed unexpectedly" in caplog.text
    assert "training of project 3 failed unexpectedly" in caplog.text
    assert running.is_alive()


def test_neither_thread_ends_when_the_projects_cannot_be_listed(
    poller: Callable[..., Poller],
    trainer: FakeTrainer,
    deployer: FakeDeployer,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
):
    class Flaky(StateFile):
        """Lists its projects from the third time on."""

        calls = 0

        def projects(self) -> list[int]:
            self.calls += 1
            if self.calls <= 2:
                raise ZeroDivisionError
            return super().projects()

    states = Flaky(tmp_path / "flaky.json")
    states.update(3, url="")

    poller(states=states, interval=0.02).wake(4, forced=True)

    eventually(lambda: (3, False) in trainer.asked and 3 in deployer.asked)
    assert (4, True) in trainer.asked
    assert "failed unexpectedly; the next look tries it again" in caplog.text


def test_training_is_decided_on_while_what_waits_is_predicted(
    poller: Callable[..., Poller], states: StateFile, trainer: FakeTrainer, deployer: FakeDeployer
):
    release = threading.Event()

    def predict_for_long(_project: int) -> None:
        release.wait(5)

    deployer.work = predict_for_long
    states.update(3, url="")
    running = poller(interval=0.02)
    try:
        eventually(lambda: deployer.asked == [3])
        running.wake(4, forced=True)
        eventually(lambda: (4, True) in trainer.asked)
        assert deployer.asked == [3]
    finally:
        release.set()


def test_the_settings_are_checked_even_before_any_project_is_known(poller: Callable[..., Poller]):
    checked = threading.Event()

    def check(*, tell: bool) -> None:
        checked.set()

    poller(check=check)

    assert checked.wait(5)


def test_without_a_thread_it_is_done_at_once(rounds: Rounds, trainer: FakeTrainer, deployer: FakeDeployer):
    Inline(rounds).wake(3, forced=True)

    assert (trainer.asked, deployer.asked) == ([(3, True)], [3])
