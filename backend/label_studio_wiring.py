"""Adapter: how Label Studio's projects are wired to storages, webhooks and ML backends; to look at and to take away."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from backend.errors import LabelStudioError
from backend.label_studio import LabelStudio, translated

_ANSWERED = re.compile(r"\d{3} (Client|Server) Error|authentication parameters|look like a valid ML backend")
_SHORTER = re.compile(r".*Additional info: ?|\w*ConnectionPool\([^)]*\): |\(Caused by.*", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Hook:
    """A project's webhook; *actions* are those that it is restricted to, None for all."""

    id: int
    url: str
    headers: Mapping[str, str] = field(repr=False)
    active: bool
    with_payload: bool
    actions: frozenset[str] | None = None


@dataclass(frozen=True, slots=True)
class Connection:
    """An ML backend of a project, as Label Studio found it when it last asked; *problem* is what it was told then."""

    id: int
    url: str
    names: frozenset[str]
    connected: bool
    problem: str
    timeout_s: float


@dataclass(frozen=True, slots=True)
class Place:
    """A storage of a project; *region* is '' where Label Studio was told of none, or of an address instead."""

    bucket: str
    prefix: str
    status: str
    problem: str = ""
    region: str = ""


class StudioWiring(LabelStudio):
    """Reads and deletes; it makes nothing."""

    @translated
    def hooks(self, project: int) -> list[Hook]:
        """The project's webhooks."""
        return [
            Hook(
                id=_id(each.id),
                url=each.url,
                headers={str(name): str(value) for name, value in (each.headers or {}).items()},
                active=each.is_active is not False,
                with_payload=each.send_payload is not False,
                actions=frozenset(map(str, each.actions or ())) if each.send_for_all_actions is False else None,
            )
            for each in self._client.webhooks.list(project=str(project))
        ]

    @translated
    def connections(self, project: int) -> list[Connection]:
        """The project's ML backends. Label Studio asks each for its health before it answers."""
        return [
            Connection(
                id=_id(each.id),
                url=each.url or "",
                names=frozenset(name for name in (each.title, each.model_version) if name),
                connected=str(each.state or "") == "CO",
                problem=(each.error_message or "").strip(),
                timeout_s=float(each.timeout or 0),
            )
            for each in self._client.ml.list(project=project)
        ]

    @translated
    def sources(self, project: int) -> list[Place]:
        """Where the project's tasks come from, in S3."""
        return [_place(each) for each in self._client.import_storage.s3.list(project=project)]

    @translated
    def targets(self, project: int) -> list[Place]:
        """Where the project's annotations are copied to, in S3."""
        return [_place(each) for each in self._client.export_storage.s3.list(project=project)]

    def unreachable(self, project: int, url: str) -> str:
        """Why Label Studio does not reach an address that is no ML backend; '' where it does.

        It can be asked only by an ML backend that is to be made there, which it refuses with what it was answered.

        Raises:
            LabelStudioError: it took the address for an ML backend, and does not let go of it.
        """
        try:
            made = self._made_backend(project, url)
        except LabelStudioError as error:
            told = str(error)
            return "" if _ANSWERED.search(told) else _SHORTER.sub("", told)
        self._delete_backend(made)
        return ""

    @translated
    def _made_backend(self, project: int, url: str) -> int:
        return _id(self._client.ml.create(project=project, url=url, title="Is it reached?").id)

    @translated
    def _delete_backend(self, number: int) -> None:
        self._client.ml.delete(number)

    @translated
    def delete_hook(self, hook: Hook) -> None:
        """Label Studio sends nothing there any more."""
        self._client.webhooks.delete(hook.id)

    def delete_connection(self, connection: Connection) -> None:
        """Label Studio asks the ML backend for nothing any more; predictions that are stored stay."""
        self._delete_backend(connection.id)


def _place(found: Any) -> Place:  # noqa: ANN401  # the SDK has a class for each kind
    problem = (found.traceback or "").strip().splitlines()[-1:]
    return Place(
        bucket=found.bucket or "",
        prefix=(found.prefix or "").rstrip("/"),
        status=str(found.status or ""),
        problem="".join(problem),
        region="" if found.s3endpoint else found.region_name or "",
    )


def _id(value: int | None) -> int:
    if value is None:
        raise LabelStudioError("Label Studio tells of something without its id")
    return value
