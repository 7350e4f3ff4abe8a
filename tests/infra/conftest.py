"""The emulated account, which is quick to use as long as botocore reads each service's model once."""

import copy
import functools
from collections.abc import Iterator

import pytest
from botocore.loaders import JSONFileLoader

from tests.infra.account import REGION, emulated_account
from tests.infra.kept_parameters import keep_parameters


@pytest.fixture(scope="session", autouse=True)
def _read_once() -> Iterator[None]:
    """Every session of boto3 reads the models anew, which takes longer than all that a test asks for."""
    read = functools.cache(JSONFileLoader().load_file)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(JSONFileLoader, "load_file", lambda _, path: copy.copy(read(path)))
        yield


@pytest.fixture
def account(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An empty account, which boto3 speaks to."""
    monkeypatch.setenv("AWS_DEFAULT_REGION", REGION)
    monkeypatch.delenv("AWS_REGION", raising=False)
    keep_parameters()
    with emulated_account():
        yield
