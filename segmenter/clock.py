"""How long a job may still work: its time budget, and the signal to stop."""

import signal
import threading
import time
from dataclasses import dataclass, field
from types import FrameType


@dataclass(frozen=True, slots=True)
class Clock:
    """Counts from the start of the program; `stop` is set by SIGTERM."""

    started: float
    seconds: float
    stop: threading.Event = field(default_factory=threading.Event)

    def elapsed(self) -> float:
        """Seconds since the program began."""
        return time.monotonic() - self.started

    def left(self) -> float:
        """Seconds left of the budget; none after a signal to stop."""
        return 0.0 if self.stop.is_set() else self.seconds - self.elapsed()

    def is_stopped(self) -> bool:
        """Whether SIGTERM has come."""
        return self.stop.is_set()

    def reserving(self, seconds: float) -> "Clock":
        """The same clock with a smaller budget; at least a tenth of it stays."""
        return Clock(self.started, max(self.seconds - seconds, self.seconds / 10), self.stop)

    def stop_on_sigterm(self) -> None:
        """From now on SIGTERM asks for an early, orderly end; SageMaker gives two minutes for it."""

        def ask(_signal: int, _frame: FrameType | None) -> None:
            self.stop.set()

        signal.signal(signal.SIGTERM, ask)
