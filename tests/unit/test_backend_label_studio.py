"""The adapter to Label Studio, against a server that answers what was put in."""

import json
import urllib.parse
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from backend.errors import ImageAwayError, ImageError, LabelStudioError
from backend.label_studio import LabelStudio, Project, basic_authorization
from tests.local_server import Answer, Server, serving


@pytest.fixture
def server() -> Iterator[Server]:
    with serving() as made:
        yield made


@pytest.fixture
def studio(server: Server) -> Iterator[LabelStudio]:
    made = LabelStudio(server.url + "/", "0123456789abcdef0123456789abcdef01234567")
    yield made
    made.close()


def test_an_upload_is_fetched_with_the_token(server: Server, studio: LabelStudio):
    server.answer = lambda _path: (200, b"photo", {})

    assert studio.fetch("/data/upload/3/a%20b.jpg", task=7, limit=10) == b"photo"
    assert server.requests == [("/data/upload/3/a%20b.jpg", "Token 0123456789abcdef0123456789abcdef01234567")]


@pytest.mark.parametrize(
    ("connected", "found"),
    [
        pytest.param("http://backend:9090", True, id="ours"),
        pytest.param("http://user:pass@backend:9090/", True, id="ours, with a password in its address"),
        pytest.param("http://sam:9090", False, id="somebody else's"),
        pytest.param("http://backend:9091", False, id="another port"),
        pytest.param("http://backend:9090/other", False, id="another path"),
    ],
)
def test_only_the_backend_at_our_own_address_is_taken_as_ours(
    server: Server, studio: LabelStudio, connected: str, found: bool
):
    row = {"id": 5, "url": connected, "title": "Birds", "project": 3, "state": "CO"}
    server.answer = lambda _path: (200, json.dumps([row]).encode(), {})

    assert (studio.ml_backend(3, "http://backend:9090") is not None) is found
    assert studio.ml_backend(3, "") is None


def project_row(number: int) -> dict[str, Any]:
    counts = {"task_number": 60, "total_annotations_number": 16, "total_predictions_number": 44}
    return {"id": number, "title": f"Birds {number}", "label_config": "<View/>", **counts}


def test_all_pages_of_projects_are_read_and_no_page_too_many(server: Server, studio: LabelStudio):
    def answer(path: str) -> Answer:
        query = urllib.parse.parse_qs(urllib.parse.urlsplit(path).query)
        first = int(query["page"][0]) * int(query["page_size"][0]) - 100
        rows = [project_row(number) for number in range(1, 151)]
        return 200, json.dumps({"count": 150, "results": rows[first : first + 100]}).encode(), {}

    server.answer = answer

    found = studio.projects()

    assert [each.id for each in found] == list(range(1, 151))
    assert found[0] == Project(1, "<View/>", annotations=16, tasks=60, title="Birds 1", predictions=44)
    assert len(server.requests) == 2


def counting(versions: dict[str, int], waiting: int, lacking: int) -> Callable[[str], Answer]:
    """A Label Studio whose project has predictions of these *versions*."""

    def answer(path: str) -> Answer:
        if "model-versions" in path:
            return 200, json.dumps(versions).encode(), {}
        query = urllib.parse.parse_qs(urllib.parse.urlsplit(path).query)
        filters = json.loads(query["query"][0])["filters"]["items"]
        total = lacking if filters[-1]["value"] else waiting
        known: list[dict[str, Any]] = [
            {"id": number, "data": {}, "predictions_model_versions": "birds v12"} for number in (1, 2)
        ]
        shown = known if filters[0]["value"] == 0 else []
        return 200, json.dumps({"tasks": shown, "total": total, "total_annotations": 0}).encode(), {}

    return answer


@pytest.mark.parametrize(
    ("version", "versions", "counts"),
    [
        pytest.param("", {}, (44, 44), id="no model yet"),
        pytest.param("birds v2", {"birds v2": 30}, (44, 14), id="counted by Label Studio"),
        pytest.param("birds v1", {"birds v12": 30}, (44, 2), id="another version that begins alike: counted here"),
    ],
)
def test_waiting_tasks_are_counted_and_those_without_a_prediction(
    server: Server, studio: LabelStudio, version: str, versions: dict[str, int], counts: tuple[int, int]
):
    server.answer = counting(versions, 44, 14)

    assert studio.count_waiting(3, version) == counts


def test_a_cloud_address_is_resolved_by_label_studio(server: Server, studio: LabelStudio):
    server.answer = lambda _path: (200, b"photo", {})

    assert studio.fetch("s3://closed/é #1.jpg", task=7, limit=10) == b"photo"
    assert server.requests[0][0].startswith("/tasks/7/resolve/?fileuri=")
    with pytest.raises(ImageError, match="wanted a task"):
        studio.fetch("s3://closed/x.jpg", task=None, limit=10)


def test_the_token_is_not_given_to_another_host(server: Server, studio: LabelStudio):
    port = server.server_port
    redirect = {"Location": f"http://localhost:{port}/elsewhere"}
    server.answer = lambda path: (200, b"photo", {}) if path == "/elsewhere" else (303, b"", redirect)

    assert studio.fetch("/data/x.jpg", task=7, limit=10) == b"photo"
    assert server.requests[-1] == ("/elsewhere", None)


