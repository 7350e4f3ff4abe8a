"""To ask again for a while what does not answer just now."""

import time
from collections.abc import Callable
from typing import TypeVar

from backend.errors import AwayError

T = TypeVar("T")
_RETRY_S = 1.0


def patiently(
    call: Callable[[], T],
    *,
    seconds: float,
    tell: Callable[[AwayError], None] = lambda _error: None,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> T:
    """What *call* returns; called again for so many *seconds* while something that it needs does not answer.

    *tell* hears each time why it is waited.

    Raises:
        AwayError: the time is over.
    """
    end = clock() + seconds
    while True:
        try:
            return call()
        except AwayError as error:
            if clock() >= end:
                raise
            tell(error)
        sleep(_RETRY_S)
