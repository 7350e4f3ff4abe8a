"""The whole loop, through a real Label Studio: what a person does, and what must follow from it."""

from __future__ import annotations

import subprocess
import sys
import time
from collections import Counter
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from demo.birds import to_regions
from demo.pictures import bird_scene, bird_seed
from demo.projects import watch
from demo.services import PIPELINE
from demo.state import ROOT
from demo.walk import annotate, wait_for_predictions
from tests.e2e.conftest import Backend, open_birds, running_backend

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from demo.labelling import Labelling
    from demo.stack import Stack

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(400)]
Json = dict[str, Any]


def wait_for(what: Callable[[], Any], *, seconds: float = 60) -> Any:
    """The first true answer."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if found := what():
            return found
        time.sleep(0.3)
    return pytest.fail(f"not within {seconds} s")


def executions(stack: Stack, project: int) -> list[str]:
    """Display names of the project's executions, oldest first."""
    found = stack.sagemaker().list_pipeline_executions(PipelineName=PIPELINE)["PipelineExecutionSummaries"]
    names = [each["PipelineExecutionDisplayName"] for each in reversed(found)]
    return [name for name in names if name.startswith(f"p{project}-")]


@pytest.fixture
def api(stack: Stack) -> Iterator[httpx.Client]:
    token = stack.plan.state.secrets.label_studio_token
    with httpx.Client(
        base_url=stack.plan.url("label_studio"), headers={"Authorization": f"Token {token}"}, timeout=100
    ) as client:
        yield client


def ask(stack: Stack, backend: Backend, path: str, body: Json) -> Json:
    auth = ("label-studio", stack.plan.state.secrets.backend_password)
    return dict(httpx.post(f"{backend.url}{path}", json=body, auth=auth, timeout=100).json())


@contextmanager
def status_watch(backend: Backend, path: Path) -> Iterator[Callable[[], str]]:
    """``python -m backend status --watch`` in the backend's environment; gives what it has told so far."""
    command = [sys.executable, "-m", "backend", "status", "--watch"]
    environment = {**backend.child.service.environment, "MODEL_DIR": "/dev/null/not-shared"}
    with path.open("w") as out, subprocess.Popen(command, cwd=ROOT, env=environment, stdout=out) as process:
        yield path.read_text
        process.terminate()
        assert process.wait(30) == 0


def test_sixteen_annotations_make_the_seventeenth_image_open_with_polygons(
    stack: Stack, labelling: Labelling, api: httpx.Client, tmp_path: Path
):
    with running_backend(stack) as backend, status_watch(backend, tmp_path / "status") as told:
        project = open_birds(stack, labelling, title="Loop", seeds=range(1, 21))
        lookout = watch(stack, labelling, project)
        annotate(stack, labelling, project, count=15)
        time.sleep(3)
        assert executions(stack, project) == []

        annotate(stack, labelling, project, count=16)
        wait_for_predictions(stack, lookout, patience_s=150)

        assert executions(stack, project) == [f"p{project}-n16-0"]
        wait_for(lambda: "predictions 4 of 4 waiting tasks by segmentation v1\n" in told())
        for line in ("annotations 16/16: a training is running", "step Train Succeeded", "model v1 Approved, s3://"):
            assert f" Loop (project {project}): {line}" in told()
        predictions = labelling.predictions(project)
        assert len(predictions) == 4
        assert {each.model_version for each in predictions} == {"segmentation v1"}
        assert all(each.score is not None and 0 <= each.score <= 1 for each in predictions)
        assert all(region["type"] == "polygonlabels" for each in predictions for region in each.regions)
        # The version is the backend's title too: what makes Label Studio show the score and order by it.
        backends = api.get("/api/ml", params={"project": project}).json()
        assert [each["title"] for each in backends] == ["segmentation v1"]
        assert [each["model_version"] for each in backends] == ["segmentation v1"]

    # Another start of the backend and of local SageMaker: the endpoint serves as before.
    sagemaker = next(child for child in stack.children if child.service.name == "sagemaker_local")
    stack.stop_one(sagemaker)
    stack.wait(stack.start(sagemaker.service))
    with running_backend(stack) as backend:
        task = api.get(f"/api/tasks/{labelling.tasks(project)[-1].id}", params={"resolve_uri": "false"}).json()
        interface = labelling.label_config(project)
        body = {"tasks": [task], "project": f"{project}.1", "label_config": interface, "params": {}}

        def predicted() -> Json | None:
            answer = ask(stack, backend, "/predict", body)
            return answer if answer["results"][0] else None

        answer = wait_for(predicted)
        assert answer["results"][0]["model_version"] == answer["model_version"] == "segmentation v1"
        many_predict_at_once(api, labelling, backend, project)
        another_training_goes_on_from_the_live_model(stack, api, project)