@pytest.mark.parametrize(
    ("status", "away"), [(404, False), (410, False), (401, True), (429, True), (500, True), (503, True)]
)
def test_what_is_gone_is_gone_and_anything_else_may_be_had_later(
    server: Server, studio: LabelStudio, status: int, away: bool
):
    server.answer = lambda _path: (status, b"{}", {})

    with pytest.raises(ImageError, match=str(status)) as uploaded:
        studio.fetch("/data/x.jpg", task=7, limit=10)

    assert isinstance(uploaded.value, ImageAwayError) is away


class Tasks:
    """Label Studio's list of tasks as its filters have it, by the versions of their predictions."""

    def __init__(self, versions: dict[int, list[str]], separator: str = ",") -> None:
        self.versions = versions
        self.separator = separator

    def __call__(self, path: str) -> Answer:
        if path == "/api/projects/3/model-versions/":
            return 200, json.dumps({each: 1 for found in self.versions.values() for each in found}).encode(), {}
        query = urllib.parse.parse_qs(urllib.parse.urlsplit(path).query)
        asked = json.loads(query["query"][0])
        assert (query["page"], asked["ordering"]) == (["1"], ["tasks:id"])
        filters = {each["filter"]: each["value"] for each in asked["filters"]["items"]}
        found = [task for task in sorted(self.versions) if self._passes(task, filters)]
        tasks = [self._task(number) for number in found[: int(query["page_size"][0])]]
        body = {"tasks": tasks, "total": len(found), "total_annotations": 0, "total_predictions": 0}
        return 200, json.dumps(body).encode(), {}

    def _passes(self, task: int, filters: dict[str, Any]) -> bool:
        """It finds parts of a version's name, whatever the case."""
        without = filters["filter:tasks:predictions_model_versions"]
        named = [part for part in without for each in self.versions[task] if part.lower() in each.lower()]
        return task > filters["filter:tasks:id"] and not named

    def _task(self, number: int) -> dict[str, object]:
        versions = self.separator.join(self.versions[number])[:500]
        return {"id": number, "data": {"image": "/a.jpg"}, "predictions_model_versions": versions}


@pytest.mark.parametrize("count", [0, 1, 100, 250])
@pytest.mark.parametrize("failing", [0, 1, 99, 100, 250])
def test_all_waiting_tasks_come_once_whichever_of_them_get_a_prediction(
    server: Server, studio: LabelStudio, count: int, failing: int
):
    server.answer = tasks = Tasks({number: [] for number in range(1, count + 1)})
    seen: list[int] = []

    for page in studio.waiting_tasks(3, "birds v1"):
        seen.extend(task["id"] for task in page)
        tasks.versions |= {task["id"]: ["birds v1"] for task in page if task["id"] > failing}

    assert seen == list(range(1, count + 1))


def waiting(studio: LabelStudio, version: str, *, after: int = 0) -> list[int]:
    return [task["id"] for page in studio.waiting_tasks(3, version, after=after) for task in page]


@pytest.mark.parametrize("after", [0, 1, 100, 149, 150])
def test_waiting_tasks_can_be_had_from_any_on(server: Server, studio: LabelStudio, after: int):
    server.answer = Tasks({number: [] for number in range(1, 151)})

    assert waiting(studio, "birds v1", after=after) == list(range(after + 1, 151))


@pytest.mark.parametrize("separator", [",", ", "], ids=["SQLite", "PostgreSQL"])
@pytest.mark.parametrize(
    "other",
    ["birds v12", "my birds v1", "Birds v1", "birds v1, reviewed"],
    ids=["longer", "other name", "case", "comma"],
)
def test_a_version_is_not_taken_for_another_one_that_contains_it(
    server: Server, studio: LabelStudio, other: str, separator: str
):
    server.answer = Tasks(
        {1: [other], 2: ["birds v1"], 3: [other, "birds v1"], 4: [], 5: ["x"], 6: ["birds v1", other]}, separator
    )

    assert waiting(studio, other) == [2, 4, 5]
    if "," not in other:
        assert waiting(studio, "birds v1") == [1, 4, 5]


def test_pages_on_which_all_tasks_have_the_version_are_passed_over(server: Server, studio: LabelStudio):
    server.answer = Tasks({number: ["birds v1", "birds v12"] for number in range(1, 251)} | {251: ["birds v12"]})

    assert waiting(studio, "birds v1") == [251]


def test_a_task_whose_versions_were_cut_off_is_not_predicted_twice(server: Server, studio: LabelStudio):
    server.answer = Tasks({1: [f"birds v{number}" for number in range(100, 200)], 2: ["birds v100"]})

    assert waiting(studio, "birds v1") == [2]


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        pytest.param((401, b'{"detail": "Invalid token."}', {}), "refuses the token", id="wrong token"),
        pytest.param(
            (404, b'{"detail": "No Project matches"}', {}),
            "404: No Project matches.* The number is the one in",
            id="no such project",
        ),
        pytest.param(
            (200, b"<html>", {"Content-Type": "text/html"}), "does not speak Label Studio's API", id="no JSON"
        ),
    ],
)
def test_what_label_studio_refuses_is_told(server: Server, studio: LabelStudio, answer: Answer, problem: str):
    server.answer = lambda _path: answer

    with pytest.raises(LabelStudioError, match=problem):
        studio.project(3)


def test_when_label_studio_is_away_it_says_so():
    with pytest.raises(LabelStudioError, match="cannot be reached"):
        LabelStudio("http://127.0.0.1:9", "0123456789abcdef").annotated_tasks(3)


def test_basic_authorization_is_what_label_studio_sends():
    assert basic_authorization("mluser", "mlpass") == "Basic bWx1c2VyOm1scGFzcw=="
