"""Work that several threads do: within a time, once where several want the same, no more at once than is taken."""

import contextlib
import threading
import time
from collections import deque
from collections.abc import Callable, Hashable, Iterator, Sequence
from concurrent.futures import Future, wait
from typing import Generic, TypeVar

from backend.errors import OutOfTimeError

T = TypeVar("T")
R = TypeVar("R")


def run_all(work: Callable[[T], R], items: Sequence[T], *, threads: int, deadline: float) -> list[Future[R]]:
    """A future for each item, in order; after *deadline* (``time.monotonic``) those that are not done stay so.

    The threads are this call's own: what hangs in one of them keeps nobody else waiting, and an item that was not begun
    by then is not begun any more.
    """
    futures: list[Future[R]] = [Future() for _ in items]
    waiting = deque(zip(futures, items, strict=True))
    for _ in range(min(threads, len(items))):
        threading.Thread(target=_work_off, args=(work, waiting), name="predict", daemon=True).start()
    wait(futures, timeout=max(0.0, deadline - time.monotonic()))
    waiting.clear()
    return futures


def _work_off(work: Callable[[T], R], waiting: deque[tuple[Future[R], T]]) -> None:
    while True:
        try:
            future, item = waiting.popleft()
        except IndexError:
            return
        _settle(future, lambda each=item: work(each))  # type: ignore[misc]


def _settle(future: Future[R], work: Callable[[], R]) -> None:
    try:
        future.set_result(work())
    except BaseException as error:  # noqa: BLE001  # whoever has the future decides
        future.set_exception(error)


class Flights(Generic[R]):
    """What several threads want at the same time is got once, by the first of them, for all."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._under_way: dict[Hashable, Future[R]] = {}

    def get(self, key: Hashable, work: Callable[[], R], *, deadline: float) -> R:
        """What *work* returns or raises, here or in the thread that is at it already.

        Raises:
            OutOfTimeError: it was not there at *deadline*.
        """
        while True:
            with self._lock:
                theirs = self._under_way.get(key)
                mine: Future[R] = Future()
                if theirs is None:
                    self._under_way[key] = mine
            if theirs is None:
                return self._lead(key, mine, work)
            wait([theirs], timeout=max(0.0, deadline - time.monotonic()))
            if not theirs.done():
                raise OutOfTimeError("there was no answer in time")
            if not isinstance(theirs.exception(), OutOfTimeError):  # their time was over, not ours
                return theirs.result()

    def _lead(self, key: Hashable, mine: Future[R], work: Callable[[], R]) -> R:
        _settle(mine, work)
        with self._lock:
            del self._under_way[key]
        return mine.result()


class Slots:
    """How many calls an endpoint gets at once: up to *most*, fewer for a while after it said that these are too many.

    Each share of it may always have one call under way, whatever the others have: a request must not wait for another
    one whose calls hang.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._limit = float(most)
        self._taken = 0
        self._cuts = 0
        self._changed = threading.Condition()
        self._awaited = 0  # requests that somebody waits for
        self._later = Share(self, 0.0)

    @property
    def limit(self) -> int:
        """How many there are now."""
        return int(self._limit)

    def share(self, deadline: float) -> "Share":
        """One request's part; it waits for no slot after *deadline* (``time.monotonic``)."""
        return Share(self, deadline)

    @contextlib.contextmanager
    def awaited(self, deadline: float) -> "Iterator[Share]":
        """A share like that, of a request that somebody waits for: until it is over no work for later is begun."""
        with self._changed:
            self._awaited += 1
        try:
            yield self.share(deadline)
        finally:
            with self._changed:
                self._awaited -= 1
                self._changed.notify_all()

    def later(self, deadline: float) -> "Share":
        """A part for work that nobody waits for: all of it together counts as one request's.

        Raises:
            OutOfTimeError: somebody waited for other work all the time.
        """
        with self._changed:
            if not self._changed.wait_for(lambda: not self._awaited, max(0.0, deadline - time.monotonic())):
                raise OutOfTimeError("others had to be answered first")
        return Share(self, deadline, of=self._later)

    def take(self, share: "Share") -> int:
        """Wait for a slot; returns what :meth:`cut` wants to know of it."""
        with self._changed:
            free = self._changed.wait_for(
                lambda: share.whole.calls == 0 or self._taken < self.limit, max(0.0, share.deadline - time.monotonic())
            )
            if not free:
                raise OutOfTimeError("no time was left to ask the endpoint")
            self._taken += 1
            share.whole.calls += 1
            return self._cuts

    def give_back(self, share: "Share") -> None:
        """The call is over."""
        with self._changed:
            self._taken -= 1
            share.whole.calls -= 1
            self._changed.notify_all()

    def cut(self, cuts: int) -> None:
        """The endpoint was asked too much: half as many. Once for all that were under way together."""
        with self._changed:
            if cuts == self._cuts:
                self._limit = max(1.0, self._limit / 2)
                self._cuts += 1

    def widen(self) -> None:
        """The endpoint answered: one more after as many answers as there are slots."""
        with self._changed:
            self._limit = min(float(self._most), self._limit + 1 / self._limit)
            self._changed.notify_all()


class Share:
    """The part that one request has in the slots; *of* is a larger one that it belongs to."""

    def __init__(self, slots: Slots, deadline: float, of: "Share | None" = None) -> None:
        self.deadline = deadline
        self.calls = 0
        self.whole = of or self
        self._slots = slots

    @contextlib.contextmanager
    def slot(self) -> Iterator[Callable[[], None]]:
        """A slot, for one call; what it yields is to be called where the endpoint says that it is asked too much.

        Raises:
            OutOfTimeError: none was free in time.
        """
        cuts = self._slots.take(self)
        refused = False

        def too_much() -> None:
            nonlocal refused
            refused = True
            self._slots.cut(cuts)

        try:
            yield too_much
            if not refused:
                self._slots.widen()
        finally:
            self._slots.give_back(self)
