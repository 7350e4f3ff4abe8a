"""Several threads: one request keeps no other waiting, and what many want at once is got once."""

import contextlib
import threading
import time
from collections.abc import Callable

import pytest

from backend.errors import AwsError, OutOfTimeError
from backend.parallel import Flights, Slots, run_all

LATE = 60.0  # seconds that no test waits for


def soon(seconds: float = LATE) -> float:
    return time.monotonic() + seconds


def test_there_is_a_result_for_each_item_in_order():
    futures = run_all(lambda item: item * 2, range(100), threads=7, deadline=soon())

    assert [future.result() for future in futures] == [item * 2 for item in range(100)]
    assert run_all(lambda item: item, [], threads=7, deadline=soon()) == []


def test_a_fault_belongs_to_its_item():
    zero, one = run_all(lambda item: 1 / item, [0, 1], threads=1, deadline=soon())

    assert isinstance(zero.exception(), ZeroDivisionError)
    assert one.result() == 1


def test_at_the_deadline_what_hangs_is_left_and_what_was_not_begun_is_not_begun():
    release, begun = threading.Event(), []

    def work(item: int) -> int:
        begun.append(item)
        release.wait(LATE)
        return item

    futures = run_all(work, range(50), threads=3, deadline=soon(0.2))
    late = not release.is_set()
    release.set()

    assert late
    assert [future.result(LATE) for future in futures[:3]] == [0, 1, 2]
    assert sorted(begun) == [0, 1, 2]
    assert not any(future.done() for future in futures[3:])


def test_what_hangs_in_one_call_keeps_no_other_waiting():
    release = threading.Event()
    run_all(lambda _: release.wait(LATE), range(50), threads=4, deadline=soon(0.1))

    (other,) = run_all(str, [5], threads=4, deadline=soon())
    hanging = not release.is_set()
    release.set()

    assert hanging
    assert other.result() == "5"


def started(work: Callable[[], object]) -> threading.Thread:
    thread = threading.Thread(target=work)
    thread.start()
    return thread


class Watched:
    """A key that tells when a thread looks it up."""

    def __init__(self) -> None:
        self.looks = threading.Semaphore(0)

    def __hash__(self) -> int:
        self.looks.release()
        return 1


def test_what_many_want_at_once_is_got_once_for_all():
    flights: Flights[object] = Flights()
    key, release, got, made = Watched(), threading.Event(), [], []

    def work() -> object:
        release.wait(LATE)
        made.append(object())
        return made[-1]

    threads = [started(lambda: got.append(flights.get(key, work, deadline=soon()))) for _ in range(8)]
    for _ in range(9):  # the first one looks twice: it also says that it is at it
        assert key.looks.acquire(timeout=LATE)
    release.set()
    for thread in threads:
        thread.join(LATE)

    assert len(made) == 1
    assert got == made * 8


def test_what_is_over_is_got_anew_and_other_keys_have_nothing_to_do_with_it():
    flights: Flights[object] = Flights()

    got = [flights.get(key, object, deadline=soon()) for key in ("a", "b", "a")]

    assert len(set(got)) == 3


def under_way(flights: Flights[str], error: Exception) -> tuple[threading.Event, threading.Thread]:
    """A thread that is at key 1, and raises *error* when it is let."""
    begun, release = threading.Event(), threading.Event()

    def fail() -> str:
        begun.set()
        release.wait(LATE)
        raise error

    def lead() -> None:
        with contextlib.suppress(AwsError):
            flights.get(1, fail, deadline=soon())

    thread = started(lead)
    assert begun.wait(LATE)
    return release, thread


def test_an_error_is_shared_too():
    flights: Flights[str] = Flights()
    release, leader = under_way(flights, AwsError("it is broken"))
    threading.Timer(0.05, release.set).start()

    with pytest.raises(AwsError, match="it is broken"):
        flights.get(1, lambda: "not asked", deadline=soon())
    leader.join(LATE)


def test_who_has_more_time_than_the_first_one_goes_on_alone():
    flights: Flights[str] = Flights()
    release, leader = under_way(flights, OutOfTimeError("the first one's time is over"))
    threading.Timer(0.05, release.set).start()

    assert flights.get(1, lambda: "answer", deadline=soon()) == "answer"
    leader.join(LATE)


def test_who_has_less_time_than_the_first_one_does_not_wait_for_it():
    flights: Flights[str] = Flights()
    release, leader = under_way(flights, AwsError("late"))

    with pytest.raises(OutOfTimeError):
        flights.get(1, lambda: "not asked", deadline=soon(0.05))
    assert not release.is_set()
    release.set()
    leader.join(LATE)


def test_no_more_calls_are_under_way_at_once_than_there_are_slots():
    slots, lock, now, most = Slots(3), threading.Lock(), 0, 0
    share = slots.share(soon())

    def call(_: int) -> None:
        nonlocal now, most
        with share.slot():
            with lock:
                now += 1
                most = max(most, now)
            time.sleep(0.001)
            with lock:
                now -= 1

    run_all(call, range(60), threads=10, deadline=soon())

    assert 0 < most <= 3


def test_a_share_may_always_have_one_call_whatever_the_others_have():
    slots = Slots(1)

    with slots.share(soon()).slot(), slots.share(soon()).slot(), slots.share(soon()).slot():
        late = slots.share(soon(0))
        with late.slot(), pytest.raises(OutOfTimeError, match="no time was left"), late.slot():
            pytest.fail("there is no second one")


def refused(slots: Slots) -> None:
    with slots.share(soon()).slot() as too_much:
        too_much()


def test_calls_that_were_too_many_are_halved_once_for_all_that_were_under_way_together():
    slots = Slots(8)
    with contextlib.ExitStack() as together:
        share = slots.share(soon())
        refusals = [together.enter_context(share.slot()) for _ in range(6)]
        for too_much in refusals:
            too_much()

    assert slots.limit == 4


def test_there_is_always_a_slot_and_answers_bring_the_others_back():
    slots = Slots(8)
    for _ in range(10):
        refused(slots)
    assert slots.limit == 1

    for _ in range(100):
        with slots.share(soon()).slot():
            pass
    assert slots.limit == 8


def test_a_slot_is_given_back_after_an_error():
    share = Slots(1).share(soon(0.1))
    for _ in range(3):
        with pytest.raises(ZeroDivisionError), share.slot():
            raise ZeroDivisionError

    assert share.calls == 0


def test_work_for_later_is_begun_when_nobody_waits():
    slots = Slots(2)

    with slots.awaited(soon()), slots.awaited(soon()), pytest.raises(OutOfTimeError, match="answered first"):
        slots.later(soon(0))

    with slots.later(soon(0)).slot():
        """Now nobody waits."""


def test_work_for_later_all_together_leaves_the_slots_to_what_somebody_waits_for():
    slots = Slots(2)
    first, second, third = (slots.later(soon(0)) for _ in range(3))

    with first.slot(), second.slot(), slots.awaited(soon(0)) as share:
        with pytest.raises(OutOfTimeError), third.slot():
            """Two are all that it takes."""
        with share.slot():
            """One call of a request goes whatever the others have."""
