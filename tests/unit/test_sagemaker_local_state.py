"""The store, listings, the wire protocol and names."""

from __future__ import annotations

import json
import shutil
import sqlite3
import tomllib
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import backend
from sagemaker_local import __version__
from sagemaker_local.errors import ApiError, StartError
from sagemaker_local.listing import page
from sagemaker_local.names import Names, bare_name, execution_id, job_name
from sagemaker_local.protocol import Protocol
from sagemaker_local.state import FORMAT, Store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

Json = Any
RECORDED = Path(__file__).parents[1] / "data" / "upgrade" / "0.1.0" / "sagemaker"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    made = Store(tmp_path / "state.sqlite3")
    yield made
    made.close()


@pytest.fixture(scope="module")
def protocol() -> Protocol:
    return Protocol()


def test_documents_survive_the_store(tmp_path: Path) -> None:
    first = Store(tmp_path / "s")
    first.insert("model", "a", {"ModelName": "a"}, parent="p")
    first.remember("scope", "token", "result")
    first.tag("arn", {"k": "v"})
    first.close()

    second = Store(tmp_path / "s")

    assert [item["ModelName"] for item in second.documents("model", parent="p")] == ["a"]
    assert second.remembered("scope", "token") == "result"
    assert second.tags("arn") == {"k": "v"}
    second.close()


def test_a_name_is_taken_once(store: Store) -> None:
    assert store.insert("model", "a", {"n": 1})
    assert not store.insert("model", "a", {"n": 2})
    assert (store.get("model", "a") or {})["n"] == 1


def test_an_update_sets_and_removes_members(store: Store) -> None:
    store.insert("model", "a", {"keep": 1, "drop": 2})

    store.update("model", "a", {"drop": None, "new": 3})

    document = store.get("model", "a") or {}
    assert {key: document[key] for key in document if not key.endswith("Time")} == {"keep": 1, "new": 3}
    assert store.update("model", "gone", {}) is None


def test_a_transaction_that_fails_leaves_nothing(store: Store) -> None:
    def break_off() -> None:
        with store.transaction():
            store.insert("model", "a", {})
            raise KeyError

    with pytest.raises(KeyError):
        break_off()

    assert store.get("model", "a") is None


def test_a_state_of_0_1_0_which_did_not_tell_its_format_is_read_and_marked(tmp_path: Path) -> None:
    path = Path(shutil.copy(RECORDED / "state.sqlite3", tmp_path))
    assert marks(path) == (0, None)

    Store(path).close()

    assert marks(path) == (FORMAT, __version__)


def test_what_a_newer_version_wrote_is_refused_with_its_name_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "state.sqlite3"
    Store(path).close()
    with closing(sqlite3.connect(path, isolation_level=None)) as newer:
        newer.execute("PRAGMA journal_mode = DELETE")
        newer.execute(f"PRAGMA user_version = {FORMAT + 1}")
        newer.execute("UPDATE about SET value = '9.1.0'")
    before = path.read_bytes()

    with pytest.raises(StartError) as caught:
        Store(path)

    assert str(caught.value) == (
        f"cannot use {path}: sagemaker_local 9.1.0 wrote it in format {FORMAT + 1}, and this one, {__version__}, "
        f"reads formats up to {FORMAT}: start that version; give another folder by --data"
    )
    assert path.read_bytes() == before
    assert [each.name for each in tmp_path.iterdir()] == [path.name]


def test_a_newer_format_that_names_its_writer_elsewhere_is_refused_too(tmp_path: Path) -> None:
    path = tmp_path / "state.sqlite3"
    with closing(sqlite3.connect(path, isolation_level=None)) as newer:
        newer.execute(f"PRAGMA user_version = {FORMAT + 1}")
        newer.execute("CREATE TABLE things (a)")

    with pytest.raises(StartError, match="sagemaker_local of a newer version wrote it"):
        Store(path)


@pytest.mark.parametrize("make", [lambda path: path.write_bytes(b"no database" * 100), lambda path: path.mkdir()])
def test_a_file_that_is_no_state_is_told_in_a_sentence(tmp_path: Path, make: Callable[[Path], object]) -> None:
    path = tmp_path / "state.sqlite3"
    make(path)

    with pytest.raises(StartError, match=f"cannot use {path}: .*; give another folder by --data"):
        Store(path)


def test_all_programs_have_the_projects_version() -> None:
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text(encoding="utf-8"))["project"]

    assert project["version"] == __version__ == backend.__version__


def marks(path: Path) -> tuple[int, str | None]:
    """The format and the writer that a file names."""
    with closing(sqlite3.connect(path)) as connection:
        (number,) = connection.execute("PRAGMA user_version").fetchone()
        if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'about'").fetchone():
            return number, None
        (writer,) = connection.execute("SELECT value FROM about WHERE key = 'written_by'").fetchone()
        return number, writer


