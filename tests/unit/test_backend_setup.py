"""What a set-up makes, mends and leaves alone, step by step."""

import io
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from backend.aws import AccessKeys
from backend.console import Console
from backend.errors import AwsAwayError, BackendError, LabelConfigError, LabelStudioAwayError, LabelStudioError
from backend.inputs import labeling_interface
from backend.label_studio import Project, basic_authorization
from backend.label_studio_setup import Change, Storage, Sync
from backend.setup import Setup
from tests import fakes
from tests.fakes import BIRDS

IMAGES = Storage(bucket="birds", prefix="images/", region="us-east-1")


@dataclass
class Cloud:
    """A bucket in memory; it does not answer the first *away* times."""

    there: bool = True
    away: int = 0
    objects: dict[str, bytes] = field(default_factory=dict)
    types: dict[str, str | None] = field(default_factory=dict)

    def has_bucket(self) -> bool:
        if self.away:
            self.away -= 1
            raise AwsAwayError("AWS cannot be reached")
        return self.there

    def create_bucket(self) -> None:
        self.there = True

    def has_objects(self, prefix: str) -> bool:
        return bool(self.object_sizes(prefix))

    def object_sizes(self, prefix: str) -> dict[str, int]:
        return {key: len(body) for key, body in self.objects.items() if key.startswith(prefix)}

    def put_object(self, key: str, body: bytes, *, content_type: str | None = None) -> None:
        self.objects[key] = body
        self.types[key] = content_type


@dataclass
class Studio:
    """A Label Studio that remembers what it was told, in order."""

    projects: list[Project] = field(default_factory=list)
    syncs: list[Sync] = field(default_factory=lambda: [Sync("completed")])
    made: list[int] = field(default_factory=list)
    sync_error: LabelStudioError | None = None
    storage_error: LabelStudioError | None = None
    away: int = 0
    calls: list[tuple[object, ...]] = field(default_factory=list)

    def whoami(self) -> str:
        return "person@example.com"

    def project(self, project: int) -> Project:
        return next(each for each in self.projects if each.id == project)

    def find_project(self, title: str) -> Project | None:
        return next((each for each in self.projects if each.title == title), None)

    def create_project(self, title: str, label_config: str) -> Project:
        self.projects.append(Project(id=7, label_config=label_config, annotations=0, tasks=0, title=title))
        return self.projects[-1]

    def ensure_source(self, project: int, storage: Storage, *, presign: bool) -> tuple[int, Change]:
        if self.storage_error:
            raise self.storage_error
        self.calls.append(("source", project, storage.uri, presign))
        return 11, "made"

    def ensure_target(self, project: int, storage: Storage) -> tuple[int, Change]:
        self.calls.append(("target", project, storage.uri))
        return 12, "made"

    def start_sync(self, storage: int) -> None:
        self.calls.append(("sync", storage))
        new = self.made.pop(0) if self.made else 0
        self.projects = [replace(each, tasks=each.tasks + new) for each in self.projects]
        if self.sync_error:
            raise self.sync_error

    def sync_state(self, project: int, storage: int) -> Sync:
        return self.syncs.pop(0) if len(self.syncs) > 1 else self.syncs[0]

    def ensure_webhook(self, project: int, url: str, headers: Mapping[str, str]) -> Change:
        self.calls.append(("webhook", url, dict(headers)))
        return "made"

    def ensure_backend(self, project: int, url: str, *, title: str, basic_auth: tuple[str, str] | None) -> Change:
        if self.away:
            self.away -= 1
            raise LabelStudioAwayError("the ML backend does not answer Label Studio")
        self.calls.append(("backend", url, title, basic_auth))
        return "made"

    def show_predictions(self, project: int, url: str) -> None:
        self.calls.append(("shown", project, url))


@dataclass
class Bench:
    """A set-up whose waits take no time, and what it told."""

    folder: Path
    cloud: Cloud = field(default_factory=Cloud)
    studio: Studio = field(default_factory=Studio)
    told: io.StringIO = field(default_factory=io.StringIO)
    auth: bool = True
    now: float = 0.0

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    @property
    def setup(self) -> Setup:
        secret = {"basic_auth_user": "ls", "basic_auth_pass": "very secret"} if self.auth else {}
        console = Console(self.told, clock=lambda: self.now, sleep=self.sleep)
        settings = fakes.settings(self.folder, **secret)
        return Setup(settings, cloud=self.cloud, studio=self.studio, console=console)

    def project(self) -> Project:
        return self.setup.project("Birds", labeling_interface(["Beak"]))


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def test_a_bucket_is_made_only_if_that_was_asked_for(bench: Bench):
    bench.cloud.there = False

    with pytest.raises(BackendError, match=r"no bucket birds: make it \(--create-bucket does\)"):
        bench.setup.bucket(create=False)
    assert not bench.cloud.there

    bench.setup.bucket(create=True)
    bench.setup.bucket(create=True)
    assert [line.split()[-1] for line in bench.told.getvalue().splitlines()] == ["made", "found"]


