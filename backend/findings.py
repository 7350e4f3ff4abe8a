"""What an examination finds: one line for each thing that was looked at."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum

from backend.errors import AwsAccessError, AwsAwayError, BackendError


class State(Enum):
    """How a thing is, as it is told."""

    OK = "ok"
    WRONG = "wrong"
    UNKNOWN = "cannot be checked"


@dataclass(frozen=True, slots=True)
class Finding:
    """A thing that was looked at; *text* says what is so and, where it is wrong, what to do."""

    state: State
    name: str
    text: str

    def __str__(self) -> str:
        return f"{self.state.value:<18} {self.name:<18} {' '.join(self.text.split())}"


Check = Callable[[], Iterator[Finding]]


def ok(name: str, text: str) -> Finding:
    """It is as it should be."""
    return Finding(State.OK, name, text)


def wrong(name: str, text: str) -> Finding:
    """It is not, and somebody has to do something."""
    return Finding(State.WRONG, name, text)


def unknown(name: str, text: str) -> Finding:
    """Nobody here can tell."""
    return Finding(State.UNKNOWN, name, text)


def examined(name: str, check: Check) -> Iterator[Finding]:
    """What *check* finds; what AWS does not let it look at cannot be checked, other errors are what is wrong."""
    try:
        yield from check()
    except (AwsAccessError, AwsAwayError) as error:
        yield unknown(name, str(error))
    except BackendError as error:
        yield wrong(name, str(error))
