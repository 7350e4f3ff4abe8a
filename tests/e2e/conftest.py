"""A real Label Studio, S3 and local SageMaker, as `make demo` starts them, and the backend in front."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from demo import services
from demo.birds import LABELS
from demo.display import Display
from demo.pictures import bird_pictures
from demo.ports import PREFERRED
from demo.projects import Subject, open_project
from demo.services import BUCKET, PIPELINE, ROLE_ARN, S3_PREFIX, BackendSettings, Plan, isolated_environment
from demo.stack import Stack, require_programs
from demo.state import ROOT, Folder, load_state
from tests.infra.recorder import aws_calls

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from demo.labelling import Labelling
    from demo.process import Child

SHORT_TRAINING = ("MaxTrainingSeconds=6",)
CALLS = "aws_calls.jsonl"  # what every program that is started asks of AWS, for test_what_aws_was_asked.py


def publish(plan: Plan) -> None:
    """The pipeline alone, for the tests that need no project."""
    command = [sys.executable, "-m", "pipeline", "publish", "--bucket", BUCKET, "--prefix", S3_PREFIX]
    command += ["--name", PIPELINE, "--role-arn", ROLE_ARN, "--warm-start", "--set", *SHORT_TRAINING]
    subprocess.run(command, cwd=ROOT, env=plan.aws_environment(), check=True, capture_output=True)


class Backend:
    """A running backend and where Label Studio finds it."""

    def __init__(self, stack: Stack, child: Child) -> None:
        self.stack = stack
        self.child = child
        self.url = child.service.url

    def log(self) -> str:
        """What it has logged so far."""
        path = self.stack.plan.folder.logs / f"{self.child.service.name}.log"
        return path.read_text(encoding="utf-8", errors="replace")


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """S3 with a bucket, local SageMaker with a pipeline that trains for some seconds, and Label Studio."""
    require_programs()
    folder = Folder(tmp_path_factory.mktemp("e2e"))
    folder.make()
    state = load_state(folder, PREFERRED)
    environment = {**isolated_environment(os.environ), **aws_calls.environment(folder.path / CALLS)}
    stack = Stack(Plan(folder, state, environment), Display(stream=io.StringIO()))
    try:
        label_studio = stack.start(services.label_studio(stack.plan))
        stack.wait(stack.start(services.seaweedfs(stack.plan)))
        stack.s3().create_bucket(Bucket=BUCKET)
        stack.wait(stack.start(services.sagemaker_local(stack.plan)))
        publish(stack.plan)
        stack.wait(label_studio)
        yield stack
    finally:
        stack.stop()


@pytest.fixture(scope="session")
def labelling(stack: Stack) -> Iterator[Labelling]:
    """Label Studio as a person with a token uses it."""
    person = stack.labelling()
    yield person
    person.close()


@contextmanager
def running_backend(stack: Stack, environment: Mapping[str, str] | None = None) -> Iterator[Backend]:
    """A backend that takes any model, however short its training was."""
    settings = BackendSettings(workers=2, aws={"MINIMUM_MIOU": "0", **(environment or {})})
    child = stack.start(services.backend(stack.plan, settings))
    stack.wait(child)
    try:
        yield Backend(stack, child)
    finally:
        stack.stop_one(child)


@pytest.fixture
def backend(stack: Stack) -> Iterator[Backend]:
    """The backend, for one test."""
    with running_backend(stack) as running:
        yield running


def open_birds(stack: Stack, labelling: Labelling, *, title: str, seeds: range) -> int:
    """A project of synthetic birds whose trainings take some seconds; its id."""
    prefix = f"{title.lower().replace(' ', '-')}/"
    subject = Subject(title, prefix, LABELS, bird_pictures(prefix, seeds))
    return open_project(stack, labelling, subject, parameters=SHORT_TRAINING)
