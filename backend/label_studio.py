"""Adapter: Label Studio's API through label-studio-sdk. Takes legacy tokens and personal access tokens alike."""

import base64
import functools
import itertools
import json
import logging
import re
import urllib.parse
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ParamSpec, TypeVar

import httpx

# The package's own `LabelStudio` class loads pandas and more for features that are not used here: 100 MB a worker.
from label_studio_sdk.base_client import LabelStudioBase
from label_studio_sdk.core.api_error import ApiError

from backend.downloads import Downloads
from backend.errors import ImageError, LabelStudioAwayError, LabelStudioError

P = ParamSpec("P")
R = TypeVar("R")
logger = logging.getLogger(__name__)

_PAGE = 100
# Of a project in a list. Left out are counts that take a large server long.
_FIELDS = "id,title,label_config,task_number,total_annotations_number,total_predictions_number"
_AWAY = {502, 503, 504}
_GONE = 404
_TAG = re.compile(r"<[^>]*>")
_DETAIL_CUT = 400
_VERSIONS_CUT = 500  # characters: Label Studio cuts a task's list of versions there
_TIMEOUT_S = 30.0


@dataclass(frozen=True, slots=True)
class Project:
    """What there is to know of a project; *annotations* are counted without skipped ones, *predictions* all in all."""

    id: int
    label_config: str
    annotations: int
    tasks: int
    title: str = ""
    predictions: int = 0


@dataclass(frozen=True, slots=True)
class MlBackend:
    """An ML backend as a project's Settings > Model shows it."""

    id: int
    url: str
    title: str
    model_version: str = ""


@dataclass(frozen=True, slots=True)
class Prediction:
    """One task's prediction as Label Studio stores it."""

    task: int
    result: Sequence[Mapping[str, object]]
    score: float | None
    model_version: str


def translated(call: Callable[P, R]) -> Callable[P, R]:
    """The SDK's errors do not leave this module."""

    @functools.wraps(call)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return call(*args, **kwargs)
        except ApiError as error:
            away = error.status_code in _AWAY or "database is locked" in api_detail(error)
            raise (LabelStudioAwayError if away else LabelStudioError)(_api_message(error)) from error
        except (httpx.HTTPError, ValueError) as error:
            kind = LabelStudioAwayError if isinstance(error, httpx.TransportError) else LabelStudioError
            raise kind(f"Label Studio cannot be reached or understood: {type(error).__name__}: {error}") from error

    return wrapper


def _api_message(error: ApiError) -> str:
    detail = api_detail(error)
    if "reserved network address" in detail:
        return (
            f"Label Studio does not call private addresses ({error.status_code}: {detail}); start it with "
            "USE_DEFAULT_BANNED_SUBNETS=false, or give an address that is not private"
        )
    if error.status_code in {401, 403}:
        return (
            f"Label Studio refuses the token ({error.status_code}: {detail}); set LABEL_STUDIO_API_KEY to a personal "
            "access token or, where the organization allows them, a legacy token (Account & Settings)"
        )
    if error.status_code is not None and error.status_code < 400:
        return "what answers at LABEL_STUDIO_URL does not speak Label Studio's API"
    told = f"Label Studio answered {error.status_code}: {detail}"
    if "No Project matches" in detail:
        return f"{told} The number is the one in the project's address; is it one that the token's owner sees?"
    return told


def api_detail(error: ApiError) -> str:
    """What Label Studio's own words are for its error."""
    body = error.body if isinstance(error.body, Mapping) else {}
    reasons = body.get("validation_errors")
    told = " ".join(_texts(reasons)) if reasons else str(body.get("detail") or "")
    return _TAG.sub("", told).strip()[:_DETAIL_CUT]


def _texts(value: object, name: str = "") -> Iterator[str]:
    """The texts in a validation error, which has a list for each field."""
    if isinstance(value, Mapping):
        for field, each in value.items():
            yield from _texts(each, "" if field == "non_field_errors" else f"{field}: ")
    elif isinstance(value, list | tuple):
        for each in value:
            yield from _texts(each, name)
    else:
        yield f"{name}{value}"


