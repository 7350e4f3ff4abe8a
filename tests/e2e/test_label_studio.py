"""The adapter against a real Label Studio, with both kinds of token."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import httpx
import pytest

from backend.aws import AccessKeys
from backend.errors import ImageError, LabelStudioError
from backend.inputs import labeling_interface
from backend.label_studio import LabelStudio, Prediction
from backend.label_studio_setup import Storage, StudioSetup
from demo.birds import LABELS, to_regions
from demo.pictures import bird_pictures, bird_scene, bird_seed, upload
from demo.services import BUCKET, REGION

if TYPE_CHECKING:
    from collections.abc import Iterator

    from demo.labelling import Labelling
    from demo.stack import Stack

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(400)]


@pytest.fixture(scope="module")
def api(stack: Stack) -> Iterator[httpx.Client]:
    """Label Studio's API as its administrator."""
    token = stack.plan.state.secrets.label_studio_token
    with httpx.Client(
        base_url=stack.plan.url("label_studio"), headers={"Authorization": f"Token {token}"}, timeout=60
    ) as client:
        yield client


@pytest.fixture(scope="module", params=["legacy token", "personal access token"])
def studio(request: pytest.FixtureRequest, stack: Stack, api: httpx.Client) -> Iterator[LabelStudio]:
    """The adapter with either kind of token."""
    url, token = stack.plan.url("label_studio"), stack.plan.state.secrets.label_studio_token
    if request.param == "personal access token":
        token = api.post("/api/token/").raise_for_status().json()["token"]
    adapter = LabelStudio(url, token)
    yield adapter
    adapter.close()


@pytest.fixture(scope="module")
def project(stack: Stack) -> int:
    """Six birds from S3; two annotated, one skipped, one annotated by two people."""
    upload(stack.s3(), BUCKET, bird_pictures("adapter/", range(300, 306)), on_progress=lambda _: None)
    secrets = stack.plan.state.secrets
    keys = AccessKeys(secrets.access_key_id, secrets.secret_access_key)
    where = Storage(bucket=BUCKET, prefix="adapter/", region=REGION, endpoint=stack.plan.url("s3"), keys=keys)
    studio = StudioSetup(stack.plan.url("label_studio"), secrets.label_studio_token)
    with contextlib.closing(studio):
        project = studio.create_project("Adapter", labeling_interface(LABELS)).id
        storage, _ = studio.ensure_source(project, where, presign=False)
        studio.start_sync(storage)
    return project


@pytest.fixture(scope="module")
def annotated(api: httpx.Client, labelling: Labelling, project: int) -> list[int]:
    """The ids of the project's tasks: 0 and 1 annotated, 1 twice, 2 skipped, the rest waiting."""
    tasks = labelling.tasks(project)
    regions = [to_regions(bird_scene(bird_seed(task.key))) for task in tasks]
    for number in (0, 1, 1):
        labelling.submit(tasks[number].id, regions[number], lead_time_s=10)
    skipped = {"result": regions[2], "was_cancelled": True}
    api.post(f"/api/tasks/{tasks[2].id}/annotations/", json=skipped).raise_for_status()
    return [task.id for task in tasks]


def test_the_token_tells_who_we_are(studio: LabelStudio):
    assert studio.whoami() == "demo@example.com"


def test_a_wrong_token_is_named_with_the_variable_to_set(stack: Stack):
    stranger = LabelStudio(stack.plan.url("label_studio"), "0" * 40)
    with contextlib.closing(stranger), pytest.raises(LabelStudioError, match="LABEL_STUDIO_API_KEY"):
        stranger.whoami()


def test_a_server_that_is_away_is_an_error_of_ours():
    nobody = LabelStudio("http://127.0.0.1:9", "0" * 40)
    with contextlib.closing(nobody), pytest.raises(LabelStudioError, match="cannot be reached"):
        nobody.whoami()


def test_skipped_annotations_are_not_counted(studio: LabelStudio, project: int, annotated: list[int]):
    found = studio.project(project)
    assert (found.annotations, found.tasks) == (3, 6)


