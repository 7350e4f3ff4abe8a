"""Label Studio as a person uses it: projects, storage, ML backend, annotations. The only user of its client here."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from xml.sax.saxutils import quoteattr

import httpx
from label_studio_sdk.client import LabelStudio
from label_studio_sdk.core.api_error import ApiError

from demo.errors import DemoError
from demo.trouble import reason

if TYPE_CHECKING:
    from collections.abc import Sequence

TIMEOUT_S = 120
PAGE_SIZE = 500
COLOURS = ("#D4380D", "#FFC069", "#1677FF", "#389E0D", "#722ED1", "#13C2C2", "#EB2F96", "#AD8B00")


def label_config(labels: Sequence[str]) -> str:
    """The labelling interface *Semantic Segmentation with Polygons* with these labels."""
    entries = "".join(
        f'    <Label value={quoteattr(label)} background="{COLOURS[index % len(COLOURS)]}"/>\n'
        for index, label in enumerate(labels)
    )
    return (
        "<View>\n"
        '  <Header value="Select label and click the image to start"/>\n'
        '  <Image name="image" value="$image" zoom="true"/>\n'
        '  <PolygonLabels name="label" toName="image" strokeWidth="3" pointSize="small" opacity="0.4">\n'
        f"{entries}"
        "  </PolygonLabels>\n"
        "</View>"
    )


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


@dataclass(frozen=True, slots=True)
class Bucket:
    """Where a source storage finds its images, as Label Studio and the browser reach it."""

    name: str
    prefix: str
    endpoint: str
    region: str
    access_key_id: str
    secret_access_key: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class BackendAddress:
    """An ML backend with basic auth."""

    url: str
    user: str
    password: str = field(repr=False)


class Labelling:
    """One Label Studio, with one person's token."""

    def __init__(self, url: str, token: str) -> None:
        self.url = url
        self._http = httpx.Client(timeout=TIMEOUT_S, trust_env=False, follow_redirects=True)
        self._client = LabelStudio(base_url=url, api_key=token, httpx_client=self._http)
        self._headers = {"Authorization": f"Token {token}"}

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def ensure_project(self, title: str, config: str) -> int:
        """The id of the project with this title, made with *config* if there is none."""
        known: list[Any] = list(self._client.projects.list(title=title))
        for project in known:
            if project.title == title:
                return int(project.id)
        made = self._client.projects.create(title=title, label_config=config, description="Made by `make demo`.")
        return _required_id(made.id, "project")

    def ensure_source(self, project: int, bucket: Bucket) -> int:
        """Connect the bucket as source storage (presigned addresses), once, and return the storage's id."""
        for storage in self._client.import_storage.s3.list(project=project):
            if storage.bucket == bucket.name and storage.prefix == bucket.prefix and storage.id is not None:
                return int(storage.id)
        made = self._client.import_storage.s3.create(
            project=project,
            title=f"s3://{bucket.name}/{bucket.prefix}",
            bucket=bucket.name,
            prefix=bucket.prefix,
            regex_filter=r".*\.(jpe?g|png|webp|bmp|JPE?G|PNG|WEBP|BMP)$",
            use_blob_urls=True,
            presign=True,
            presign_ttl=24 * 60,
            recursive_scan=True,
            s3endpoint=bucket.endpoint,
            region_name=bucket.region,
            aws_access_key_id=bucket.access_key_id,
            aws_secret_access_key=bucket.secret_access_key,
        )
        return _required_id(made.id, "source storage")

    def sync(self, storage: int) -> None:
        """Make tasks of the bucket's new images."""
        self._client.import_storage.s3.sync(id=storage)

    def ensure_backend(self, project: int, address: BackendAddress) -> int:
        """Connect the ML backend, once, and return its id.

        Raises:
            DemoError: Label Studio refuses it; the message has Label Studio's reason.
        """
        for known in self._client.ml.list(project=project):
            if known.url and known.url.rstrip("/") == address.url and known.id is not None:
                return int(known.id)
        try:
            made = self._client.ml.create(
                project=project,
                url=address.url,
                title="SageMaker",
                auth_method="BASIC_AUTH",
                basic_auth_user=address.user,
                basic_auth_pass=address.password,
            )
        except ApiError as error:
            message = f"Label Studio does not accept the ML backend at {address.url}: {reason(error)}"
            raise DemoError(message) from error
        return _required_id(made.id, "ML backend")

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
        answer = self._http.get(f"{self.url}/api/projects/{project}/model-versions/", headers=self._headers)
        answer.raise_for_status()
        return {str(version): int(count) for version, count in answer.json().items()}

    def webhook_is_authorized(self, project: int, url: str) -> bool:
        """Whether the webhook to *url* carries an Authorization header."""
        hooks: list[Any] = list(self._client.webhooks.list(project=str(project)))
        return any(hook.url == url and "Authorization" in (hook.headers or {}) for hook in hooks)

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


def _required_id(value: int | None, what: str) -> int:
    if value is None:
        message = f"Label Studio made a {what} but did not say its id."
        raise DemoError(message)
    return int(value)


def _key(uri: str) -> str:
    """The key of `s3://bucket/key`; keys are raw, so nothing is unquoted."""
    return uri.removeprefix("s3://").partition("/")[2]
