"""`make demo-check`: the loop without a person, measured, looked at in a browser, and written down.

It works in a folder of its own under the data folder, emptied at its start, so the data of a person's demo are not
touched; only the report and the screenshot go into the data folder itself.
"""

from __future__ import annotations

import time
from collections import Counter
from contextlib import ExitStack
from typing import TYPE_CHECKING

from demo import services
from demo.birds import LABELS, to_regions
from demo.errors import DemoError
from demo.latency import Caller, setup_body
from demo.limits import TRAIN_AT
from demo.memory import largest_child_mb, process_mb
from demo.outage import Forwarder
from demo.pictures import bird_scene, bird_seed
from demo.ports import PREFERRED
from demo.projects import backend_address, bird_parts, open_project, watch
from demo.quality import Agreement
from demo.recorder import Recorder
from demo.report import Report, table
from demo.screenshot import capture, require_chromium
from demo.services import BackendSettings
from demo.stack import Stack, running
from demo.state import ROOT, Folder
from demo.stress import stress
from demo.walk import annotate, wait_for_predictions

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from demo.display import Display
    from demo.labelling import Labelling, Prediction, Task
    from demo.watch import Watch

PORTS = {**PREFERRED, "backend_down": 9490, "backend_stress": 9590}


def check(data: Path, display: Display, environment: Mapping[str, str]) -> int:
    """Run and measure everything; the exit status: 0 if nothing fell short.

    The report is written whatever happens, with what was measured until then.
    """
    start = time.monotonic()
    report = Report()
    data.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        display.line(f"Checking the loop (data and logs: {data / 'check'}):")
        require_chromium(display)
        with running(Folder(data / "check"), display, environment, ports=PORTS, fresh=True) as stack:
            _measure(stack, report, data)
    except DemoError as error:
        report.fault(str(error))
    finally:
        report.set("seconds_total", round(time.monotonic() - start, 1))
        report.write(data / "report.json", display.steps)
    return _tell(report, display, data)


def _tell(report: Report, display: Display, data: Path) -> int:
    for line in ["", *table(report.figures), "", f"Report: {data / 'report.json'}"]:
        display.line(line)
    shortfalls = report.shortfalls()
    for message in shortfalls:
        display.line(f"FELL SHORT: {message}")
    display.line("The check did not pass." if shortfalls else "The check passed.")
    return 1 if shortfalls else 0


def _measure(stack: Stack, report: Report, data: Path) -> None:
    """All parts, one after the other, so that none disturbs the next one's figures."""
    labelling, display = stack.labelling(), stack.display
    project = open_project(stack, labelling, bird_parts())
    lookout = watch(stack, labelling, project)
    bodies = _loop(stack, report, lookout)
    with display.step("predictions against known polygons"):
        _compare(report, lookout, display)
    with display.step("screenshot"):
        _look(stack, report, lookout, data / "screenshot.png")
    with display.step("answer times and memory"):
        _ask(stack, report, lookout, bodies)
    with display.step("answer times with S3 and SageMaker away"):
        _ask_without_aws(stack, report, bodies)
    report.set("executions_at_16", len(lookout.executions()))
    if report.figures["executions_at_16"] != 1:
        report.fault(
            f"{report.figures['executions_at_16']} executions were started by {TRAIN_AT} annotations, wanted 1"
        )
    with display.step("stress"):
        _stress(stack, report, labelling)
    stack.require_loopback()


def _loop(stack: Stack, report: Report, lookout: Watch) -> list[bytes]:
    """Sixteen annotations and what follows; the webhook bodies that Label Studio sent for them."""
    labelling, project = lookout.labelling, lookout.project
    with Recorder() as recorder:
        labelling.add_webhook(project, recorder.url)
        annotate(stack, labelling, project, count=TRAIN_AT - 1)
        before_last = time.monotonic()
        annotate(stack, labelling, project, count=TRAIN_AT)
        labelling.remove_webhook(project, recorder.url)
    with stack.display.step("16th annotation to predictions"):
        progress = wait_for_predictions(stack, lookout)
    report.set("seconds_16th_to_predictions", round(time.monotonic() - before_last, 1))
    report.set("model_version", progress.model_version)
    report.set("validation_miou", progress.execution.miou if progress.execution else None)
    return [body for body in recorder.bodies if b'"ANNOTATION_CREATED"' in body]


