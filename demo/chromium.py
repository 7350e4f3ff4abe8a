"""A headless Chromium, driven over the DevTools protocol through two pipes: no port is opened, no driver needed."""

from __future__ import annotations

import base64
import json
import os
import select
import shutil
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

from demo.errors import DemoError
from demo.process import end_tree

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PROGRAMS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
ANSWER_S = 60.0
"""The first answer waits for Chromium's start, which takes long on a busy machine."""

# Chromium reads commands from descriptor 3 and writes answers to descriptor 4.
_LAUNCH = "import os,sys;r,w=map(int,sys.argv[1:3]);os.dup2(r,3);os.dup2(w,4);os.execvp(sys.argv[3],sys.argv[3:])"


def find_chromium() -> str | None:
    """The path of an installed Chromium or Chrome."""
    return next((path for path in map(shutil.which, PROGRAMS) if path), None)


class Browser:
    """One page of a headless Chromium; use it in a `with` block."""

    def __init__(self, program: str, profile: Path, *, log: Path, size_wh: tuple[int, int] = (1400, 900)) -> None:
        commands_out, self._commands = os.pipe()
        self._answers, answers_in = os.pipe()
        flags = [
            "--headless=new",
            "--remote-debugging-pipe",
            f"--user-data-dir={profile}",
            f"--window-size={size_wh[0]},{size_wh[1]}",
            "--no-first-run",
            "--no-default-browser-check",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--disable-dev-shm-usage",
            "--disable-gpu",
            "--hide-scrollbars",
        ]
        if hasattr(os, "geteuid") and os.geteuid() == 0:
            flags.append("--no-sandbox")  # Chromium's sandbox does not work for root, as in a container
        self._log = log.open("wb")
        self._process = subprocess.Popen(
            [sys.executable, "-c", _LAUNCH, str(commands_out), str(answers_in), program, *flags, "about:blank"],
            pass_fds=(commands_out, answers_in),
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        os.close(commands_out)
        os.close(answers_in)
        self._number = 0
        self._buffer = b""
        self._session: str | None = None

    def __enter__(self) -> Browser:
        target = self.send("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.send("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        self.send("Page.enable")
        return self

    def __exit__(self, *_: object) -> None:
        end_tree(self._process.pid, timeout_s=3)
        self._process.wait()
        os.close(self._commands)
        os.close(self._answers)
        self._log.close()

    def open(self, url: str) -> None:
        """Go to *url*; what it shows has to be waited for."""
        self.send("Page.navigate", url=url)

    def evaluate(self, script: str) -> Any:  # noqa: ANN401 - whatever the script says
        """The value of a JavaScript expression in the page; None while the page is being replaced or if it throws."""
        answer = self.send("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        return None if "exceptionDetails" in answer else answer.get("result", {}).get("value")

    def wait_for(self, script: str, *, what: str, timeout_s: float) -> Any:  # noqa: ANN401 - as evaluate
        """The first value of *script* that is true to JavaScript's mind.

        Raises:
            DemoError: there was none in time; the message names *what* was waited for.
        """
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            value = self.evaluate(script)
            if value:
                return value
            time.sleep(0.25)
        message = (
            f"The browser waited {timeout_s:.0f} s for {what}, in vain; the page is {self.evaluate('location.href')}."
        )
        raise DemoError(message)

    def screenshot(self, path: Path) -> None:
        """Save the page as a PNG file."""
        path.write_bytes(base64.b64decode(self.send("Page.captureScreenshot", format="png")["data"]))

    def send(self, method: str, **params: Any) -> dict[str, Any]:  # noqa: ANN401 - the protocol's own types
        """Send a command and return its result; an error of a page that is being replaced is an empty result.

        Raises:
            DemoError: Chromium ended or does not answer.
        """
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": params}
        if self._session is not None:
            message["sessionId"] = self._session
        try:
            os.write(self._commands, json.dumps(message).encode() + b"\0")
        except BrokenPipeError as error:
            raise self._gone("ended") from error
        for answer in self._messages():
            if answer.get("id") == self._number:
                result: dict[str, Any] = answer.get("result", {})
                return result
        raise self._gone("ended")

    def _messages(self) -> Iterator[dict[str, Any]]:
        """What Chromium says: answers and events, one after the other, until it closes its pipe."""
        deadline = time.monotonic() + ANSWER_S
        while True:
            while b"\0" in self._buffer:
                raw, _, self._buffer = self._buffer.partition(b"\0")
                yield json.loads(raw)
            ready, _, _ = select.select([self._answers], [], [], max(0.0, deadline - time.monotonic()))
            if not ready:
                raise self._gone("does not answer")
            data = os.read(self._answers, 1 << 20)
            if not data:
                return
            self._buffer += data

    def _gone(self, how: str) -> DemoError:
        return DemoError(f"Chromium {how}; its log is {self._log.name}.")
