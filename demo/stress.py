"""Many people at once: forty annotations from eight threads, every event delivered twice, workers replaced meanwhile.

The project has a pipeline of its own with a very short training and a backend of its own with four workers. However
the events fall, an execution starts when the threshold is crossed, no two overlap, and the next one counts what came
meanwhile.
"""

from __future__ import annotations

import json
import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING
from urllib.parse import urlparse

from label_studio_sdk.core.api_error import ApiError

from demo import services
from demo.birds import LABELS, to_regions
from demo.errors import DemoError
from demo.execution import DISPLAY_NAME
from demo.latency import basic_auth
from demo.limits import TRAIN_AT
from demo.pictures import bird_pictures, bird_scene, bird_seed
from demo.projects import Subject, backend_address, open_project, watch
from demo.services import BackendSettings

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from demo.labelling import Labelling, Task
    from demo.process import Child
    from demo.stack import Stack
    from demo.watch import Watch

ANNOTATIONS = 40
THREADS = 8
PIPELINE = "stress"
PARAMETERS = ("MaxTrainingSeconds=5", "MinimumMIoU=0")
SEEDS = range(501, 501 + ANNOTATIONS)
SETTLE_S = 300.0
QUIET_LOOKS = 5
LOOK_EVERY_S = 1.0
BEFORE = 24
"""Annotations before the first execution; so many, and no more, that the rest crosses the threshold a second time."""


@dataclass(frozen=True, slots=True)
class Run:
    """An execution: the count and the attempt in its name, the annotations in its snapshot, and when it ran."""

    count: int
    attempt: int
    snapshot: int
    started: datetime
    ended: datetime
    status: str


def stress(stack: Stack, labelling: Labelling) -> tuple[list[Run], list[str]]:
    """Run the stress and return its executions, oldest first, and what was wrong with them."""
    settings = BackendSettings(
        name="backend_stress", title="backend (4 workers)", port_name="backend_stress", workers=4, pipeline=PIPELINE
    )
    backend = stack.start(services.backend(stack.plan, settings))
    stack.wait(backend)
    project = _open_project(stack, labelling, settings)
    lookout = watch(stack, labelling, project, pipeline=PIPELINE)
    failed = _annotate(stack, lookout, backend)
    runs = _settle(stack, lookout)
    stack.stop_one(backend)
    done = sum(task.annotations > 0 for task in labelling.tasks(project))
    faults = [f"{failed} of {ANNOTATIONS} stress annotations were refused by Label Studio"] if failed else []
    return runs, [*faults, *judge(runs, annotations=done)]


def _open_project(stack: Stack, labelling: Labelling, settings: BackendSettings) -> int:
    """The project *Stress*, of which every event goes to the backend twice."""
    subject = Subject("Stress", "stress/", LABELS, bird_pictures("stress/", SEEDS))
    project = open_project(stack, labelling, subject, settings=settings, parameters=PARAMETERS)
    address = backend_address(stack, settings.port_name)
    authorization = {"Authorization": basic_auth(address.user, address.password)}
    labelling.add_webhook(project, f"{address.url}/webhook?delivery=2", authorization)
    return project


def _annotate(stack: Stack, lookout: Watch, backend: Child) -> int:
    """Submit from THREADS threads: BEFORE annotations, and the rest while the execution runs that they started.

    In either part gunicorn is told to replace its workers. Returns how many annotations were refused for good.
    """
    tasks = lookout.labelling.tasks(lookout.project)[:ANNOTATIONS]
    refused = _submit_all(stack, lookout.labelling, tasks[:BEFORE], backend)
    _wait_for_execution(stack, lookout)
    return refused + _submit_all(stack, lookout.labelling, tasks[BEFORE:], backend)


def _submit_all(stack: Stack, labelling: Labelling, tasks: Sequence[Task], backend: Child) -> int:
    refused = 0
    with ThreadPoolExecutor(THREADS) as pool:
        for number, accepted in enumerate(pool.map(partial(_submit, labelling), tasks), start=1):
            refused += not accepted
            if number == len(tasks) // 2:
                os.kill(backend.process.pid, signal.SIGHUP)
            stack.require_alive()
    stack.display.status(f"  stress: {len(tasks)} more annotations")
    return refused


