"""Adapter: what a set-up makes and changes in Label Studio. The running service has label_studio.py alone."""

import functools
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, ParamSpec, TypeVar

import httpx
from label_studio_sdk.core.api_error import ApiError
from label_studio_sdk.core.request_options import RequestOptions

from backend.aws import AccessKeys
from backend.errors import LabelStudioAwayError, LabelStudioError
from backend.label_studio import LabelStudio, Project, api_detail, same_place, translated
from backend.local_images import REGEX

P = ParamSpec("P")
R = TypeVar("R")
Change = Literal["made", "updated", "found"]

# Label Studio tests a storage, and writes what was annotated before into a new target, before it answers.
_STORAGE_S = 600
# The SDK would send it again after an answer that it takes for a passing trouble, though Label Studio may have made the
# thing by then. Whoever calls looks for it before another try.
_ONCE: RequestOptions = {"max_retries": 0}
_SYNC_S = 3600
_WITH_REASON = {"failed", "completed_with_errors"}
_POOL = re.compile(r"\w*ConnectionPool\([^)]*\): ")  # how the errors of its HTTP library begin
_PRESIGN_MINUTES = 60  # Label Studio's own 1 is over before a person has drawn one polygon


@dataclass(frozen=True, slots=True, kw_only=True)
class Storage:
    """A place in S3, with the address and the access key by which Label Studio comes there.

    No *endpoint* is AWS's own. Without *keys* Label Studio uses those that it has, if any.
    """

    bucket: str
    prefix: str
    region: str
    endpoint: str = ""
    keys: AccessKeys | None = None

    @property
    def uri(self) -> str:
        """Such as ``s3://bucket/prefix/``."""
        return f"s3://{self.bucket}/{self.prefix}"

    def settings(self) -> dict[str, Any]:
        """What both kinds of storage are given, by the names of the SDK."""
        values = {"bucket": self.bucket, "s3endpoint": self.endpoint, "region_name": self.region}
        if self.keys is None:
            return values
        keys = {"aws_access_key_id": self.keys.id, "aws_secret_access_key": self.keys.secret}
        return {**values, **keys, "aws_session_token": ""}  # which a person may have put there


@dataclass(frozen=True, slots=True)
class Sync:
    """How far Label Studio is with making tasks of a storage's objects."""

    status: str
    problem: str = ""

    @property
    def running(self) -> bool:
        """Whether there is more to come."""
        return self.status in {"queued", "in_progress"}

    @property
    def failed(self) -> bool:
        """Whether it broke off."""
        return self.status == "failed"


def _advised(call: Callable[P, R]) -> Callable[P, R]:
    """Label Studio's refusals of an address come with what to do about them."""

    @functools.wraps(call)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return call(*args, **kwargs)
        except ApiError as error:
            detail = api_detail(error)
            if "health check failed" in detail:
                raise LabelStudioAwayError(_no_answer(detail)) from error
            for sign, advice in _ADVICE.items():
                if sign in detail:
                    raise LabelStudioError(f"Label Studio: {detail}; {advice}") from error
            raise

    return wrapper


def _no_answer(detail: str) -> str:
    told = _POOL.sub("", detail.partition("Additional info:")[2]).partition(" with url")[0].strip()
    return (
        f"the ML backend does not answer Label Studio ({told or 'no reason given'}); is it running, and does Label "
        "Studio reach it at the address of --backend-url?"
    )


_ADVICE = {
    "authentication parameters": "BASIC_AUTH_USER and BASIC_AUTH_PASS must be the same here as where the backend runs",
    "resolve hostname": "wanted the address by which Label Studio itself reaches the ML backend",
    "Enter a valid URL": "Label Studio sends events to localhost, an IP address or a host name with a dot only",
}