def documents(count: int) -> list[dict[str, Json]]:
    return [{"Name": f"n{number:03}", "CreationTime": float(number // 3), "Status": "Up"} for number in range(count)]


@given(st.integers(0, 40), st.integers(1, 100), st.sampled_from(["Ascending", "Descending"]))
def test_the_pages_together_are_the_whole_list(count: int, size: int, order: str) -> None:
    request: dict[str, Json] = {"MaxResults": size, "SortOrder": order}
    shown, token = page(documents(count), request, name="Name")
    pages = [shown]
    while token:
        shown, token = page(documents(count), {**request, "NextToken": token}, name="Name")
        pages.append(shown)

    names = [item["Name"] for each in pages for item in each]
    assert sorted(names) == [item["Name"] for item in documents(count)]
    assert names == sorted(names, reverse=order == "Descending")
    assert all(len(each) <= size for each in pages)


def test_what_is_created_between_two_pages_repeats_nothing() -> None:
    first, token = page(documents(6), {"MaxResults": 3}, name="Name")

    second, _ = page(documents(9), {"MaxResults": 10, "NextToken": token}, name="Name")

    assert [item["Name"] for item in first + second] == ["n005", "n004", "n003", "n002", "n001", "n000"]


@pytest.mark.parametrize(
    ("request_", "names"),
    [
        pytest.param({"NameContains": "N00"}, ["n002", "n001", "n000"], id="name, any case"),
        pytest.param({"StatusEquals": "Down"}, [], id="status"),
        pytest.param({"CreationTimeAfter": 0.5}, ["n004", "n003"], id="after"),
        pytest.param({"CreationTimeBefore": "1970-01-01T00:00:00.5+00:00"}, ["n002", "n001", "n000"], id="before"),
        pytest.param({"SortBy": "Name", "SortOrder": "Ascending", "MaxResults": 1}, ["n000"], id="by name"),
    ],
)
def test_a_list_is_filtered_and_sorted(request_: dict[str, Json], names: list[str]) -> None:
    items = [item for item in documents(5) if "NameContains" not in request_ or item["Name"] < "n003"]

    assert [item["Name"] for item in page(items, request_, name="Name", status="Status")[0]] == names


@pytest.mark.parametrize("token", ["x", "eyJhIjogMX0=", "WzEsIDIsIDNd"])
def test_a_foreign_token_is_refused(token: str) -> None:
    with pytest.raises(ApiError, match="Invalid pagination token"):
        page(documents(3), {"NextToken": token, "SortBy": "Name"}, name="Name")


@pytest.mark.parametrize(
    ("body", "code", "message"),
    [
        pytest.param(b"{", "SerializationException", "not JSON", id="no JSON"),
        pytest.param(b"[]", "SerializationException", "a JSON object", id="no object"),
        pytest.param(b"{}", "ValidationException", "Missing required parameter", id="required"),
        pytest.param(b'{"EndpointName": 5}', "ValidationException", "Invalid type", id="type"),
        pytest.param(b'{"EndpointName": "a", "X": 1}', "ValidationException", '"X"', id="unknown"),
        pytest.param(b'{"EndpointName": "a_b"}', "ValidationException", "regular expression", id="pattern"),
        pytest.param(json.dumps({"EndpointName": "a" * 64}).encode(), "ValidationException", "length", id="too long"),
    ],
)
def test_a_request_must_fit_its_shape(protocol: Protocol, body: bytes, code: str, message: str) -> None:
    with pytest.raises(ApiError, match=message) as caught:
        protocol.parse("DescribeEndpoint", body)

    assert caught.value.code == code


def test_null_counts_as_absent(protocol: Protocol) -> None:
    assert protocol.parse("ListEndpoints", b'{"NameContains": null, "MaxResults": 5}') == {"MaxResults": 5}


def test_an_answer_has_only_the_members_of_its_shape(protocol: Protocol) -> None:
    endpoint = {"EndpointName": "a", "_variants": [], "Nope": 1, "FailureReason": None, "CreationTime": 1.5}

    answer = json.loads(protocol.render("DescribeEndpoint", endpoint))

    assert answer == {"EndpointName": "a", "CreationTime": 1.5}
    assert json.loads(protocol.render("DeleteEndpoint", {"a": 1})) == {}


def test_an_operation_that_sagemaker_does_not_have_is_named(protocol: Protocol) -> None:
    with pytest.raises(ApiError, match="'MakeCoffee'"):
        protocol.parse("MakeCoffee", b"{}")


def test_arns_are_lower_case_and_read_back() -> None:
    names = Names(region="eu-west-1")
    arn = names.execution_arn("Birds", "abc")

    assert arn == "arn:aws:sagemaker:eu-west-1:123456789012:pipeline/birds/execution/abc"
    assert execution_id(arn) == "abc"
    assert bare_name(names.arn("model-package", "Group/3")) == "group/3"
    assert bare_name("Birds") == "Birds"


@given(st.text(alphabet="abcXYZ019_-", max_size=64))
def test_a_job_name_is_one_that_sagemaker_takes(step: str) -> None:
    name = job_name("abcdefghijkl", step)

    assert len(name) <= 63
    assert name.startswith("pipelines-abcdefghijkl-")
    assert set(name) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-")
