"""The walk-through when something is cut off in its midst."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from demo.birds import LABELS
from demo.pictures import bird_pictures
from demo.walk import Subject, annotate, open_project, wait_for_predictions, watch
from tests.e2e.conftest import running_backend

if TYPE_CHECKING:
    from demo.labelling import Labelling
    from demo.stack import Stack
    from demo.watch import Watch

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]


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
    subject = Subject("Cut off", "cut-off/", LABELS, bird_pictures("cut-off/", range(80, 86)))
    with running_backend(stack, {"START_TRAINING_EACH_N_UPDATES": "4"}):
        project = open_project(stack, labelling, subject)
        lookout = watch(stack, labelling, project)
        annotate(stack, labelling, project, count=4)
        cut_off_training(stack, lookout)
        progress = wait_for_predictions(stack, lookout, patience_s=120)

    assert progress.execution is not None
    assert progress.execution.name == f"p{project}-n4-1"
    assert progress.served
