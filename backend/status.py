"""``python -m backend status``: looks at the projects that this ML backend is connected to, once or again and again."""

import itertools
import math
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol, TextIO

from backend.aws import Aws, Endpoint, Execution, Registered, Step, execution_name
from backend.config import Settings
from backend.errors import AwsError, BackendError, LabelConfigError, LabelStudioError
from backend.label_studio import LabelStudio, MlBackend, Project
from backend.progress import Package, Progress, Run, block, news
from backend.regions import parse_label_config
from backend.trainer import FailureSource, Histories, Policy, decide

PACKAGES = 3  # that are shown of a project
LOOKS = 10  # within which every project is asked whether it is still, or meanwhile, connected
EVERY_SECONDS = (2.0, 30.0)  # the least and the most between two looks, unless told otherwise


class Cloud(FailureSource, Protocol):
    """What a look needs of AWS."""

    def executions(self, project: int) -> list[Execution]: ...
    def steps(self, execution: Execution) -> tuple[Step, ...]: ...
    def job_miou(self, training_job: str) -> float | None: ...
    def newest_packages(self, project: int, count: int) -> list[Registered]: ...
    def model_data(self, package: str) -> str: ...
    def endpoint(self, project: int) -> Endpoint | None: ...


class Studio(Protocol):
    """What a look needs of Label Studio."""

    def project(self, project: int) -> Project: ...
    def projects(self) -> list[Project]: ...
    def ml_backends(self, project: int) -> list[MlBackend]: ...
    def count_waiting(self, project: int, model_version: str) -> tuple[int, int]: ...


class Lookout:
    """Looks at the projects, with as few calls as it can: what cannot have changed is taken from the look before.

    A project at rest costs three calls of SageMaker, five while its newest execution is one that failed. Label Studio
    is asked for all projects together, 100 by a call; and in turn, since that makes it call their ML backends, for the
    connections of a tenth of them.
    """

    def __init__(self, settings: Settings, *, cloud: Cloud, studio: Studio, only: int | None = None) -> None:
        """*only* is the one project to look at, connected or not; all connected ones where it is left out."""
        self._settings = settings
        self._cloud = cloud
        self._studio = studio
        self._only = only
        self._histories = Histories(cloud)
        self._policy = Policy.of(settings)
        self._connected: dict[int, bool] = {}
        self._turn = 0

    def look(self, before: Mapping[int, Progress]) -> dict[int, Progress]:
        """How the projects stand now, by their ids; *before* is what the look before found.

        Raises:
            BackendError: Label Studio or AWS cannot be asked.
        """
        found = self._studio.projects() if self._only is None else [self._studio.project(self._only)]
        projects = sorted(found, key=lambda project: project.id)
        self._ask_connections([project.id for project in projects])
        return {
            project.id: self._progress(project, before.get(project.id))
            for project in projects
            if self._connected[project.id] or self._only is not None
        }

    def _ask_connections(self, projects: list[int]) -> None:
        known = {project: self._connected[project] for project in projects if project in self._connected}
        due = [project for project in projects if project not in known] or self._in_turn(projects)
        self._connected = known | {project: self._is_connected(project) for project in due}

    def _in_turn(self, projects: list[int]) -> list[int]:
        count = math.ceil(len(projects) / LOOKS)
        self._turn = (self._turn + count) % max(1, len(projects))
        return list(itertools.islice(itertools.cycle(projects), self._turn, self._turn + count))

    def _is_connected(self, project: int) -> bool:
        """A model's version, and the title that the backend gives itself, tell it from other ML backends."""
        names = {name for each in self._studio.ml_backends(project) for name in (each.model_version, each.title)}
        return any(self._settings.is_model_version(name) for name in names)

    def _progress(self, project: Project, before: Progress | None) -> Progress:
        now = datetime.now(UTC)
        executions = self._cloud.executions(project.id)
        history = self._histories.read(project.id, executions, annotations=project.annotations, now=now)
        endpoint = self._cloud.endpoint(project.id)
        model = self._settings.model_version(endpoint.version) if endpoint and endpoint.version else ""
        waiting, lacking = self._counts(project, model, before)
        return Progress(
            project=project,
            decision=decide(project.annotations, history, self._policy, now=now),
            connected=self._connected[project.id],
            problem=_problem(project),
            run=self._run(project.id, executions[0], before.run if before else None) if executions else None,
            packages=self._packages(project.id, before),
            endpoint=endpoint,
            model=model,
            waiting=waiting,
            lacking=lacking,
        )

    def _counts(self, project: Project, model: str, before: Progress | None) -> tuple[int, int]:
        """Counting makes Label Studio search all tasks, so it is asked only when there is something new to count."""
        if before and (_counted(before.project), before.model) == (_counted(project), model):
            return before.waiting, before.lacking
        return self._studio.count_waiting(project.id, model)

    def _run(self, project: int, execution: Execution, before: Run | None) -> Run:
        if before and before.execution == execution and not execution.running:
            return before
        steps = self._cloud.steps(execution)
        trained = next((step.job for step in steps if step.job and step.status == "Succeeded"), "")
        known = before.miou if before and before.execution.arn == execution.arn else None
        return Run(
            name=execution_name(project, execution.annotations, execution.attempt),
            execution=execution,
            steps=steps,
            miou=self._cloud.job_miou(trained) if trained and known is None else known,
        )

    def _packages(self, project: int, before: Progress | None) -> tuple[Package, ...]:
        known = {package.registered.arn: package.model_data for package in before.packages} if before else {}
        return tuple(
            Package(each, known[each.arn] if each.arn in known else self._cloud.model_data(each.arn))
            for each in self._cloud.newest_packages(project, PACKAGES)
        )


