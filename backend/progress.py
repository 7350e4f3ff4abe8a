"""How a project stands, as a value, and how that is told: in full, or what changed between two looks. Pure."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime

from backend.aws import Endpoint, Execution, Registered, Step
from backend.label_studio import Project
from backend.trainer import Action, Decision

_CUT = 300  # characters of a title or of a reason
_NOT_SERVING = {"Creating", "Failed", "Deleting", "OutOfService"}
_INDENT = " " * 15


@dataclass(frozen=True, slots=True)
class Run:
    """A project's newest execution; *miou* is known once its training ended."""

    name: str
    execution: Execution
    steps: tuple[Step, ...] = ()
    miou: float | None = None


@dataclass(frozen=True, slots=True)
class Package:
    """A model package and where in S3 its model lies."""

    registered: Registered
    model_data: str


@dataclass(frozen=True, slots=True)
class Progress:
    """How a project stands at one moment.

    *connected* is whether Label Studio knows this ML backend there, *problem* why the project cannot be trained on,
    *model* the version that the endpoint serves ('' for none). *waiting* tasks are those that nobody has annotated,
    *lacking* those of them without a prediction of that version.
    """

    project: Project
    decision: Decision
    connected: bool = True
    problem: str = ""
    run: Run | None = None
    packages: tuple[Package, ...] = ()
    endpoint: Endpoint | None = None
    model: str = ""
    waiting: int = 0
    lacking: int = 0

    @property
    def title(self) -> str:
        """The project by its title and id."""
        return f"{_one_line(self.project.title) or 'without title'} (project {self.project.id})"


def block(progress: Progress, *, now: datetime) -> list[str]:
    """All of it, in lines for a person."""
    lines = [progress.title]
    if not progress.connected:
        lines.append("  ML backend   not connected here: Settings > Model > Connect Model in Label Studio")
    if progress.problem:
        lines.append(f"  problem      {_one_line(progress.problem)}")
    lines.append(f"  annotations  {_next_training(progress.decision)}")
    lines += _run_lines(progress.run, now) if progress.run else ["  execution    none yet"]
    lines += [
        f"{_INDENT if number else '  models       '}{_package(package)}"
        for number, package in enumerate(progress.packages)
    ] or ["  models       none yet"]
    lines.append(f"  endpoint     {_endpoint(progress)}")
    lines.append(f"  predictions  {_predictions(progress)}")
    return lines


def _run_lines(run: Run, now: datetime) -> list[str]:
    lines = [f"  execution    {_execution(run)}, started {run.execution.started.astimezone():%Y-%m-%d %H:%M:%S}"]
    lines += [f"{_INDENT}{step.name:<20} {_step(step, now)}" for step in run.steps]
    return lines + ([f"{_INDENT}validation mIoU {run.miou:.3f}"] if run.miou is not None else [])


def changes(before: Progress, after: Progress) -> list[str]:
    """What happened between two looks at one project, a line for each thing."""
    return [
        *_facts(before, after),
        *_run_changes(before.run, after.run),
        *_package_changes(before.packages, after.packages),
        *_serving_changes(before, after),
    ]


def news(
    before: Mapping[int, Progress], after: Mapping[int, Progress], *, now: datetime
) -> Iterator[tuple[str, list[str]]]:
    """What happened to all projects: what is to be told with the time, and what follows it."""
    for project, progress in after.items():
        if project in before:
            yield from ((f"{progress.title}: {line}", []) for line in changes(before[project], progress))
        else:
            yield f"{progress.title}: connected", block(progress, now=now)[1:]
    for project in before.keys() - after.keys():
        yield f"{before[project].title}: no longer connected", []


def _facts(before: Progress, after: Progress) -> Iterator[str]:
    if before.title != after.title:
        yield f"was {before.title} before"
    if before.connected != after.connected:
        yield "ML backend connected" if after.connected else "ML backend no longer connected"
    if before.problem != after.problem:
        yield f"problem: {_one_line(after.problem)}" if after.problem else "problem solved"
    if _next_training(before.decision) != _next_training(after.decision):
        yield f"annotations {_next_training(after.decision)}"


def _run_changes(before: Run | None, after: Run | None) -> Iterator[str]:
    """Two executions may have one name, never one ARN."""
    if after is None:
        return
    same = before if before is not None and before.execution.arn == after.execution.arn else None
    if same is None:
        yield f"execution {after.name} started"
    known = {step.name: step.status for step in same.steps} if same else {}
    for step in after.steps:
        if known.get(step.name) != step.status:
            yield f"step {step.name} {_step(step, None)}"
    if after.miou is not None and (same is None or same.miou != after.miou):
        yield f"validation mIoU {after.miou:.3f}"
    if after.execution.status != (same.execution.status if same else "Executing"):
        yield f"execution {_execution(after)}"


def _package_changes(before: tuple[Package, ...], after: tuple[Package, ...]) -> Iterator[str]:
    """Oldest first, as they came; one that came back into the list, since a newer one was deleted, is no news."""
    known = {package.registered.arn: package for package in before}
    newest = max((package.registered.version for package in before), default=0)
    for package in reversed(after):
        old = known.get(package.registered.arn)
        if old != package and (old or package.registered.version > newest):
            yield f"model {_package(package)}"


def _serving_changes(before: Progress, after: Progress) -> Iterator[str]:
    if _endpoint(before) != _endpoint(after):
        yield f"endpoint {_endpoint(after)}"
    # Without a model there are none; and each annotation makes one task less wait, which is told as an annotation.
    if after.model and (before.model, before.lacking) != (after.model, after.lacking):
        yield f"predictions {_predictions(after)}"


def _next_training(decision: Decision) -> str:
    count = f"{decision.annotations}/{decision.train_at}"
    if decision.action is Action.START:
        return f"{count}: a training is due; the backend's log says why if none starts"
    reason = decision.reason.removeprefix(f"{count} annotations").removeprefix("; ")
    return f"{count}: {reason}" if reason else count


def _execution(run: Run) -> str:
    return f"{run.name} {run.execution.status}{_because(run.execution.reason)}"


def _step(step: Step, now: datetime | None) -> str:
    """How a step stands; one that runs has lasted until *now*."""
    end = step.ended or now
    lasted = f" ({_seconds((end - step.started).total_seconds())})" if step.started and end else ""
    return f"{step.status}{lasted}{_because(step.reason)}"


def _package(package: Package) -> str:
    version, approval = package.registered.version, package.registered.approval
    return f"v{version} {approval}{f', {package.model_data}' if package.model_data else ''}"


def _endpoint(progress: Progress) -> str:
    if progress.endpoint is None:
        return "none"
    endpoint, serves = progress.endpoint, "to serve" if progress.endpoint.status in _NOT_SERVING else "serves"
    model = f", {serves} {progress.model}" if progress.model else ""
    return f"{endpoint.status}{model}{_because(endpoint.failure)}"


def _predictions(progress: Progress) -> str:
    by = f" by {progress.model}" if progress.model else ""
    return f"{progress.waiting - progress.lacking} of {progress.waiting} waiting tasks{by}"


def _because(reason: str) -> str:
    return f": {_one_line(reason)}" if reason else ""


def _seconds(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"


def _one_line(text: str) -> str:
    """Somebody's text without line breaks and whatever else a terminal would obey."""
    return " ".join("".join(each if each.isprintable() else " " for each in text).split())[:_CUT]