def test_an_export_has_every_annotation_and_the_images_as_stored(
    studio: LabelStudio, project: int, annotated: list[int]
):
    tasks = {task["id"]: task for task in studio.annotated_tasks(project)}
    assert [len(tasks[task]["annotations"]) for task in annotated[:2]] == [1, 2]
    assert tasks[annotated[0]]["data"]["image"].startswith(f"s3://{BUCKET}/adapter/")


def test_an_image_comes_through_label_studios_own_storage(studio: LabelStudio, labelling: Labelling, project: int):
    task = labelling.tasks(project)[0]
    body = studio.fetch(f"s3://{BUCKET}/{task.key}", task=task.id, limit=10**7)
    assert body.startswith(b"\xff\xd8")


def test_an_upload_is_fetched_with_the_token(studio: LabelStudio, api: httpx.Client, project: int):
    files = {"file": ("a bird #1 é.png", b"\x89PNG\r\n\x1a\n not really", "image/png")}
    upload_id = api.post(f"/api/projects/{project}/import?commit_to_project=false", files=files).raise_for_status()
    path = api.get(f"/api/import/file-upload/{upload_id.json()['file_upload_ids'][0]}").raise_for_status().json()
    assert studio.fetch(f"/data/{path['file']}", task=None, limit=1000).endswith(b"not really")


def test_a_missing_upload_is_that_images_fault(studio: LabelStudio):
    with pytest.raises(ImageError, match="cannot fetch"):
        studio.fetch("/data/upload/1/nothing.png", task=None, limit=1000)


def test_tasks_wait_until_they_have_a_prediction_of_this_version(
    studio: LabelStudio, labelling: Labelling, project: int, annotated: list[int], request: pytest.FixtureRequest
):
    version = f"birds v{1 + ['legacy', 'personal'].index(request.node.callspec.params['studio'].split()[0])}"
    rounds = []
    for page in studio.waiting_tasks(project, version):
        rounds.append([task["id"] for task in page])
        assert all(task["data"]["image"].startswith("s3://") for task in page)
        studio.store_predictions(project, [Prediction(task["id"], [], 0.5, version) for task in page])
    # The skipped task has no annotation that counts, so it waits too.
    assert rounds == [annotated[2:]]
    assert labelling.prediction_counts(project)[version] == 4


def test_a_version_is_not_taken_for_another_one_that_begins_alike(
    studio: LabelStudio, project: int, annotated: list[int], request: pytest.FixtureRequest
):
    name = request.node.callspec.params["studio"].split()[0]
    older, newer = f"{name} v1", f"{name} v12"

    def waiting(version: str) -> list[int]:
        return [task["id"] for page in studio.waiting_tasks(project, version) for task in page]

    studio.store_predictions(project, [Prediction(task, [], 0.5, newer) for task in annotated[2:5]])
    assert (waiting(older), waiting(newer)) == (annotated[2:], annotated[5:])

    studio.store_predictions(project, [Prediction(task, [], 0.5, older) for task in annotated[4:]])
    assert (waiting(older), waiting(newer)) == (annotated[2:4], annotated[5:])
    assert waiting(f"{name} v123") == annotated[2:]


def test_of_two_predictions_of_one_version_the_older_stays(
    studio: LabelStudio,
    api: httpx.Client,
    project: int,
    annotated: list[int],
    request: pytest.FixtureRequest,
):
    version = f"{request.node.callspec.params['studio'].split()[0]} doubled"
    chosen = annotated[2:5]
    assert studio.lacking(project, version, chosen[:2]) == set(chosen[:2])
    for score in (0.1, 0.2, 0.3):
        studio.store_predictions(project, [Prediction(task, [], score, version) for task in chosen[:2]])

    assert studio.lacking(project, version, [*chosen, annotated[0]]) == {chosen[2]}
    assert studio.delete_doubles(project, version, chosen) == 4
    assert studio.delete_doubles(project, version, chosen) == 0

    for task in chosen[:2]:
        found = api.get("/api/predictions/", params={"task": task}).json()
        assert [each["score"] for each in found if each["model_version"] == version] == [0.1]
