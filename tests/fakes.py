"""Stand-ins for AWS, Label Studio and images, typed against the protocols that the service names them by."""

import io
import json
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from backend.aws import Answer, Endpoint, Execution, Failure, ModelPackage
from backend.config import Settings
from backend.dataset import Selection
from backend.errors import BackendError, ImageError
from backend.image_cache import PreparedImage
from backend.images import prepare_image
from backend.label_studio import MlBackend, Prediction, Project
from backend.predictor import Outcome
from backend.regions import LabelConfig
from backend.state import ProjectState
from backend.trainer import Decision, History, LabelledProject

RECORDED = Path(__file__).parent / "data" / "label_studio"
AWS_EVENTS = Path(__file__).parent / "data" / "aws"
LABELS = ("Beak", "Head", "Wing", "Body")
BIRDS = f"""<View><Image name="image" value="$image"/><PolygonLabels name="label" toName="image">
{"".join(f'<Label value="{label}"/>' for label in LABELS)}</PolygonLabels></View>"""
TRIANGLE = [[10, 10], [60, 10], [30, 70]]


def recorded(name: str) -> Any:
    """A body that Label Studio sent."""
    return json.loads((RECORDED / f"{name}.json").read_text(encoding="utf-8"))


def recorded_names(pattern: str) -> list[str]:
    """The names of the recorded bodies that match *pattern*."""
    return sorted(path.stem for path in RECORDED.glob(f"{pattern}.json"))


def aws_event(name: str) -> Any:
    """What a Lambda function is called with."""
    return json.loads((AWS_EVENTS / f"{name}.json").read_text(encoding="utf-8"))


def settings(folder: Path, **changes: Any) -> Settings:
    """Usable settings whose state lies in *folder*."""
    values: dict[str, Any] = {
        "label_studio_url": "http://labelstudio.example.com:8080",
        "label_studio_api_key": "a-secret-token",
        "s3_bucket": "birds",
        "s3_prefix": "ls",
        "sagemaker_role_arn": "arn:aws:iam::123456789012:role/training",
        "model_dir": folder,
        "model_name": "birds",
    }
    return Settings(**{**values, **changes})


def region(label: str = "Beak", points: object = None, **changes: object) -> dict[str, object]:
    """One polygon as an annotation carries it."""
    value = {"points": TRIANGLE if points is None else points, "closed": True, "polygonlabels": [label]}
    return {"type": "polygonlabels", "from_name": "label", "to_name": "image", "value": value, **changes}


def annotated_task(number: int, *, image: str | None = None, **annotation: object) -> dict[str, Any]:
    """A task with one annotation, as Label Studio exports it."""
    fields = {"id": 1000 + number, "result": [region()], "was_cancelled": False, **annotation}
    return {"id": number, "data": {"image": image or f"s3://birds/images/{number}.jpg"}, "annotations": [fields]}


