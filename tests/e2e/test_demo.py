"""The walk-through when something is cut off in its midst."""

from __future__ import annotations

import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from demo.birds import LABELS
from demo.limits import BIRD_COUNT, TRAIN_AT
from demo.pictures import BIRDS_PREFIX, BIRDS_TITLE
from demo.projects import watch
from demo.services import BUCKET
from demo.setup import set_up
from demo.state import ROOT
from demo.walk import annotate, wait_for_predictions
from tests.e2e.conftest import SHORT_TRAINING, open_birds, running_backend

if TYPE_CHECKING:
    from collections.abc import Mapping

    from demo.labelling import Labelling
    from demo.stack import Stack
    from demo.watch import Watch

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(500)]


def cut_off_training(stack: Stack, lookout: Watch) -> None:
    """Wait until an execution runs, and end and start local SageMaker as Ctrl-C and the next start do."""
    deadline = time.monotonic() + 60
    while not (execution := lookout.look().execution) or execution.status != "Executing":
        assert time.monotonic() < deadline, execution
        time.sleep(0.2)
    sagemaker = next(child for child in stack.children if child.service.name == "sagemaker_local")
    stack.stop_one(sagemaker)
    stack.wait(stack.start(sagemaker.service))


def test_a_training_that_was_cut_off_is_tried_again(stack: Stack, labelling: Labelling):
    with running_backend(stack, {"START_TRAINING_EACH_N_UPDATES": "4"}):
        project = open_birds(stack, labelling, title="Cut off", seeds=range(80, 86))
        lookout = watch(stack, labelling, project)
        annotate(stack, labelling, project, count=4)
        cut_off_training(stack, lookout)
        progress = wait_for_predictions(stack, lookout, patience_s=120)

    assert progress.execution is not None
    assert progress.execution.name == f"p{project}-n4-1"
    assert progress.served


def play(environment: Mapping[str, str]) -> list[str]:
    """`python -m demo play` with what a container of the backend has; its lines."""
    command = [sys.executable, "-m", "demo", "play", "--label-studio-public-url", "http://studio.example:8080"]
    done = subprocess.run(
        command, cwd=ROOT, env=dict(environment), capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.splitlines()


def test_a_visitor_annotates_once_and_waits_for_the_predictions(stack: Stack, labelling: Labelling):
    with running_backend(stack) as backend:
        set_up(stack, title=BIRDS_TITLE, labels=LABELS, prefix=BIRDS_PREFIX, parameters=SHORT_TRAINING)
        first = play(backend.child.service.environment)
        again = play(backend.child.service.environment)

    project = labelling.project(BIRDS_TITLE)
    assert [task.annotations for task in labelling.tasks(project)].count(1) == TRAIN_AT
    assert len(labelling.tasks(project)) == BIRD_COUNT
    for lines in (first, again):
        assert "  predictions 44/44 stored by segmentation v1" in lines
        assert f"Open      http://studio.example:8080/projects/{project}/data" in lines
    assert f"  images             60 in s3://{BUCKET}/images/ (0 new)" in again
    assert "  annotations 16/16 (from an earlier start)" in again