def _counted(project: Project) -> tuple[int, int, int]:
    return project.tasks, project.annotations, project.predictions


def _problem(project: Project) -> str:
    """Why the service cannot train on the project, as it tells itself before it decides."""
    try:
        parse_label_config(project.label_config)
    except LabelConfigError as error:
        return str(error)
    return ""


def overview(found: Mapping[int, Progress], *, now: datetime) -> Iterator[str]:
    """All projects, in lines for a person."""
    if not found:
        yield "No project has this ML backend connected. In Label Studio: Settings > Model > Connect Model, with the"
        yield "backend's URL (README, Connect it to your own Label Studio)."
    for number, progress in enumerate(found.values()):
        yield from ([""] if number else [])
        yield from block(progress, now=now)


@dataclass(slots=True)
class Watch:
    """Tells what changes from look to look; that nobody can be asked is told once, and once when that is over."""

    look: Callable[[Mapping[int, Progress]], dict[int, Progress]]
    say: Callable[[str], None]
    now: Callable[[], datetime]
    _found: dict[int, Progress] | None = None
    _away: str = ""

    def step(self) -> None:
        """One look and what is to be told of it."""
        try:
            found = self.look(self._found or {})
        except BackendError as error:
            if self._away != _who(error):
                self._tell(f"{error}; asked again until it answers")
            self._away = _who(error)
            return
        if self._away:
            self._tell(f"{self._away} answers again")
        self._away = ""
        self._report(found)
        self._found = found

    def _report(self, found: Mapping[int, Progress]) -> None:
        if self._found is None:
            for line in overview(found, now=self.now()):
                self.say(line)
            return
        for event, details in news(self._found, found, now=self.now()):
            self._tell(event)
            for line in details:
                self.say(line)

    def _tell(self, event: str) -> None:
        self.say(f"{self.now().astimezone():%Y-%m-%d %H:%M:%S}  {event}")


def _who(error: BackendError) -> str:
    if isinstance(error, LabelStudioError):
        return "Label Studio"
    return "AWS" if isinstance(error, AwsError) else "it"


def show_status(
    settings: Settings, *, out: TextIO, project: int | None = None, watch: bool = False, every: float | None = None
) -> int:
    """Tell how things stand, and with *watch* go on until Ctrl-C or SIGTERM. Returns the exit status.

    Raises:
        BackendError: Label Studio or AWS cannot be asked; not while watching.
    """
    studio = LabelStudio(settings.label_studio_url, settings.label_studio_api_key)
    lookout = Lookout(settings, cloud=Aws(settings), studio=studio, only=project)

    def say(line: str) -> None:
        print(line, file=out, flush=True)

    try:
        if watch:
            return _watch(Watch(lookout.look, say, _now), every or _every(settings))
        for line in overview(lookout.look({}), now=_now()):
            say(line)
    except BrokenPipeError:  # whoever read it has gone, as `head` does; the interpreter must not meet it again
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    finally:
        studio.close()
    return 0


def _watch(watch: Watch, every: float) -> int:
    """Both signals end it at once, whatever answer a look is waiting for."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        while True:
            watch.step()
            time.sleep(every)
    except KeyboardInterrupt:
        return 0


def _every(settings: Settings) -> float:
    least, most = EVERY_SECONDS
    return min(max(settings.poll_seconds, least), most)


def _now() -> datetime:
    return datetime.now(UTC)