def encoded(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    """An image's file."""
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def photo(width: int = 64, height: int = 48) -> bytes:
    """A JPEG with something in it."""
    pixels = np.add.outer(np.arange(height) * 3, np.arange(width) * 2).astype(np.uint8)
    return encoded(Image.fromarray(pixels).convert("RGB"), "JPEG")


@dataclass
class FakeCloud:
    """AWS in memory. It honours ``ClientRequestToken`` and raises *error*, while that is set, from every call."""

    objects: dict[tuple[str, str], bytes] = field(default_factory=dict)
    history: list[Execution] = field(default_factory=list)
    tokens: dict[str, str] = field(default_factory=dict)
    parameters: list[dict[str, str]] = field(default_factory=list)
    packages: list[ModelPackage] = field(default_factory=list)
    rejected: dict[str, str] = field(default_factory=dict)
    miou: float | None = None
    served: Endpoint | None = None
    deployed: list[tuple[int, bool]] = field(default_factory=list)
    answer: Callable[[bytes, str], bytes] = field(default=lambda _jpeg, _accept: b"")
    answering: int | None = 1
    error: BackendError | None = None
    bucket: str = "birds"
    refused: bool = False
    ended: datetime = field(default_factory=lambda: datetime.now(UTC))
    lock: threading.Lock = field(default_factory=threading.Lock)

    def _check(self) -> None:
        if self.error is not None:
            raise self.error

    def get_object(self, bucket: str, key: str, *, limit: int | None = None) -> bytes:
        self._check()
        body = self.objects[bucket, key]
        if limit is not None and len(body) > limit:
            raise ImageError(f"{key} is too large")
        return body

    def has_object(self, key: str) -> bool:
        self._check()
        return (self.bucket, key) in self.objects

    def put_object(self, key: str, body: bytes) -> None:
        self._check()
        self.objects[self.bucket, key] = body

    def get_json(self, uri: str) -> Mapping[str, object]:
        bucket, _, key = uri.removeprefix("s3://").partition("/")
        found: Mapping[str, object] = json.loads(self.get_object(bucket, key))
        return found

    def check_bucket(self) -> None:
        self._check()

    def pipeline_arn(self) -> str:
        self._check()
        return "arn:aws:sagemaker:us-east-1:123456789012:pipeline/label-studio-segmentation"

    def executions(self, project: int) -> list[Execution]:
        self._check()
        with self.lock:
            return [each for each in reversed(self.history) if f"/p{project}-" in each.arn]

    def execution_failure(self, execution: Execution) -> Failure:
        self._check()
        return Failure(self.ended, refused=self.refused)

    def ensure_package_group(self, project: int) -> str:
        self._check()
        return f"group-p{project}"

    def start_execution(
        self, *, project: int, annotations: int, attempt: int, token: str, parameters: Mapping[str, str]
    ) -> str:
        self._check()
        with self.lock:
            if token not in self.tokens:
                arn = f"arn:execution/p{project}-n{annotations}-{attempt}/{len(self.history)}"
                self.history.append(Execution(arn, "Executing", annotations, attempt, datetime.now(UTC)))
                self.parameters.append(dict(parameters))
                self.tokens[token] = arn
            return self.tokens[token]

    def finish(self, status: str = "Succeeded", *, ago: timedelta = timedelta(0)) -> None:
        """The newest execution comes to its end."""
        self.history[-1] = replace(self.history[-1], status=status)
        self.ended = datetime.now(UTC) - ago

    def newest_approved(self, project: int) -> ModelPackage | None:
        self._check()
        approved = [package for package in self.packages if package.arn not in self.rejected]
        return approved[-1] if approved else None

    def validation_miou(self, package: ModelPackage) -> float | None:
        return self.miou

    def reject_package(self, arn: str, reason: str) -> None:
        self.rejected[arn] = reason

    def endpoint(self, project: int) -> Endpoint | None:
        self._check()
        return self.served

    def deploy(self, project: int, package: ModelPackage, *, update: bool) -> None:
        self._check()
        self.deployed.append((package.version, update))
        self.served = Endpoint("Updating" if update else "Creating", self.served.version if self.served else None)

    def delete_endpoint(self, project: int) -> None:
        self.served = None

    def invoke(self, project: int, jpeg: bytes, accept: str) -> Answer:
        self._check()
        return Answer(self.answer(jpeg, accept), self.answering)


@dataclass
class FakeStudio:
    """Label Studio in memory, with one project. It raises *error*, while that is set, from every call."""

    label_config: str = BIRDS
    tasks: list[dict[str, Any]] = field(default_factory=list)
    count: int | None = None
    waiting: list[dict[str, Any]] = field(default_factory=list)
    stored: list[Prediction] = field(default_factory=list)
    backend: MlBackend | None = None
    headers: dict[str, str] = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)
    error: BackendError | None = None

    def _check(self) -> None:
        if self.error is not None:
            raise self.error

    def whoami(self) -> str:
        self._check()
        return "annotator@example.com"

    def project(self, project: int) -> Project:
        self._check()
        finished = [each for task in self.tasks for each in task["annotations"] if not each["was_cancelled"]]
        count = len(finished) if self.count is None else self.count
        return Project(project, self.label_config, count, len(self.tasks) + len(self.waiting))

    def annotated_tasks(self, project: int) -> list[dict[str, Any]]:
        self._check()
        return list(self.tasks)

    def waiting_tasks(self, project: int, model_version: str, *, after: int = 0) -> Iterator[list[dict[str, Any]]]:
        self._check()
        done = {each.task for each in self.stored if each.model_version == model_version}
        yield [task for task in self.waiting if task["id"] > after and task["id"] not in done]

    def lacking(self, project: int, model_version: str, tasks: Sequence[int]) -> set[int]:
        self._check()
        return set(tasks) - {each.task for each in self.stored if each.model_version == model_version}

    def store_predictions(self, project: int, predictions: Sequence[Prediction]) -> None:
        self._check()
        self.stored.extend(predictions)

    def delete_doubles(self, project: int, model_version: str, tasks: Sequence[int]) -> int:
        self._check()
        count, once = len(self.stored), {(each.task, each.model_version): each for each in reversed(self.stored)}
        self.stored = list(reversed(once.values()))
        return count - len(self.stored)

    def ml_backend(self, project: int, url: str) -> MlBackend | None:
        self._check()
        return self.backend

    def set_title(self, project: int, backend: MlBackend, title: str) -> None:
        self.backend = replace(backend, title=title)

    def secure_webhook(self, project: int, backend: MlBackend, authorization: str) -> bool:
        changed = self.headers.get("Authorization") != authorization
        self.headers["Authorization"] = authorization
        return changed

    def fetch(self, path: str, *, task: int | None, limit: int) -> bytes:
        self._check()
        if path not in self.files:
            raise ImageError(f"{path} is not there")
        return self.files[path]