def test_a_service_that_does_not_answer_yet_is_waited_for_with_a_line_that_says_so(bench: Bench):
    bench.cloud.away = 20

    bench.setup.bucket(create=False)

    assert "waiting for up to 60 s: AWS cannot be reached" in bench.told.getvalue()


def test_a_service_that_never_answers_is_given_up(bench: Bench):
    bench.cloud.away = 1000

    with pytest.raises(AwsAwayError):
        bench.setup.bucket(create=False)
    assert bench.now == pytest.approx(60, abs=2)


def test_images_are_uploaded_once_with_their_media_type(bench: Bench, tmp_path: Path):
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "é #1.JPG").write_bytes(fakes.photo())
    (tmp_path / "b.jpg").write_bytes(fakes.photo(32, 32))

    bench.setup.images(tmp_path, "images/")
    bench.setup.images(tmp_path, "images/")
    (tmp_path / "b.jpg").write_bytes(fakes.photo(99, 99))
    bench.setup.images(tmp_path, "images/")

    assert bench.cloud.types == {"images/sub/é #1.JPG": "image/jpeg", "images/b.jpg": "image/jpeg"}
    assert bench.cloud.objects["images/b.jpg"] == fakes.photo(99, 99)
    assert [line[line.index("2 in") :] for line in bench.told.getvalue().splitlines()] == [
        "2 in s3://birds/images/ (2 new)",
        "2 in s3://birds/images/ (0 new)",
        "2 in s3://birds/images/ (1 new)",
    ]


def test_what_is_no_image_is_named_and_left_out(bench: Bench, tmp_path: Path):
    (tmp_path / "a.jpg").write_bytes(fakes.photo())
    (tmp_path / "broken.png").write_bytes(b"not really")
    (tmp_path / ".hidden.jpg").write_bytes(fakes.photo())
    for number in range(12):
        (tmp_path / f"notes-{number:02}.txt").touch()

    bench.setup.images(tmp_path, "images/")

    assert list(bench.cloud.objects) == ["images/a.jpg"]
    told = bench.told.getvalue()
    assert "notes-00.txt" in told
    assert "left out, not an image: 3 more" in told
    assert "1 in s3://birds/images/ (1 new)" in told


def test_an_upload_that_takes_long_tells_how_far_it_is(bench: Bench, tmp_path: Path):
    for number in range(5):
        (tmp_path / f"{number}.jpg").write_bytes(fakes.photo())
    slow = bench.cloud.put_object

    def put_object(key: str, body: bytes, *, content_type: str | None = None) -> None:
        bench.now += 1.5
        slow(key, body, content_type=content_type)

    bench.cloud.put_object = put_object  # type: ignore[method-assign]
    bench.setup.images(tmp_path, "images/")

    assert "images: 2 of 5 uploaded" in bench.told.getvalue()


@pytest.mark.parametrize(
    ("name", "words"),
    [
        pytest.param("nowhere", "is not there", id="missing"),
        pytest.param("empty", r"found none", id="empty"),
        pytest.param("file.jpg", "is no folder", id="a file"),
    ],
)
def test_a_folder_without_images_is_an_error(bench: Bench, tmp_path: Path, name: str, words: str):
    (tmp_path / "empty").mkdir()
    (tmp_path / "file.jpg").touch()

    with pytest.raises(BackendError, match=words):
        bench.setup.images(tmp_path / name, "images/")


def test_a_project_is_made_once_and_found_by_its_title(bench: Bench):
    assert bench.project().id == bench.project().id == 7
    assert len(bench.studio.projects) == 1


def test_a_project_that_is_there_keeps_its_labeling_interface(bench: Bench):
    bench.studio.projects = [Project(id=3, label_config=BIRDS, annotations=5, tasks=9, title="Birds")]

    assert bench.project().label_config == BIRDS
    assert "labels Beak, Head, Wing, Body" in bench.told.getvalue()


def test_a_project_whose_interface_cannot_be_trained_on_is_refused(bench: Bench):
    bench.studio.projects = [Project(id=3, label_config="<View></View>", annotations=0, tasks=0, title="Birds")]

    with pytest.raises(LabelConfigError, match=r"project 3 'Birds': wanted exactly one <PolygonLabels>"):
        bench.project()


def test_a_source_with_nothing_in_it_gets_a_folder_without_which_label_studio_refuses_it(bench: Bench):
    project = bench.project()

    bench.setup.source(project, IMAGES, presign=False)
    bench.cloud.objects["images/a.jpg"] = b"photo"
    bench.setup.source(project, IMAGES, presign=True)

    assert sorted(bench.cloud.objects) == ["images/", "images/a.jpg"]
    assert [call for call in bench.studio.calls if call[0] == "source"] == [
        ("source", 7, "s3://birds/images/", False),
        ("source", 7, "s3://birds/images/", True),
    ]