def _wait_for_execution(stack: Stack, lookout: Watch) -> None:
    deadline = time.monotonic() + SETTLE_S
    while not lookout.executions():
        if time.monotonic() > deadline:
            message = f"{BEFORE} stress annotations started no execution within {SETTLE_S:.0f} s."
            raise DemoError(message)
        stack.sleep(0.2)


def _submit(labelling: Labelling, task: Task) -> bool:
    """Submit as a person does who presses the button again if Label Studio's small database is locked."""
    regions = to_regions(bird_scene(bird_seed(task.key)))
    for _ in range(3):
        try:
            labelling.submit(task.id, regions, lead_time_s=30)
        except ApiError:
            time.sleep(1)
        else:
            return True
    return False


def _settle(stack: Stack, lookout: Watch) -> list[Run]:
    """Wait until no execution runs and none is due any more."""
    deadline = time.monotonic() + SETTLE_S
    quiet = 0
    while quiet < QUIET_LOOKS:
        runs = _runs(stack, lookout)
        annotations = sum(task.annotations > 0 for task in lookout.labelling.tasks(lookout.project))
        due = annotations - (runs[-1].count if runs else 0) >= TRAIN_AT
        busy = due or any(run.status in {"Executing", "Stopping"} for run in runs)
        quiet = 0 if busy else quiet + 1
        stack.display.status(f"  stress: {annotations} annotations, executions {[run.count for run in runs]}")
        if time.monotonic() > deadline:
            message = f"The stress did not settle within {SETTLE_S:.0f} s: executions {[run.count for run in runs]}."
            raise DemoError(message)
        stack.sleep(LOOK_EVERY_S)
    return runs


def _runs(stack: Stack, lookout: Watch) -> list[Run]:
    return sorted((_run(stack, lookout, arn) for arn in lookout.executions()), key=lambda run: run.started)


def _run(stack: Stack, lookout: Watch, arn: str) -> Run:
    known = lookout.sagemaker.describe_pipeline_execution(PipelineExecutionArn=arn)
    name = DISPLAY_NAME.fullmatch(known["PipelineExecutionDisplayName"])
    if name is None:
        message = (
            f"The execution {known['PipelineExecutionDisplayName']} has a name that is not p<N>-n<count>-<attempt>."
        )
        raise DemoError(message)
    return Run(
        count=int(name["count"]),
        attempt=int(name["attempt"]),
        snapshot=_snapshot_annotations(stack, lookout, arn),
        started=known["CreationTime"],
        ended=known["LastModifiedTime"],
        status=known["PipelineExecutionStatus"],
    )


def _snapshot_annotations(stack: Stack, lookout: Watch, arn: str) -> int:
    """How many annotations the execution's data set says it has."""
    answer = lookout.sagemaker.list_pipeline_parameters_for_execution(PipelineExecutionArn=arn)
    address = next(entry["Value"] for entry in answer["PipelineParameters"] if entry["Name"] == "DatasetS3Uri")
    parsed = urlparse(address)
    stored = stack.s3().get_object(Bucket=parsed.netloc, Key=f"{parsed.path.strip('/')}/dataset.json")
    return int(json.loads(stored["Body"].read())["annotations"])


def judge(runs: Sequence[Run], *, annotations: int) -> list[str]:
    """What is wrong with the executions of a project with so many *annotations*; *runs* are ordered by their start."""
    if not runs:
        return [f"stress: {annotations} annotations and no execution"]
    names = [f"n{run.count}-{run.attempt}" for run in runs]
    faults = [f"stress: execution {name} ended as {run.status}" for name, run in zip(names, runs, strict=True)
              if run.status != "Succeeded"]  # fmt: skip
    faults += [
        f"stress: execution {name} was trained on {run.snapshot} annotations"
        for name, run in zip(names, runs, strict=True)
        if run.snapshot != run.count
    ]
    for first, second in pairwise(runs):
        if second.started < first.ended:
            faults.append(f"stress: executions n{first.count} and n{second.count} overlapped")
        if second.count - first.count < TRAIN_AT:
            faults.append(
                f"stress: execution n{second.count} came only {second.count - first.count} after n{first.count}"
            )
    if runs[0].count < TRAIN_AT:
        faults.append(f"stress: the first execution started at {runs[0].count} annotations")
    if annotations - runs[-1].count >= TRAIN_AT:
        faults.append(f"stress: {annotations} annotations, but the last execution counted {runs[-1].count}")
    return faults