@dataclass
class FakeImages:
    """Images by reference; those that it does not have are missing."""

    bodies: dict[str, bytes] = field(default_factory=dict)
    missing: set[str] = field(default_factory=set)

    def fetch(self, reference: str, *, task: int | None = None) -> bytes:
        if reference not in self.bodies:
            raise ImageError(f"{reference} is not there")
        return self.bodies[reference]

    def prepared(self, reference: str, *, project: int, side: int, task: int | None = None) -> PreparedImage:
        return prepare_image(self.fetch(reference), side=side)

    def keys(self, project: int, selection: Selection) -> dict[str, str]:
        images = {task.image for task in selection.tasks} - self.missing
        return {image: image.removeprefix("s3://birds/") for image in images}


@dataclass
class FakePredictor:
    """Predicts what it was told to, for every task."""

    outcome: Callable[[Mapping[str, Any], ProjectState], Outcome]
    asked: list[int] = field(default_factory=list)

    def predict(
        self, tasks: Sequence[Mapping[str, Any]], *, config: LabelConfig, state: ProjectState, deadline: float
    ) -> list[Outcome]:
        self.asked.extend(task["id"] for task in tasks)
        return [self.outcome(task, state) for task in tasks]

    def predict_later(
        self, task: Mapping[str, Any], *, config: LabelConfig, state: ProjectState, deadline: float
    ) -> Outcome:
        return self.predict([task], config=config, state=state, deadline=deadline)[0]


@dataclass
class FakeBackground:
    """Remembers what it was woken for."""

    woken: list[tuple[int, bool, bool]] = field(default_factory=list)

    def wake(self, project: int, *, forced: bool = False, tasks_changed: bool = False) -> None:
        self.woken.append((project, forced, tasks_changed))


@dataclass
class FakeTrainer:
    """Decides what it was told to, or raises it. *heard* is set whenever it is asked."""

    results: list[Decision | Exception]
    asked: list[tuple[int, bool]] = field(default_factory=list)
    heard: threading.Event = field(default_factory=threading.Event)

    def consider(
        self, project: int, *, forced: bool = False, told: LabelledProject | None = None
    ) -> tuple[Decision, History]:
        self.asked.append((project, forced))
        self.heard.set()
        result = self.results.pop(0) if len(self.results) > 1 else self.results[0]
        if isinstance(result, Exception):
            raise result
        return result, History()


@dataclass
class FakeDeployer:
    """Does for each project what *work* says."""

    work: Callable[[int], None] = field(default=lambda _project: None)
    asked: list[int] = field(default_factory=list)

    def reconcile(self, project: int) -> None:
        self.asked.append(project)
        self.work(project)