def test_a_sync_is_waited_for_and_the_new_tasks_are_told(bench: Bench):
    project = replace(bench.project(), tasks=100)
    bench.studio.projects = [project]
    bench.studio.made = [240]
    bench.studio.syncs = [Sync("queued"), *[Sync("in_progress")] * 5, Sync("completed")]

    assert bench.setup.source(project, IMAGES, presign=False) == 340

    told = bench.told.getvalue()
    assert "340 tasks so far" in told
    assert "340 tasks (240 new)" in told


def test_a_sync_that_breaks_off_is_asked_again_for_as_long_as_that_brings_tasks(bench: Bench):
    bench.studio.made = [100, 0, 50, 0, 0, 7]
    bench.studio.syncs = [*[Sync("failed", "database is locked")] * 5, Sync("completed")]

    assert bench.setup.source(bench.project(), IMAGES, presign=False) == 157


def test_a_sync_that_brings_nothing_more_tells_why(bench: Bench):
    bench.studio.made = [2]
    bench.studio.syncs = [Sync("failed", "AccessDenied")]

    with pytest.raises(LabelStudioError, match="not all images became tasks: AccessDenied"):
        bench.setup.source(bench.project(), IMAGES, presign=False)
    assert [call[0] for call in bench.studio.calls].count("sync") == 4


def test_images_that_label_studio_does_not_take_are_told(bench: Bench):
    bench.studio.syncs = [Sync("completed_with_errors", "a.jpg: too long")]

    bench.setup.source(bench.project(), IMAGES, presign=False)

    assert "not all images became tasks: a.jpg: too long" in bench.told.getvalue()


def test_a_sync_goes_on_when_a_proxy_has_no_patience_with_it(bench: Bench):
    bench.studio.sync_error = LabelStudioAwayError("Label Studio answered 504")
    bench.studio.made = [30]
    bench.studio.syncs = [Sync("in_progress"), Sync("in_progress"), Sync("completed")]

    bench.setup.source(bench.project(), IMAGES, presign=False)

    assert "(30 new)" in bench.told.getvalue()


def test_a_sync_that_never_began_is_an_error(bench: Bench):
    bench.studio.sync_error = LabelStudioAwayError("Label Studio answered 502")

    with pytest.raises(LabelStudioAwayError, match="502"):
        bench.setup.source(bench.project(), IMAGES, presign=False)


def test_a_storage_that_label_studio_cannot_use_comes_with_what_to_do(bench: Bench):
    bench.studio.storage_error = LabelStudioError("Cannot connect to S3 birds with specified AWS credentials")
    keys = AccessKeys("AKIA", "very secret")

    with pytest.raises(LabelStudioError, match=r"at http://s3:8333: Cannot connect(.|\n)*--storage-endpoint") as caught:
        bench.setup.source(bench.project(), replace(IMAGES, endpoint="http://s3:8333", keys=keys), presign=False)
    assert "very secret" not in f"{caught.value}{keys}{IMAGES}"


def test_the_webhook_comes_before_the_connection_and_has_the_password(bench: Bench):
    bench.setup.webhook(bench.project(), "http://backend.internal:9090")
    bench.setup.connection(bench.project(), "http://backend.internal:9090")

    hook = (
        "webhook",
        "http://backend.internal:9090/webhook",
        {"Authorization": basic_authorization("ls", "very secret")},
    )
    connection = ("backend", "http://backend.internal:9090", "birds", ("ls", "very secret"))
    assert bench.studio.calls == [hook, connection, hook]
    assert "secret" not in bench.told.getvalue()


def test_without_a_password_nothing_is_sent_in_its_place(tmp_path: Path):
    bench = Bench(tmp_path, auth=False)

    bench.setup.webhook(bench.project(), "http://localhost:9090")
    bench.setup.connection(bench.project(), "http://localhost:9090")

    assert ("webhook", "http://localhost:9090/webhook", {}) in bench.studio.calls
    assert ("backend", "http://localhost:9090", "birds", None) in bench.studio.calls


def test_a_backend_that_is_still_starting_is_waited_for(bench: Bench):
    bench.studio.away = 5

    bench.setup.connection(bench.project(), "http://localhost:9090")

    assert "waiting for up to 60 s: the ML backend does not answer Label Studio" in bench.told.getvalue()
    assert bench.studio.calls[-2][0] == "backend"


def test_what_is_to_be_connected_is_there(bench: Bench):
    made = bench.project()

    assert bench.setup.existing_project("Birds") == made
    with pytest.raises(BackendError, match="has no project 'Cars' that this token sees: `setup` makes one"):
        bench.setup.existing_project("Cars")


def test_a_project_that_was_made_though_no_answer_came_is_not_made_twice(bench: Bench):
    class Slow(Studio):
        def create_project(self, title: str, label_config: str) -> Project:
            made = super().create_project(title, label_config)
            raise LabelStudioAwayError(f"no answer about project {made.id}")

    bench.studio = Slow()

    assert bench.project().id == 7
    assert len(bench.studio.projects) == 1


def test_what_a_backend_predicts_can_be_chosen_to_be_shown(bench: Bench):
    bench.setup.shown(bench.project(), "http://backend.internal:9090")

    assert bench.studio.calls[-1] == ("shown", 7, "http://backend.internal:9090")