def _compare(report: Report, lookout: Watch, display: Display) -> None:
    """The predictions of the tasks that nobody annotated, against the birds' own polygons."""
    tasks = _waiting(lookout.labelling, lookout.project)
    predictions = lookout.labelling.predictions(lookout.project)
    for fault in prediction_faults(tasks, predictions):
        report.fault(fault)
    by_task = {prediction.task: prediction for prediction in predictions}
    found = Agreement(LABELS)
    for task in tasks:
        scene = bird_scene(bird_seed(task.key))
        regions = by_task[task.id].regions if task.id in by_task else []
        found.add(regions, to_regions(scene), scene.image.size)
    report.set("held_out_miou", round(found.mean(), 4))
    parts = ", ".join(f"{label} {value:.3f}" for label, value in found.per_label().items())
    display.line(f"  held out           mean IoU {found.mean():.3f} over {len(tasks)} images ({parts})")


def _waiting(labelling: Labelling, project: int) -> list[Task]:
    return [task for task in labelling.tasks(project) if task.annotations == 0]


def prediction_faults(tasks: list[Task], predictions: list[Prediction]) -> list[str]:
    """What is wrong with the number of predictions: each waiting task is to have one, none a second one."""
    counts = Counter(prediction.task for prediction in predictions)
    without = [task.id for task in tasks if not counts[task.id]]
    twice = [task for task, count in counts.items() if count > 1]
    faults = [f"tasks without a prediction: {without}"] if without else []
    return [*faults, f"tasks with more than one prediction: {twice}"] if twice else faults


def _look(stack: Stack, report: Report, lookout: Watch, path: Path) -> None:
    """Open the first task that nobody annotated, as a person would."""
    path.unlink(missing_ok=True)
    task = _waiting(lookout.labelling, lookout.project)[0]
    labels = capture(stack, project=lookout.project, task=task.id, path=path)
    report.set("screenshot", str(path.relative_to(ROOT) if path.is_relative_to(ROOT) else path))
    stack.display.line(f"  screenshot         task {task.id} opens with {len(labels)} polygons: {', '.join(labels)}")
    unknown = sorted(set(labels) - set(LABELS))
    if unknown:
        report.fault(f"the browser drew polygons with labels that the project does not have: {unknown}")


def _ask(stack: Stack, report: Report, lookout: Watch, bodies: list[bytes]) -> None:
    """Answer times of the running backend, then the memory of what has worked by now."""
    caller = Caller(backend_address(stack), stack.plan.state.ports["backend"])
    interface = lookout.labelling.label_config(lookout.project)
    setup = setup_body(lookout.project, interface, stack.plan.url("label_studio"))
    report.set("health_p95_ms", caller.p95_ms("GET", "/health"))
    report.set("setup_p95_ms", caller.p95_ms("POST", "/setup", [setup]))
    report.set("webhook_p95_ms", caller.p95_ms("POST", "/webhook", bodies))
    pids = {child.service.name: child.process.pid for child in stack.children}
    report.set("backend_rss_mb", largest_child_mb(pids["backend"]))
    report.set("sagemaker_local_rss_mb", process_mb(pids["sagemaker_local"]))


def _ask_without_aws(stack: Stack, report: Report, bodies: list[bytes]) -> None:
    """The worse of two answer times: S3 and SageMaker accept and say nothing, S3 and SageMaker refuse.

    The backend starts with both in reach, through forwarders, and loses them afterwards.
    """
    ports = stack.plan.state.ports
    with ExitStack() as forwarders:
        s3, sagemaker = (forwarders.enter_context(Forwarder(ports[name])) for name in ("s3", "sagemaker_local"))
        aws = {
            "AWS_ENDPOINT_URL_S3": s3.url,
            "AWS_ENDPOINT_URL_SAGEMAKER": sagemaker.url,
            "AWS_ENDPOINT_URL_SAGEMAKER_RUNTIME": sagemaker.url,
        }
        settings = BackendSettings("backend_down", "backend (AWS goes away)", port_name="backend_down", aws=aws)
        backend = stack.start(services.backend(stack.plan, settings))
        stack.wait(backend)
        caller = Caller(backend_address(stack, "backend_down"), ports["backend_down"])
        caller.seconds("POST", "/webhook", bodies[0])
        times = []
        for lose in ("hang", "refuse"):
            for forwarder in (s3, sagemaker):
                getattr(forwarder, lose)()
            times.append(caller.p95_ms("POST", "/webhook", bodies))
        stack.stop_one(backend)
    report.set("webhook_p95_ms_aws_down", max(times))


def _stress(stack: Stack, report: Report, labelling: Labelling) -> None:
    runs, faults = stress(stack, labelling)
    report.set("executions_stress", len(runs))
    for fault in faults:
        report.fault(fault)
    counts = ", ".join(str(run.count) for run in runs)
    stack.display.line(f"  stress             {len(runs)} executions, started at {counts} annotations")
