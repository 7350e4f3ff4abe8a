"""Makes what a project needs in S3 and in Label Studio, step by step; each step is safe to run again.

A step mends what differs from what is wanted and keeps what people change on purpose: the labeling interface, titles,
the storages' filters, and whatever else is in the bucket and in the project.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

from backend.config import Settings
from backend.console import Console
from backend.errors import AwayError, BackendError, ImageError, LabelConfigError, LabelStudioAwayError, LabelStudioError
from backend.label_studio import Project, basic_authorization
from backend.label_studio_setup import Change, Storage, Sync
from backend.local_images import LocalImage, find_images
from backend.regions import parse_label_config

T = TypeVar("T")
_NAMED = 10  # files that are left out are named up to this many
_LOOK_S = 2.0  # between looks at a sync that goes on
_TRIES = 3  # of a sync, without a new task


class Cloud(Protocol):
    """What the steps need of AWS."""

    def has_bucket(self) -> bool: ...
    def create_bucket(self) -> None: ...
    def has_objects(self, prefix: str) -> bool: ...
    def object_sizes(self, prefix: str) -> dict[str, int]: ...
    def put_object(self, key: str, body: bytes, *, content_type: str | None = None) -> None: ...


class Studio(Protocol):
    """What the steps need of Label Studio."""

    def whoami(self) -> str: ...
    def project(self, project: int) -> Project: ...
    def find_project(self, title: str) -> Project | None: ...
    def create_project(self, title: str, label_config: str) -> Project: ...
    def ensure_source(self, project: int, storage: Storage, *, presign: bool) -> tuple[int, Change]: ...
    def ensure_target(self, project: int, storage: Storage) -> tuple[int, Change]: ...
    def start_sync(self, storage: int) -> None: ...
    def sync_state(self, project: int, storage: int) -> Sync: ...
    def ensure_webhook(self, project: int, url: str, headers: Mapping[str, str]) -> Change: ...
    def ensure_backend(self, project: int, url: str, *, title: str, basic_auth: tuple[str, str] | None) -> Change: ...
    def show_predictions(self, project: int, url: str) -> None: ...


@dataclass(frozen=True, slots=True)
class Setup:
    """The steps. *patience* is how many seconds a service that does not answer is waited for."""

    settings: Settings
    cloud: Cloud
    studio: Studio
    console: Console
    patience: float = 60.0

    def bucket(self, *, create: bool) -> None:
        """The bucket is there, if need be made.

        Raises:
            BackendError: it is not there and not to be made, or somebody else's.
        """
        name = self.settings.s3_bucket
        there = self._patiently(self.cloud.has_bucket)
        if not there and not create:
            raise BackendError(
                f"there is no bucket {name}: make it (--create-bucket does), or name another in S3_BUCKET"
            )
        if not there:
            self.cloud.create_bucket()
        self.console.item("bucket", f"{name}: {'found' if there else 'made'}")

    def images(self, folder: Path, prefix: str) -> None:
        """The images in *folder* lie in the bucket below *prefix*; those that lie there with this size are kept."""
        images, others = find_images(folder)
        present = self._patiently(lambda: self.cloud.object_sizes(prefix))
        missing = [image for image in images if present.get(prefix + image.name) != image.size]
        broken = self._upload(missing, prefix)
        self._leave_out([*others, *broken])
        kept, new = len(images) - len(broken), len(missing) - len(broken)
        self.console.item("images", f"{kept} in s3://{self.settings.s3_bucket}/{prefix} ({new} new)")

    def _upload(self, images: Sequence[LocalImage], prefix: str) -> list[str]:
        """Upload; what cannot be read, with the reason."""
        broken = []
        for number, image in enumerate(images):
            self.console.progress(f"images: {number} of {len(images)} uploaded")
            try:
                body = image.read()
            except ImageError as error:
                broken.append(f"{image.name} ({error})")
                continue
            self.cloud.put_object(prefix + image.name, body, content_type=image.content_type)
        return broken

    def _leave_out(self, names: Sequence[str]) -> None:
        for name in names[:_NAMED]:
            self.console.item("images", f"left out, not an image: {name.encode(errors='replace').decode()}")
        if len(names) > _NAMED:
            self.console.item("images", f"left out, not an image: {len(names) - _NAMED} more")

    def project(self, title: str, label_config: str) -> Project:
        """The project with this title, made with *label_config* if there is none.

        Raises:
            LabelConfigError: its labeling interface cannot be trained on.
        """
        self._patiently(self.studio.whoami)
        # Looked for at each try: one that Label Studio made and had no time to tell of is not made twice.
        project, made = self._patiently(lambda: self._find_or_create(title, label_config))
        if made:
            self.console.item("project", f"{title}: made, number {project.id}")
            return project
        try:
            labels = parse_label_config(project.label_config).labels
        except LabelConfigError as error:
            raise LabelConfigError(f"project {project.id} {title!r}: {error}; or choose another title") from error
        self.console.item("project", f"{title}: found, number {project.id}, labels {', '.join(labels)}")
        return project

    def _find_or_create(self, title: str, label_config: str) -> tuple[Project, bool]:
        """The project with this title, and whether it is new."""
        found = self.studio.find_project(title)
        return (found, False) if found else (self.studio.create_project(title, label_config), True)

    def source(self, project: Project, storage: Storage, *, presign: bool) -> int:
        """The project has a task for each image in *storage*. Returns the number of its tasks."""
        if not self.cloud.has_objects(storage.prefix):
            # Label Studio takes no source that has nothing in it. This is what S3's own console makes as a folder.
            self.cloud.put_object(storage.prefix, b"")
        with _storage_trouble(storage):
            number, change = self._told(
                "source storage", lambda: self.studio.ensure_source(project.id, storage, presign=presign)
            )
            before, after = self._sync(project.id, number)
        self.console.item("source storage", f"{storage.uri}: {change}, {after} tasks ({after - before} new)")
        return after

    def _sync(self, project: int, storage: int) -> tuple[int, int]:
        """Make tasks of all objects; the number of the project's tasks before and after.

        Label Studio's SQLite often breaks a long sync off ("database is locked"), but what was made stays, and the next
        sync goes on from there. So it is asked again for as long as that brings anything.
        """
        before = tasks = self._count_tasks(project)
        fruitless = 0
        while (state := self._sync_once(project, storage)).failed:
            made, tasks = tasks, self._count_tasks(project)
            fruitless = fruitless + 1 if tasks == made else 0
            if fruitless == _TRIES:
                raise LabelStudioError(f"not all images became tasks: {state.problem or 'no reason given'}")
        if state.problem:
            self.console.item("source storage", f"not all images became tasks: {state.problem}")
        return before, self._count_tasks(project)

    def _sync_once(self, project: int, storage: int) -> Sync:
        self.console.during(lambda: self._so_far(project), lambda: self._start_sync(project, storage))
        while (state := self._patiently(lambda: self.studio.sync_state(project, storage))).running:
            self.console.progress(lambda: self._so_far(project))
            self.console.sleep(_LOOK_S)
        return state

    def _start_sync(self, project: int, storage: int) -> None:
        try:
            self.studio.start_sync(storage)
        except AwayError:
            # A proxy in front of Label Studio has no more patience; Label Studio goes on all the same.
            if not self.studio.sync_state(project, storage).running:
                raise

    def _so_far(self, project: int) -> str:
        try:
            return f"source storage: {self.studio.project(project).tasks} tasks so far"
        except LabelStudioError:  # too busy to say
            return "source storage: Label Studio makes tasks"

    def _count_tasks(self, project: int) -> int:
        return self._patiently(lambda: self.studio.project(project)).tasks

    def target(self, project: Project, storage: Storage) -> None:
        """Each annotation of the project is copied to *storage*."""
        with _storage_trouble(storage):
            _, change = self._told("target storage", lambda: self.studio.ensure_target(project.id, storage))
        self.console.item("target storage", f"{storage.uri}: {change}")

    def existing_project(self, title: str) -> Project:
        """The project with this title.

        Raises:
            BackendError: there is none.
        """
        self._patiently(self.studio.whoami)
        project = self.studio.find_project(title)
        if project is None:
            raise BackendError(f"Label Studio has no project {title!r} that this token sees: `setup` makes one")
        return project

    def webhook(self, project: Project, url: str) -> None:
        """Label Studio tells the ML backend at *url*, with its password, what happens in the project."""
        change = self._patiently(lambda: self.studio.ensure_webhook(project.id, *self._hook(url)))
        self.console.item("webhook", f"{url}/webhook: {change}")

    def connection(self, project: Project, url: str, *, hears: bool = True) -> None:
        """Label Studio asks the ML backend at *url*, which has its webhook if it *hears* the events, for predictions.

        The webhook comes first: Label Studio makes one itself where there is none, but without the password.
        """
        auth = self.settings.basic_auth
        change = self._patiently(
            lambda: self.studio.ensure_backend(project.id, url, title=self.settings.model_name, basic_auth=auth)
        )
        if hears:  # an ML backend that was there may have had its own
            self.studio.ensure_webhook(project.id, *self._hook(url))
        self.console.item("ML backend", f"{url}: {change}")

    def shown(self, project: Project, url: str) -> None:
        """Label Studio shows what the ML backend at *url* predicts: it forgets that when another one goes."""
        self._patiently(lambda: self.studio.show_predictions(project.id, url))

    def _hook(self, url: str) -> tuple[str, dict[str, str]]:
        """Where events go, and the headers that they need there."""
        auth = self.settings.basic_auth
        return f"{url}/webhook", {"Authorization": basic_authorization(*auth)} if auth else {}

    def _told(self, name: str, call: Callable[[], T]) -> T:
        return self._patiently(lambda: self.console.during(lambda: f"{name}: Label Studio is at it", call))

    def _patiently(self, call: Callable[[], T]) -> T:
        return self.console.patiently(call, seconds=self.patience)


@contextmanager
def _storage_trouble(storage: Storage) -> Iterator[None]:
    try:
        yield
    except LabelStudioAwayError:
        raise
    except LabelStudioError as error:
        where = f" at {storage.endpoint}" if storage.endpoint else ""
        reason = "the reason is in its log" if "Debugging info is not available" in str(error) else str(error)
        raise LabelStudioError(
            f"Label Studio cannot use {storage.uri}{where}: {reason}\n"
            "Wanted: the address by which Label Studio reaches S3 (--storage-endpoint), and credentials of its own or "
            "an access key (--storage-keys) that may list, read and write there"
        ) from error
