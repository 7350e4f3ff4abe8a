"""The tasks that wait are predicted several at once, and stored so that none has two predictions of a version."""

import itertools
import threading
from collections.abc import Iterator, Sequence

import pytest

from backend import patience
from backend import waiting as module
from backend.errors import AwsError, LabelStudioAwayError, LabelStudioError
from backend.label_studio import Prediction
from backend.predictor import Outcome
from backend.waiting import BATCH, Done, Storing, Task, walk
from tests.fakes import FakeStudio

PREDICTED = Outcome({"result": [], "model_version": "birds v1", "score": 0.5})


def numbered(count: int) -> list[Task]:
    return [{"id": number} for number in range(1, count + 1)]


def test_as_many_tasks_as_may_be_are_predicted_at_once_and_stored_while_others_are():
    together = threading.Barrier(8)  # each waits for seven others, so fewer at once would never end

    def predict(task: Task) -> Outcome:
        together.wait(timeout=30)
        return PREDICTED

    def store(some: Sequence[Done]) -> Sequence[Done]:
        assert len(some) <= BATCH
        return some

    done = list(itertools.chain(*walk(numbered(200), predict, store, at_once=4)))

    assert sorted(each.task for each in done) == list(range(1, 201))


def test_only_so_many_predictions_wait_for_label_studio():
    predicted: list[int] = []
    full = threading.Event()

    def predict(task: Task) -> Outcome:
        predicted.append(int(task["id"]))
        if len(predicted) == module._AHEAD:
            full.set()
        return PREDICTED

    def store(some: Sequence[Done]) -> Sequence[Done]:
        assert full.wait(30)
        full.clear()
        predicted.clear()
        return some

    steps = walk(itertools.cycle([{"id": 1}]), predict, store, at_once=2)
    while not next(steps):
        """Nothing is stored yet."""

    assert len(predicted) <= module._AHEAD + 4 + BATCH
    steps.close()  # type: ignore[attr-defined]


def test_what_was_taken_is_stored_before_an_error_in_taking_is_raised():
    def tasks() -> Iterator[Task]:
        yield from numbered(5)
        raise LabelStudioError("no more pages")

    seen: list[int] = []

    def store(some: Sequence[Done]) -> Sequence[Done]:
        seen.extend(each.task for each in some)
        return some

    with pytest.raises(LabelStudioError, match="no more pages"):
        list(walk(tasks(), lambda _: PREDICTED, store, at_once=2))

    assert sorted(seen) == [1, 2, 3, 4, 5]


def test_after_an_error_in_storing_no_more_tasks_are_taken():
    taken = []

    def tasks() -> Iterator[Task]:
        for number in itertools.count(1):
            taken.append(number)
            yield {"id": number}

    def store(some: Sequence[Done]) -> Sequence[Done]:
        raise LabelStudioError("refused")

    with pytest.raises(LabelStudioError, match="refused"):
        list(walk(tasks(), lambda _: PREDICTED, store, at_once=1))
    for thread in threading.enumerate():
        if thread.name.startswith("waiting-"):
            thread.join(30)

    assert len(taken) <= module._AHEAD + BATCH + 2


def done(*tasks: int, outcome: Outcome = PREDICTED) -> list[Done]:
    return [Done(task, outcome) for task in tasks]


def test_what_somebody_else_stored_meanwhile_is_not_stored_again():
    studio = FakeStudio(stored=[Prediction(2, [], 0.5, "birds v1")])

    found = Storing(shelf=studio, project=3, version="birds v1")(done(1, 2, 3))

    assert sorted(each.task for each in studio.stored) == [1, 2, 3]
    assert {each.task: each.stored for each in found} == {1: True, 2: False, 3: True}


class Late(FakeStudio):
    """Somebody else stores predictions of all tasks between our question and our storing."""

    def store_predictions(self, project: int, predictions: Sequence[Prediction]) -> None:
        self.stored += [Prediction(each.task, [], 0.1, each.model_version) for each in predictions]
        super().store_predictions(project, predictions)


def test_doubles_that_came_all_the_same_are_deleted_and_the_first_stays():
    studio = Late()

    Storing(shelf=studio, project=3, version="birds v1")(done(1, 2))

    assert [(each.task, each.score) for each in studio.stored] == [(1, 0.1), (2, 0.1)]


def test_what_was_stored_before_is_looked_at_again():
    class Looking(FakeStudio):
        def delete_doubles(self, project: int, model_version: str, tasks: Sequence[int]) -> int:
            looked.append(list(tasks))
            return 0

    looked: list[list[int]] = []
    storing = Storing(shelf=Looking(), project=3, version="birds v1")

    for some in (done(1, 2), done(3), done(4)):
        storing(some)

    assert looked == [[1, 2], [1, 2, 3], [3, 4]]


def test_tasks_without_a_prediction_are_told_and_nothing_is_asked_for_them():
    studio = FakeStudio(error=LabelStudioError("not to be asked"))
    failed = done(1, outcome=Outcome({}, AwsError("throttled")))

    assert Storing(shelf=studio, project=3, version="birds v1")(failed) == failed


class Picky(FakeStudio):
    """Takes no prediction of task 2."""

    def store_predictions(self, project: int, predictions: Sequence[Prediction]) -> None:
        if 2 in {each.task for each in predictions}:
            raise LabelStudioError("refused")
        super().store_predictions(project, predictions)


def test_a_prediction_that_is_refused_harms_no_other():
    studio = Picky()

    found = Storing(shelf=studio, project=3, version="birds v1")(done(1, 2, 3))

    assert [each.task for each in studio.stored] == [1, 3]
    assert {each.task: str(each.error) for each in found if each.error} == {2: "refused"}


def test_where_label_studio_is_away_for_a_moment_it_is_asked_again(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(patience, "_RETRY_S", 0.0)

    class Away(FakeStudio):
        times = 3

        def lacking(self, project: int, model_version: str, tasks: Sequence[int]) -> set[int]:
            self.times -= 1
            if self.times >= 0:
                raise LabelStudioAwayError("away")
            return super().lacking(project, model_version, tasks)

    studio = Away()
    with pytest.raises(LabelStudioAwayError):
        Storing(shelf=studio, project=3, version="birds v1")(done(1))

    Storing(shelf=studio, project=3, version="birds v1", patience=60)(done(1))

    assert [each.task for each in studio.stored] == [1]
