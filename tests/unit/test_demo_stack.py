"""The services together: one that ends, or that gives no good answer, is told in a sentence."""

import io
import os
import sys
from pathlib import Path

import httpx
import pytest
from botocore.exceptions import ClientError, EndpointConnectionError
from label_studio_sdk.core.api_error import ApiError

from demo.display import Display
from demo.errors import DemoError
from demo.process import Service
from demo.services import Plan
from demo.stack import Stack
from demo.state import Folder, Secrets, State
from demo.trouble import NO_GOOD_ANSWER, in_words

SHORT_LIVED = "import time;print('out of luck',flush=True);time.sleep(0.5);raise SystemExit(3)"


@pytest.fixture(name="stack")
def _stack(tmp_path: Path) -> Stack:
    folder = Folder(tmp_path / "data")
    folder.make()
    stack = Stack(Plan(folder, State({}, Secrets()), {}), Display(stream=io.StringIO()))
    stack.start(Service("thing", "The thing", (sys.executable, "-c", SHORT_LIVED), dict(os.environ), 1, "/", 5))
    return stack


def test_a_service_that_ends_during_a_wait_is_noticed_at_its_end(stack: Stack):
    with pytest.raises(DemoError, match=r"The thing ended by itself"):
        stack.sleep(1.2)


def test_an_error_is_blamed_on_the_service_that_ends_soon_after_it(stack: Stack):
    with pytest.raises(DemoError, match=r"The thing ended by itself(.|\n)*out of luck"):
        stack.blame(httpx.ConnectError("Connection refused"))


@pytest.mark.parametrize(
    ("error", "words"),
    [
        pytest.param(
            ApiError(status_code=500, body={"detail": "database is locked"}), "500: database is locked", id="LS"
        ),
        pytest.param(httpx.ConnectError("Connection refused"), "Connection refused", id="Label Studio refuses"),
        pytest.param(httpx.ReadTimeout(""), "ReadTimeout", id="Label Studio is silent"),
        pytest.param(EndpointConnectionError(endpoint_url="http://127.0.0.1:9"), "http://127.0.0.1:9", id="S3 refuses"),
        pytest.param(
            ClientError({"Error": {"Code": "InternalError", "Message": "no space"}}, "PutObject"), "no space", id="S3"
        ),
    ],
)
def test_what_a_client_raises_becomes_a_sentence(error: Exception, words: str):
    assert isinstance(error, NO_GOOD_ANSWER)
    assert words in in_words(error)
    assert "\n" not in in_words(error)
