"""Adapter: asks an address over HTTP whether somebody answers there, and how fast."""

import socket
import time
import urllib.parse
from dataclasses import dataclass

import httpx

_PATIENCE_S = 5.0


@dataclass(frozen=True, slots=True)
class Answer:
    """What came: a status, or None and the *problem*; *here* is whether the address means anything on this machine.

    *told* are the problems that a backend itself tells of.
    """

    status: int | None
    seconds: float
    problem: str = ""
    here: bool = True
    told: tuple[str, ...] = ()


def ask(method: str, url: str, *, auth: tuple[str, str] | None = None) -> Answer:
    """One request, with what came of it."""
    if not _resolves(url):
        return Answer(None, 0.0, "this machine does not know the name", here=False)
    begun = time.monotonic()
    try:
        with httpx.Client(timeout=_PATIENCE_S) as client:
            answer = client.request(method, url, auth=auth or httpx.USE_CLIENT_DEFAULT)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        return Answer(None, time.monotonic() - begun, f"{type(error).__name__}: {error}")
    return Answer(answer.status_code, time.monotonic() - begun, told=_problems(answer))


def _problems(answer: httpx.Response) -> tuple[str, ...]:
    try:
        body = answer.json()
    except ValueError:
        return ()
    problems = body.get("problems") if isinstance(body, dict) else None
    return tuple(str(each) for each in problems) if isinstance(problems, list) else ()


def _resolves(url: str) -> bool:
    try:
        socket.getaddrinfo(urllib.parse.urlsplit(url).hostname or "", None)
    except (OSError, ValueError):  # the latter for what cannot be a name, such as a..b
        return False
    return True