class StudioSetup(LabelStudio):
    """Makes what is not there and mends what differs; each method may be called again."""

    @translated
    def find_project(self, title: str) -> Project | None:
        """The project with exactly this title, the oldest if there are several."""
        return min((each for each in self.projects() if each.title == title), key=lambda each: each.id, default=None)

    @translated
    def create_project(self, title: str, label_config: str) -> Project:
        """A new project with this labeling interface."""
        made = self._client.projects.create(title=title, label_config=label_config, request_options=_ONCE)
        return self.project(_id(made.id, "project"))

    @translated
    def ensure_source(self, project: int, storage: Storage, *, presign: bool) -> tuple[int, Change]:
        """The id of the source storage whose objects, if they are images, become tasks."""
        wanted = {**storage.settings(), "presign": presign, "use_blob_urls": True}
        api = self._client.import_storage.s3
        found = next((each for each in api.list(project=project) if _is_at(each, storage)), None)
        if found is None:
            made = api.create(
                project=project,
                title=storage.uri,
                prefix=storage.prefix,
                regex_filter=REGEX,
                recursive_scan=True,
                presign_ttl=_PRESIGN_MINUTES,
                **wanted,
                request_options={"timeout_in_seconds": _STORAGE_S, **_ONCE},
            )
            return _id(made.id, "source storage"), "made"
        number = _id(found.id, "source storage")
        api.update(number, project=project, **wanted, request_options={"timeout_in_seconds": _STORAGE_S})
        return number, _change(found, wanted)

    @translated
    def ensure_target(self, project: int, storage: Storage) -> tuple[int, Change]:
        """The id of the target storage, which has a copy of each annotation."""
        wanted = {**storage.settings(), "can_delete_objects": True}
        api = self._client.export_storage.s3
        found = next((each for each in api.list(project=project) if _is_at(each, storage)), None)
        if found is None:
            made = api.create(
                project=project,
                title=storage.uri,
                prefix=storage.prefix.rstrip("/"),  # Label Studio puts a slash behind it, whatever it ends with
                **wanted,
                request_options={"timeout_in_seconds": _STORAGE_S, **_ONCE},
            )
            return _id(made.id, "target storage"), "made"
        number = _id(found.id, "target storage")
        api.update(number, project=project, **wanted, request_options={"timeout_in_seconds": _STORAGE_S})
        return number, _change(found, wanted)

    @translated
    def start_sync(self, storage: int) -> None:
        """Make tasks of the source storage's new objects. Without a queue Label Studio answers when all are made."""
        self._client.import_storage.s3.sync(storage, request_options={"timeout_in_seconds": _SYNC_S})

    @translated
    def sync_state(self, project: int, storage: int) -> Sync:
        """How far the newest sync of a source storage is; one that was cut off counts as failed."""
        for each in self._client.import_storage.s3.list(project=project):
            if each.id == storage:
                status = str(each.status or "")
                # What is written there by a sync stays there through all later ones that went well.
                told = (each.traceback or "").strip().splitlines()[-1:] if status in _WITH_REASON else []
                return Sync(status, "".join(told))
        raise LabelStudioError(f"the source storage {storage} of project {project} is not there any more")

    @translated
    @_advised
    def ensure_webhook(self, project: int, url: str, headers: Mapping[str, str]) -> Change:
        """Exactly one webhook to *url*, which sends everything, with *headers* among its own."""
        wanted: dict[str, Any] = {"url": url, "send_payload": True, "send_for_all_actions": True, "is_active": True}
        hooks = [each for each in self._client.webhooks.list(project=str(project)) if _same_address(each.url, url)]
        if not hooks:
            self._client.webhooks.create(project=project, headers=dict(headers), **wanted, request_options=_ONCE)
            return "made"
        first, *others = hooks
        for other in others:
            self._client.webhooks.delete(_id(other.id, "webhook"))
        wanted["headers"] = {**(first.headers or {}), **headers}
        change = _change(first, wanted)
        if change == "updated":
            self._client.webhooks.update(_id(first.id, "webhook"), **wanted)
        return "updated" if others else change

    @translated
    @_advised
    def ensure_backend(self, project: int, url: str, *, title: str, basic_auth: tuple[str, str] | None) -> Change:
        """The ML backend at *url*, which Label Studio calls at once; any other one of the project is left alone.

        Raises:
            LabelStudioAwayError: it does not answer Label Studio (yet).
            LabelStudioError: Label Studio does not take it.
        """
        wanted: dict[str, Any] = {"url": url, "auth_method": "NONE"}
        secret = {}
        if basic_auth is not None:
            wanted |= {"auth_method": "BASIC_AUTH", "basic_auth_user": basic_auth[0]}
            secret = {"basic_auth_pass": basic_auth[1]}
        found = next((each for each in self._client.ml.list(project=project) if same_place(each.url, url)), None)
        if found is None:
            self._client.ml.create(project=project, title=title, **wanted, **secret, request_options=_ONCE)
            return "made"
        # Its title is the version of the model that serves; the service sees to it.
        self._client.ml.update(_id(found.id, "ML backend"), project=project, **wanted, **secret)
        return _change(found, wanted)

    @translated
    def show_predictions(self, project: int, url: str) -> None:
        """The project shows and orders by the predictions of the ML backend at *url*, if it is there."""
        backend = self.ml_backend(project, url)
        if backend is not None:
            self._client.projects.update(project, model_version=backend.title)


def _is_at(storage: Any, wanted: Storage) -> bool:  # noqa: ANN401  # the SDK has a class for each kind
    place = (storage.bucket, (storage.prefix or "").rstrip("/"))
    return place == (wanted.bucket, wanted.prefix.rstrip("/"))


def _change(found: object, wanted: Mapping[str, Any]) -> Change:
    """Whether anything that Label Studio shows differs; it shows no secrets."""
    shown = {name: value for name, value in wanted.items() if not name.startswith("aws_")}
    return "found" if all((getattr(found, name) or "") == (value or "") for name, value in shown.items()) else "updated"


def _same_address(first: str, second: str) -> bool:
    """Whether two addresses are alike, but for a user and password in them."""
    return same_place(first, second) and httpx.URL(first).query == httpx.URL(second).query


def _id(value: int | None, what: str) -> int:
    if value is None:
        raise LabelStudioError(f"Label Studio tells of a {what} without its id")
    return value