class LabelStudio:
    """One Label Studio server, as the owner of an API token sees it."""

    def __init__(
        self,
        url: str,
        api_key: str,
        *,
        basic_auth: tuple[str, str] | None = None,
        downloads: Downloads | None = None,
    ) -> None:
        """*basic_auth* is the user and password that this ML backend asks for, *downloads* gets files."""
        self._url = url.rstrip("/")
        self._api_key = api_key
        self._basic_auth = basic_auth
        self._http = httpx.Client(timeout=_TIMEOUT_S, follow_redirects=True)
        self._downloads = downloads or Downloads()
        self._client_or_none: LabelStudioBase | None = None

    def close(self) -> None:
        """Close the connections."""
        self._http.close()
        self._downloads.close()

    @property
    def _client(self) -> LabelStudioBase:
        """Made at first use, since a malformed or expired token makes the SDK raise."""
        if self._client_or_none is None:
            self._client_or_none = LabelStudioBase(
                base_url=self._url, api_key=self._api_key, timeout=_TIMEOUT_S, httpx_client=self._http
            )
        return self._client_or_none

    @translated
    def whoami(self) -> str:
        """The token's user, by e-mail; raises if the address or the token is wrong."""
        return self._client.users.whoami().email or "a user without e-mail"

    @translated
    def project(self, project: int) -> Project:
        """The project as it is now."""
        return _project(self._client.projects.get(project))

    @translated
    def projects(self) -> list[Project]:
        """All projects that the token's owner sees."""
        found: list[Project] = []
        for number in itertools.count(1):
            page = self._client.projects.list(include=_FIELDS, page=number, page_size=_PAGE)
            found += [_project(each) for each in page.items or []]
            if not page.items or len(found) >= page.response.count:
                break
        return found

    @translated
    def annotated_tasks(self, project: int) -> list[dict[str, Any]]:
        """Every task that has an annotation, with its annotations; image references are as stored (raw ``s3://``)."""
        chunks = self._client.projects.exports.download_sync(
            project, export_type="JSON", download_all_tasks=False, download_resources=False
        )
        tasks = json.loads(b"".join(chunks))
        return [task for task in tasks if isinstance(task, dict)]

    def waiting_tasks(self, project: int, model_version: str, *, after: int = 0) -> Iterator[list[dict[str, Any]]]:
        """Pages of the tasks that nobody has annotated and that lack a prediction of *model_version*.

        By the order of their ids, from the first one *after*, so that it does not matter which of them get a prediction
        meanwhile.
        """
        # Where versions are alike the filter must let all pass. It stays, since a task tells of its versions only if
        # they are filtered by.
        without = [] if self._alike(project, model_version) else [model_version]
        while page := self._waiting_page(project, without, after=after):
            if lacking := [task for task in page if not _has(task["versions"], model_version)]:
                yield lacking
            after = page[-1]["id"]

    def count_waiting(self, project: int, model_version: str) -> tuple[int, int]:
        """How many tasks nobody has annotated, and how many of these lack a prediction of *model_version*."""
        waiting = self._count(project, _waiting_filters([], after=0))
        if not model_version:
            return waiting, waiting
        if self._alike(project, model_version):
            return waiting, sum(len(page) for page in self.waiting_tasks(project, model_version))
        return waiting, self._count(project, _waiting_filters([model_version], after=0))

    @translated
    def _count(self, project: int, filters: list[dict[str, Any]]) -> int:
        """How many tasks pass; only one of them is sent along."""
        query = json.dumps({"filters": {"conjunction": "and", "items": filters}})
        page = self._client.tasks.list(project=project, query=query, resolve_uri=False, page=1, page_size=1)
        return int(page.response.total)

    def _alike(self, project: int, model_version: str) -> bool:
        """Whether predictions of another version would pass for such of *model_version* in Label Studio's filter.

        It finds parts of names: for it, whatever has "birds v12" has "birds v1".
        """
        return any(_contains(each, model_version) for each in self._model_versions(project) - {model_version})

    @translated
    def _model_versions(self, project: int) -> set[str]:
        """The versions of all predictions in the project; the SDK does not know this call."""
        url = f"{self._url}/api/projects/{project}/model-versions/"
        answer = self._http.get(url, headers=self._authorization()).raise_for_status()
        return {str(each) for each in answer.json()}

    def _waiting_page(self, project: int, without: list[str], *, after: int) -> list[dict[str, Any]]:
        filters = _waiting_filters(without, after=after)
        query = {"filters": {"conjunction": "and", "items": filters}, "ordering": ["tasks:id"]}
        return [
            {"id": task.id, "data": task.data or {}, "versions": task.predictions_model_versions or ""}
            for task in self._tasks(project, query, _PAGE)
        ]

    def _waiting_among(self, project: int, tasks: Sequence[int]) -> list[Any]:
        filters = {"conjunction": "and", "items": _waiting_filters([], after=0)}
        chosen = {"all": False, "included": list(tasks)}  # Label Studio takes an empty list for all
        return self._tasks(project, {"filters": filters, "selectedItems": chosen}, len(tasks)) if tasks else []

    @translated
    def _tasks(self, project: int, query: Mapping[str, object], count: int) -> list[Any]:
        """The first *count* tasks; the SDK has several types of them."""
        page = self._client.tasks.list(
            project=project, query=json.dumps(query), resolve_uri=False, page=1, page_size=count
        )
        return list(page.items or [])

    def lacking(self, project: int, model_version: str, tasks: Sequence[int]) -> set[int]:
        """Which of the *tasks* still wait, and lack a prediction of *model_version*: others may have stored some."""
        found = self._waiting_among(project, tasks)
        return {task.id for task in found if not _has(task.predictions_model_versions or "", model_version)}

    @translated
    def store_predictions(self, project: int, predictions: Sequence[Prediction]) -> None:
        """Store predictions in one call: all, or none where one is refused. Label Studio keeps doubles."""
        request = [
            {"task": each.task, "result": each.result, "score": each.score, "model_version": each.model_version}
            for each in predictions
        ]
        self._client.projects.import_predictions(project, request=request)

    def delete_doubles(self, project: int, model_version: str, tasks: Sequence[int]) -> int:
        """Leave the oldest of a task's predictions of one version. Returns how many went.

        Whoever stored last sees them all, so that one of those who stored at the same moment does away with the rest,
        and all agree on which stays.
        """
        found = self._waiting_among(project, tasks)
        suspects = [task.id for task in found if (task.total_predictions or 0) > _version_count(task)]
        return sum(self._delete_doubles(task, model_version) for task in suspects)

    @translated
    def _delete_doubles(self, task: int, model_version: str) -> int:
        same = (each for each in self._client.predictions.list(task=task) if each.model_version == model_version)
        doubles = sorted(each.id for each in same if each.id is not None)[1:]
        return sum(self._delete_prediction(each) for each in doubles)

    def _delete_prediction(self, number: int) -> bool:
        try:
            self._client.predictions.delete(number)
        except ApiError as error:
            if error.status_code != _GONE:  # somebody else was quicker
                raise
            return False
        return True

    @translated
    def ml_backend(self, project: int, url: str) -> MlBackend | None:
        """This backend as the project knows it: the one at *url*, None where there is none.

        Any other one is somebody else's, and must get neither our name nor our password.
        """
        return next((each for each in self.ml_backends(project) if url and same_place(each.url, url)), None)

    @translated
    def ml_backends(self, project: int) -> list[MlBackend]:
        """All ML backends of the project. Label Studio asks each for its health and version before it answers."""
        return [
            MlBackend(each.id, each.url, each.title or "", each.model_version or "")
            for each in self._client.ml.list(project=project)
        ]

    @translated
    def set_title(self, project: int, backend: MlBackend, title: str) -> None:
        """Rename the connected ML backend.

        Label Studio shows and orders by the scores of those predictions whose version equals the backend's title.
        """
        # Label Studio checks the backend again when anything of it changes, with what this very request tells it.
        user, password = self._basic_auth or (None, None)
        auth: dict[str, Any] = (
            {"auth_method": "BASIC_AUTH", "basic_auth_user": user, "basic_auth_pass": password} if user else {}
        )
        self._client.ml.update(backend.id, url=backend.url, project=project, title=title, **auth)

    @translated
    def secure_webhook(self, project: int, backend: MlBackend, authorization: str) -> bool:
        """Give the backend's webhook the header that it wants. Returns whether that was lacking.

        Label Studio makes an ML backend's webhook without headers, whatever user and password the backend has.
        """
        url = f"{backend.url.rstrip('/')}/webhook"
        changed = False
        for hook in self._client.webhooks.list(project=str(project)):
            headers = dict(hook.headers or {})
            if hook.url == url and headers.get("Authorization") != authorization:
                headers["Authorization"] = authorization
                self._client.webhooks.update(hook.id, url=url, headers=headers)
                changed = True
        return changed

    def fetch(self, path: str, *, task: int | None, limit: int) -> bytes:
        """An uploaded file by its path (``/data/...``), or any reference by Label Studio's own storages.

        Raises:
            ImageError: it is not there, or larger than *limit* bytes; an ImageAwayError where it may be had later.
        """
        url = f"{self._url}{path}" if path.startswith("/") else self._resolve_url(path, task)
        return self._downloads.get(url, limit=limit, headers=self._authorization())

    def _resolve_url(self, reference: str, task: int | None) -> str:
        """Label Studio reads cloud storages for those who have no credentials of their own."""
        if task is None:
            raise ImageError(f"wanted a task to resolve {reference[:200]} with, got none")
        encoded = base64.urlsafe_b64encode(reference.encode()).decode()
        return f"{self._url}/tasks/{task}/resolve/?fileuri={urllib.parse.quote(encoded)}"

    @translated
    def _authorization(self) -> dict[str, str]:
        headers = self._client._client_wrapper.get_headers()  # the SDK's only way to a fresh token
        return {name: value for name, value in headers.items() if name.lower() == "authorization"}


