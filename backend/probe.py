"""Adapter: asks an address over HTTP whether somebody answers there, and how fast."""

import socket
import time
import urllib.parse
from dataclasses import dataclass

import httpx

_PATIENCE_S = 5.0


@dataclass(frozen=True, slots=True)
class Answer:
    """What came: a status, or None and the *problem*; *here* is whether the address means anything on this machine."""

    status: int | None
    seconds: float
    problem: str = ""
    here: bool = True


def ask(method: str, url: str, *, auth: tuple[str, str] | None = None) -> Answer:
    """One request, with what came of it."""
    if not _resolves(url):
        return Answer(None, 0.0, "this machine does not know the name", here=False)
    begun = time.monotonic()
    try:
        with httpx.Client(timeout=_PATIENCE_S) as client:
            status = client.request(method, url, auth=auth or httpx.USE_CLIENT_DEFAULT).status_code
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        return Answer(None, time.monotonic() - begun, f"{type(error).__name__}: {error}")
    return Answer(status, time.monotonic() - begun)


def _resolves(url: str) -> bool:
    host = urllib.parse.urlsplit(url).hostname or ""
    try:
        socket.getaddrinfo(host, None)
    except OSError:
        return False
    return True