def many_predict_at_once(api: httpx.Client, labelling: Labelling, backend: Backend, project: int) -> None:
    """Two commands and the backend predict new tasks: each gets one prediction, and what fails is told."""
    keys = [task.key for task in labelling.tasks(project)]
    new = [{"data": {"image": f"s3://birds/{key}"}} for key in [*keys, *keys, "loop/nothing.jpg"]]
    api.post(f"/api/projects/{project}/import", json=new).raise_for_status()
    *_, missing = [task.id for task in labelling.tasks(project)]
    command = [sys.executable, "-m", "backend", "predict", "--project", str(project)]
    # Without what the backend remembers: the command finds out by itself which model serves.
    environment = {**backend.child.service.environment, "MODEL_DIR": f"{backend.stack.plan.folder.path / 'elsewhere'}"}

    runs = [
        subprocess.Popen(command, cwd=ROOT, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        for _ in range(2)
    ]

    for run in runs:
        out, err = run.communicate(timeout=100)
        assert (run.returncode, err) == (1, "")
        assert out.count(f"task {missing}: ") == 1
        assert out.splitlines()[-1].endswith(", 1 failed")
    tasks = {task.id for task in labelling.tasks(project)} - {missing}
    found = api.get("/api/predictions/", params={"project": project}).json()
    counts = Counter(each["task"] for each in found)
    assert set(counts.values()) == {1}
    assert len(tasks - counts.keys()) == 16  # that are annotated


def another_training_goes_on_from_the_live_model(stack: Stack, api: httpx.Client, project: int) -> None:
    """What SageMaker handed to it by the channel is what the first one learned."""
    number = api.get("/api/ml", params={"project": project}).json()[0]["id"]
    api.post(f"/api/ml/{number}/train", json={}).raise_for_status()
    wait_for(lambda: len(executions(stack, project)) == 2)
    sagemaker = stack.sagemaker()
    newest, *_ = sagemaker.list_pipeline_executions(PipelineName=PIPELINE)["PipelineExecutionSummaries"]

    def trained() -> Json | None:
        steps = sagemaker.list_pipeline_execution_steps(PipelineExecutionArn=newest["PipelineExecutionArn"])
        found = [dict(each) for each in steps["PipelineExecutionSteps"] if each["StepName"] == "Train"]
        return found[0] if found and found[0]["StepStatus"] == "Succeeded" else None

    job = wait_for(trained)["Metadata"]["TrainingJob"]["Arn"].rpartition("/")[2]
    name = sagemaker.describe_training_job(TrainingJobName=job)["TrainingJobName"]
    url = f"{stack.plan.url('sagemaker_local')}/logs/{name}"
    log = httpx.get(url, headers={"Authorization": "AWS4-HMAC-SHA256 any"}, timeout=10).text
    assert "training starts from: earlier model\n" in log


def test_imported_annotations_train_although_no_event_tells_of_them(
    stack: Stack, labelling: Labelling, api: httpx.Client
):
    with running_backend(stack, {"START_TRAINING_EACH_N_UPDATES": "4"}):
        project = open_birds(stack, labelling, title="Import", seeds=range(40, 45))
        tasks = [
            {
                "data": {"image": f"s3://birds/{task.key}"},
                "annotations": [{"result": to_regions(bird_scene(bird_seed(task.key)))}],
            }
            for task in labelling.tasks(project)[:4]
        ]
        api.post(f"/api/projects/{project}/import", json=tasks).raise_for_status()
        assert wait_for(lambda: executions(stack, project)) == [f"p{project}-n4-0"]


def test_start_training_trains_below_the_threshold_and_says_so(
    stack: Stack, labelling: Labelling, api: httpx.Client, backend: Backend
):
    project = open_birds(stack, labelling, title="By hand", seeds=range(60, 64))
    number = api.get("/api/ml", params={"project": project}).json()[0]["id"]
    empty = ask(stack, backend, "/webhook", {"action": "START_TRAINING", "project": {"id": project}})
    assert empty["status"] == "noted"

    # With this switch on Label Studio sends START_TRAINING at each submission: none of these three trains.
    api.patch(f"/api/projects/{project}", json={"min_annotations_to_start_training": 1}).raise_for_status()
    annotate(stack, labelling, project, count=3)
    wait_for(lambda: backend.log().count("START_TRAINING counts as a saved annotation") == 3)
    api.patch(f"/api/projects/{project}", json={"min_annotations_to_start_training": 0}).raise_for_status()
    api.post(f"/api/ml/{number}/train", json={}).raise_for_status()

    assert wait_for(lambda: executions(stack, project)) == [f"p{project}-n3-0"]


def test_a_project_that_cannot_be_trained_on_says_why_and_harms_no_other(
    stack: Stack, labelling: Labelling, api: httpx.Client, backend: Backend
):
    made = {"title": "Choices", "label_config": '<View><Image name="image" value="$image"/></View>'}
    project = api.post("/api/projects/", json=made).raise_for_status().json()["id"]
    ask(stack, backend, "/setup", {"project": f"{project}.1", "schema": ""})
    api.post("/api/tasks/", json={"data": {"image": "/data/x.png"}, "project": project}).raise_for_status()
    task = labelling.tasks(project)[0]
    labelling.submit(task.id, [], lead_time_s=1)

    ask(stack, backend, "/webhook", {"action": "START_TRAINING", "project": {"id": project}})

    wait_for(lambda: "wanted exactly one <PolygonLabels>" in backend.log())
    assert executions(stack, project) == []
    assert ask(stack, backend, "/setup", {"project": f"{project}.1", "schema": ""}) == {
        "model_version": "not trained yet"
    }


def test_a_wrong_bucket_pipeline_and_token_are_told_together_at_the_start(stack: Stack):
    wrong = {"S3_BUCKET": "no-such-bucket", "SAGEMAKER_PIPELINE": "no-such-pipeline", "LABEL_STUDIO_API_KEY": "0" * 40}
    with running_backend(stack, wrong) as backend:
        told = wait_for(lambda: "3 thing(s) not in place" in backend.log() and backend.log())
    for word in ("S3_BUCKET no-such-bucket", "SAGEMAKER_PIPELINE no-such-pipeline", "LABEL_STUDIO_API_KEY"):
        assert word in told
    assert "0" * 40 not in told
