"""Label Studio as a person uses it: projects, storage, ML backend, annotations. The only user of its client here."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import httpx

# The package's own `LabelStudio` class wants pandas and more, which the image of `play` does not have.
from label_studio_sdk.base_client import LabelStudioBase

from demo.errors import DemoError

if TYPE_CHECKING:
    from collections.abc import Sequence

TIMEOUT_S = 120
PAGE_SIZE = 500
PROJECTS_PAGE = 100
SYNCS = 5


@dataclass(frozen=True, slots=True)
class Task:
    """A task as the demo needs it: its image's key in S3 and what there is for it."""

    id: int
    key: str
    annotations: int
    predictions: int


@dataclass(frozen=True, slots=True)
class Prediction:
    """A stored prediction."""

    task: int
    model_version: str
    score: float | None
    regions: list[dict[str, Any]] = field(repr=False)


class Labelling:
    """One Label Studio, with one person's token."""

    def __init__(self, url: str, token: str) -> None:
        self.url = url
        self._http = httpx.Client(timeout=TIMEOUT_S, trust_env=False, follow_redirects=True)
        self._client = LabelStudioBase(base_url=url, api_key=token, httpx_client=self._http)

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def project(self, title: str) -> int:
        """The id of the project with this title.

        Raises:
            DemoError: there is none.
        """
        page, known = 1, 0
        while True:
            answer = self._client.projects.list(title=title, page=page, page_size=PROJECTS_PAGE)
            found = list(answer.items or [])
            for project in found:
                if project.title == title:
                    return int(project.id)
            page, known = page + 1, known + len(found)
            if not found or known >= answer.response.count:
                message = f"There is no project {title!r} in Label Studio; `python -m backend setup` makes it."
                raise DemoError(message)

    def label_config(self, project: int) -> str:
        """The project's labeling interface."""
        return self._client.projects.get(project).label_config or ""

    def sync(self, project: int, prefix: str) -> None:
        """Make tasks of what is new below *prefix* in the bucket.

        Raises:
            DemoError: the project has no source storage of that prefix, or Label Studio breaks off again and again.
        """
        storage = self._source(project, prefix)
        for _ in range(SYNCS):
            # Label Studio's small database does not always bear two at once; what was made stays.
            self._client.import_storage.s3.sync(int(storage.id))
            while (storage := self._source(project, prefix)).status in {"queued", "in_progress"}:
                time.sleep(1)
            if storage.status != "failed":
                return
        message = f"Label Studio did not make tasks of all images below {prefix}: start again."
        raise DemoError(message)

    def _source(self, project: int, prefix: str) -> Any:  # noqa: ANN401  # the SDK's own class
        for storage in self._client.import_storage.s3.list(project=project):
            if (storage.prefix or "").strip("/") == prefix.strip("/"):
                return storage
        message = f"Project {project} has no source storage of {prefix}; `python -m backend setup` makes it."
        raise DemoError(message)

    def start_training(self, project: int) -> None:
        """Press *Start Training* of the project's ML backends."""
        for known in self._client.ml.list(project=project):
            if known.id is not None:
                self._client.ml.train(id=known.id)

    def tasks(self, project: int) -> list[Task]:
        """All tasks of the project, oldest first."""
        tasks: list[Task] = []
        while True:
            page = self._task_page(project, number=len(tasks) // PAGE_SIZE + 1)
            tasks += page
            if len(page) < PAGE_SIZE:
                return sorted(tasks, key=lambda task: task.id)

    def _task_page(self, project: int, *, number: int) -> list[Task]:
        """One page; the client's own iteration would ask for a page too many, which Label Studio logs as an error."""
        found: Sequence[Any] = (
            self._client.tasks.list(
                project=project, fields="task_only", page=number, page_size=PAGE_SIZE, resolve_uri=False
            ).items
            or []
        )
        return [
            Task(
                id=int(task.id),
                key=_key(str(task.data.get("image", ""))),
                annotations=int(task.total_annotations or 0),
                predictions=int(task.total_predictions or 0),
            )
            for task in found
        ]

    def submit(self, task: int, regions: list[dict[str, Any]], *, lead_time_s: float) -> None:
        """Submit an annotation, as the editor does when a person presses *Submit*."""
        self._client.annotations.create(id=task, result=regions, lead_time=lead_time_s, was_cancelled=False)

    def predictions(self, project: int) -> list[Prediction]:
        """All stored predictions of the project."""
        stored: list[Any] = list(self._client.predictions.list(project=project))
        return [
            Prediction(
                task=int(found.task),
                model_version=str(found.model_version or ""),
                score=found.score,
                regions=[dict(region) for region in found.result or []],
            )
            for found in stored
        ]

    def backend_title(self, project: int) -> str:
        """The title of the project's ML backend."""
        found: list[Any] = list(self._client.ml.list(project=project))
        return str(found[0].title or "") if found else ""

    def prediction_counts(self, project: int) -> dict[str, int]:
        """How many predictions the project has of each model version."""
        headers = self._client._client_wrapper.get_headers()  # the SDK does not know this call
        answer = self._http.get(f"{self.url}/api/projects/{project}/model-versions/", headers=headers)
        answer.raise_for_status()
        return {str(version): int(count) for version, count in answer.json().items()}

    def add_webhook(self, project: int, url: str, headers: dict[str, str] | None = None) -> None:
        """Send all events of the project to *url* as well, unless they are sent there already."""
        if not any(hook.url == url for hook in self._client.webhooks.list(project=str(project))):
            self._client.webhooks.create(
                project=project,
                url=url,
                send_payload=True,
                send_for_all_actions=True,
                is_active=True,
                headers=headers or {},
            )

    def remove_webhook(self, project: int, url: str) -> None:
        """Send no more events to *url*."""
        hooks: list[Any] = list(self._client.webhooks.list(project=str(project)))
        for hook in hooks:
            if hook.url == url:
                self._client.webhooks.delete(hook.id)


def _key(uri: str) -> str:
    """The key of `s3://bucket/key`; keys are raw, so nothing is unquoted."""
    return uri.removeprefix("s3://").partition("/")[2]