def _project(found: Any) -> Project:  # noqa: ANN401  # the SDK has several types of it
    return Project(
        id=found.id,
        label_config=found.label_config or "",
        annotations=found.total_annotations_number or 0,
        tasks=found.task_number or 0,
        title=found.title or "",
        predictions=found.total_predictions_number or 0,
    )


def _waiting_filters(without: list[str], *, after: int) -> list[dict[str, Any]]:
    """The tasks that nobody has annotated and that have no prediction of the versions *without*."""
    return [
        {"filter": "filter:tasks:id", "operator": "greater", "type": "Number", "value": after},
        {"filter": "filter:tasks:total_annotations", "operator": "equal", "type": "Number", "value": 0},
        {
            "filter": "filter:tasks:predictions_model_versions",
            "operator": "not_contains",
            "type": "List",
            "value": without,
        },
    ]


def _version_count(task: Any) -> int:  # noqa: ANN401  # the SDK has several types of it
    """How many versions a task has predictions of."""
    return len(_names(task.predictions_model_versions or "") - {""})


def same_place(first: str, second: str) -> bool:
    """Whether two addresses lead to the same server and path; a user and password in them make no difference."""
    try:
        one, two = httpx.URL(first), httpx.URL(second)
    except httpx.InvalidURL:  # somebody else's ML backend may have any address
        return first == second
    return (one.host, one.port, one.path.rstrip("/")) == (two.host, two.port, two.path.rstrip("/"))


def _contains(version: str, part: str) -> bool:
    """As Label Studio's filter has it: its SQLite does not heed the case."""
    return part.casefold() in version.casefold()


def _has(versions: str, model_version: str) -> bool:
    """Whether a task's list of versions has exactly this one.

    A list that was cut off may go on with it: such a task is not predicted twice, but when somebody opens it.
    """
    return len(versions) >= _VERSIONS_CUT or _names(model_version) <= _names(versions)


def _names(versions: str) -> set[str]:
    """The names in a comma separated list; PostgreSQL's has spaces after the commas."""
    return {each.strip() for each in versions.split(",")}


def basic_authorization(user: str, password: str) -> str:
    """The header that carries a user and a password (RFC 7617)."""
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()
