"""A task as a person sees it: logged in, opened in a browser, its predicted polygons drawn; saved as a picture."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from demo.chromium import Browser, find_chromium
from demo.errors import DemoError
from demo.services import LOGIN

if TYPE_CHECKING:
    from demo.display import Display
    from demo.stack import Stack

PAGE_S = 60.0
INSTALL_S = 600.0

_LOGIN_FORM = "document.querySelector('input[name=email]') !== null"
_LOGGED_IN = "!location.pathname.startsWith('/user/login') && document.readyState === 'complete'"

# The editor's own store says which regions it has. The picture is an image of the editor's making, and a canvas that
# is painted in part shows that the regions are drawn on it (one is painted all over, as a background). All of it is
# pale while the page still waits for something.
_DRAWN = """
(() => {
  const regions = window.Htx?.annotationStore?.selected?.regionStore?.regions ?? [];
  const picture = [...document.images].some(i => i.src.startsWith('blob:') && i.complete && i.naturalWidth > 0);
  const share = canvas => {
    const pixels = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data;
    let painted = 0;
    for (let i = 3; i < pixels.length; i += 4) painted += pixels[i] > 0;
    return painted / (canvas.width * canvas.height);
  };
  const drawn = [...document.querySelectorAll('.konvajs-content canvas')].map(share).some(s => s > 0 && s < 1);
  const waits = document.querySelector('[class*="label-view__waiting"]') !== null;
  if (!regions.length || !picture || !drawn || waits) return null;
  return regions.filter(region => region.type === 'polygonregion').flatMap(region => [...region.labels]);
})()
"""


def capture(stack: Stack, *, project: int, task: int, path: Path) -> list[str]:
    """Open *task* in a browser as the demo's person and save the picture at *path*; the labels of the polygons drawn.

    Raises:
        DemoError: there is no browser, or no polygon was drawn in time (a picture of what there was is saved even so).
    """
    url = stack.plan.url("label_studio")
    program = require_chromium(stack.display)
    with (
        tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile,
        Browser(program, Path(profile), log=stack.plan.folder.logs / "chromium.log") as browser,
    ):
        _log_in(browser, url, stack.plan.state.secrets.label_studio_password)
        browser.open(f"{url}/projects/{project}/data?task={task}")
        try:
            labels: list[str] = browser.wait_for(_DRAWN, what=f"the polygons of task {task}", timeout_s=PAGE_S)
        finally:
            browser.screenshot(path)
    return labels


def _log_in(browser: Browser, url: str, password: str) -> None:
    browser.open(f"{url}/user/login/")
    browser.wait_for(_LOGIN_FORM, what="Label Studio's login form", timeout_s=PAGE_S)
    browser.evaluate(
        f"document.querySelector('input[name=email]').value = {json.dumps(LOGIN)};"
        f"document.querySelector('input[name=password]').value = {json.dumps(password)};"
        "document.querySelector('form').submit()"
    )
    browser.wait_for(_LOGGED_IN, what="Label Studio after the login", timeout_s=PAGE_S)


def require_chromium(display: Display) -> str:
    """The path of a browser; on Debian, root installs it.

    Raises:
        DemoError: there is none, and what to install.
    """
    found = find_chromium()
    if found is None and shutil.which("apt-get") and os.geteuid() == 0:
        _install(display)
        found = find_chromium()
    if found is None:
        message = "The check looks at Label Studio in Chromium, which is not installed: `apt-get install chromium`."
        raise DemoError(message)
    return found


def _install(display: Display) -> None:
    for command in (["apt-get", "update"], ["apt-get", "install", "--yes", "--no-install-recommends", "chromium"]):
        display.line(f"  {' '.join(command)} ...")
        environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        try:
            ended = subprocess.run(
                command,
                env=environment,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=INSTALL_S,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            message = f"`{' '.join(command)}` took longer than {INSTALL_S:.0f} s; install chromium yourself."
            raise DemoError(message) from error
        if ended.returncode != 0:
            message = f"`{' '.join(command)}` failed: {ended.stderr.strip()[-300:]}"
            raise DemoError(message)
