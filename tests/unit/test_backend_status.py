"""The looks at all projects: what they find, how few calls they need, and what a watcher is told."""

import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from backend.aws import Endpoint, Execution, Failure, Registered, Step
from backend.cli import main
from backend.errors import AwsAwayError, AwsError, BackendError, LabelStudioAwayError, LabelStudioError
from backend.label_studio import MlBackend, Project
from backend.progress import Package, Progress
from backend.status import Lookout, Watch, overview
from backend.trainer import Action, Decision
from tests import fakes
from tests.fakes import BIRDS

NOW = datetime(2026, 1, 10, 12, tzinfo=UTC)
OURS = MlBackend(1, "http://backend:9090", "Birds", "not trained yet")


@dataclass
class Cloud:
    """SageMaker with the same for every project; counts its calls."""

    history: list[Execution] = field(default_factory=list)
    shown: tuple[Step, ...] = ()
    miou: float | None = None
    packages: list[Registered] = field(default_factory=list)
    served: Endpoint | None = None
    calls: Counter[str] = field(default_factory=Counter)

    def executions(self, project: int) -> list[Execution]:
        self.calls["executions"] += 1
        return self.history

    def execution_failure(self, execution: Execution) -> Failure:
        self.calls["execution_failure"] += 1
        return Failure(datetime.now(UTC))

    def steps(self, execution: Execution) -> tuple[Step, ...]:
        self.calls["steps"] += 1
        return self.shown

    def job_miou(self, training_job: str) -> float | None:
        self.calls["job_miou"] += 1
        return self.miou

    def newest_packages(self, project: int, count: int) -> list[Registered]:
        self.calls["newest_packages"] += 1
        return self.packages[:count]

    def model_data(self, package: str) -> str:
        self.calls["model_data"] += 1
        return f"s3://birds/{package}/model.tar.gz"

    def endpoint(self, project: int) -> Endpoint | None:
        self.calls["endpoint"] += 1
        return self.served


@dataclass
class Studio:
    """Label Studio with some projects, some of which have ML backends; counts its calls."""

    found: dict[int, Project] = field(default_factory=dict)
    backends: dict[int, MlBackend] = field(default_factory=dict)
    lacking: int = 47
    calls: Counter[str] = field(default_factory=Counter)

    def project(self, project: int) -> Project:
        self.calls["project"] += 1
        return self.found[project]

    def projects(self) -> list[Project]:
        self.calls["projects"] += 1
        return list(self.found.values())

    def ml_backends(self, project: int) -> list[MlBackend]:
        self.calls["ml_backends"] += 1
        return [self.backends[project]] if project in self.backends else []

    def count_waiting(self, project: int, model_version: str) -> tuple[int, int]:
        self.calls["count_waiting"] += 1
        return 47, self.lacking


def birds(number: int, *, annotations: int = 13, label_config: str = BIRDS) -> Project:
    return Project(number, label_config, annotations, 60, f"Birds {number}")


@pytest.fixture
def cloud() -> Cloud:
    return Cloud()


@pytest.fixture
def studio() -> Studio:
    return Studio({3: birds(3)}, {3: OURS})


@pytest.fixture
def lookout(tmp_path: Path, cloud: Cloud, studio: Studio) -> Lookout:
    return Lookout(fakes.settings(tmp_path), cloud=cloud, studio=studio)


def execution(status: str = "Succeeded", arn: str = "arn:1") -> Execution:
    return Execution(arn, status, 16, 0, datetime.now(UTC))


def test_a_look_finds_everything(lookout: Lookout, cloud: Cloud, studio: Studio):
    studio.found[3], studio.lacking = birds(3, annotations=20), 7
    cloud.history, cloud.miou = [execution()], 0.8
    cloud.shown = (Step("Preprocess", "Succeeded"), Step("Train", "Succeeded", job="job"))
    cloud.packages = [Registered("arn:v1", 1, "Approved")]
    cloud.served = Endpoint("InService", 1)

    progress = lookout.look({})[3]

    assert progress.decision == Decision(Action.WAIT, 20, 32, "20/32 annotations")
    assert progress.run is not None
    assert (progress.run.name, progress.run.steps, progress.run.miou) == ("p3-n16-0", cloud.shown, 0.8)
    assert progress.packages == (Package(cloud.packages[0], "s3://birds/arn:v1/model.tar.gz"),)
    assert (progress.endpoint, progress.model) == (cloud.served, "birds v1")
    assert (progress.waiting, progress.lacking) == (47, 7)


def test_the_decision_is_the_services_own_with_its_memory_of_deleted_annotations(
    lookout: Lookout, cloud: Cloud, studio: Studio
):
    cloud.history = [execution()]
    at = {}
    for annotations in (16, 10, 14):
        studio.found[3] = birds(3, annotations=annotations)
        at[annotations] = lookout.look({})[3].decision.train_at

    assert at == {16: 32, 10: 26, 14: 26}


def test_a_failure_counts_as_the_service_counts_it(lookout: Lookout, cloud: Cloud, studio: Studio):
    studio.found[3], cloud.history = birds(3, annotations=16), [execution("Failed")]

    assert lookout.look({})[3].decision.action is Action.COOL_DOWN


def test_a_project_at_rest_costs_three_calls_of_sagemaker_and_two_of_label_studio(
    lookout: Lookout, cloud: Cloud, studio: Studio
):
    cloud.history, cloud.packages = [execution()], [Registered("arn:v1", 1, "Approved")]
    cloud.shown, cloud.miou = (Step("Train", "Succeeded", job="job"),), 0.8
    found = lookout.look({})
    cloud.calls.clear()
    studio.calls.clear()

    assert lookout.look(found) == found
    assert cloud.calls == {"executions": 1, "newest_packages": 1, "endpoint": 1}
    assert studio.calls == {"projects": 1, "ml_backends": 1}


def test_a_running_execution_is_asked_for_its_steps_until_it_has_ended(lookout: Lookout, cloud: Cloud):
    cloud.history = [execution("Executing")]
    found = lookout.look({})
    found = lookout.look(found)
    cloud.history, cloud.miou = [execution("Succeeded")], 0.8
    cloud.shown = (Step("Train", "Succeeded", job="job"),)

    found = lookout.look(found)
    lookout.look(found)

    assert (cloud.calls["steps"], cloud.calls["job_miou"]) == (3, 1)
    assert found[3].run is not None
    assert found[3].run.miou == 0.8


@pytest.mark.parametrize(
    ("change", "counts"),
    [
        pytest.param({}, 1, id="nothing new"),
        pytest.param({"predictions": 20}, 2, id="predictions were stored"),
        pytest.param({"annotations": 14}, 2, id="one was annotated"),
        pytest.param({"tasks": 61}, 2, id="a task was imported"),
    ],
)
def test_waiting_tasks_are_counted_only_when_there_is_something_to_count(
    lookout: Lookout, studio: Studio, change: dict[str, Any], counts: int
):
    found = lookout.look({})
    studio.found[3] = replace(studio.found[3], **change)

    lookout.look(found)

    assert studio.calls["count_waiting"] == counts


@pytest.mark.parametrize(
    ("backend", "connected"),
    [
        pytest.param(OURS, True, id="no model yet"),
        pytest.param(MlBackend(1, "http://b:9090", "Birds", "birds v3"), True, id="by its version"),
        pytest.param(MlBackend(1, "http://b:9090", "birds v3"), True, id="by the title it gave itself"),
        pytest.param(MlBackend(1, "http://sam:9090", "SAM", "sam-2"), False, id="somebody else's"),
        pytest.param(None, False, id="none"),
    ],
)
def test_projects_are_shown_that_have_this_ml_backend_connected(
    lookout: Lookout, studio: Studio, backend: MlBackend | None, connected: bool
):
    studio.backends = {3: backend} if backend else {}

    assert (3 in lookout.look({})) is connected


def test_one_project_is_shown_whether_it_is_connected_or_not(tmp_path: Path, cloud: Cloud):
    studio = Studio({3: birds(3), 4: birds(4)}, {3: OURS})
    lookout = Lookout(fakes.settings(tmp_path), cloud=cloud, studio=studio, only=4)

    assert {number: each.connected for number, each in lookout.look({}).items()} == {4: False}


@pytest.mark.parametrize("count", [1, 9, 25, 120])
def test_a_project_that_is_connected_later_is_found_within_ten_looks(lookout: Lookout, studio: Studio, count: int):
    studio.found, studio.backends = {number: birds(number) for number in range(1, count + 1)}, {}
    found = lookout.look({})
    studio.calls.clear()
    studio.backends = dict.fromkeys(studio.found, OURS)

    for _ in range(10):
        found = lookout.look(found)

    assert sorted(found) == sorted(studio.found)
    assert studio.calls["ml_backends"] <= count + 10


def test_a_new_project_is_asked_at_once_and_a_deleted_one_is_forgotten(lookout: Lookout, studio: Studio):
    found = lookout.look({})
    studio.found, studio.backends = {4: birds(4)}, {4: OURS}

    assert list(lookout.look(found)) == [4]


def test_what_hinders_training_is_told(lookout: Lookout, studio: Studio):
    studio.found[3] = birds(3, label_config="<View/>")

    assert "wanted exactly one <PolygonLabels>" in lookout.look({})[3].problem


def test_without_a_connected_project_it_says_what_to_do():
    assert "Settings > Model > Connect Model" in " ".join(overview({}, now=NOW))


def test_projects_are_told_in_blocks():
    one = Progress(birds(3), Decision(Action.WAIT, 13, 16, "13/16 annotations"))

    lines = list(overview({3: one, 4: replace(one, project=birds(4))}, now=NOW))

    assert [lines[0], lines[6], lines[7]] == ["Birds 3 (project 3)", "", "Birds 4 (project 4)"]


ONE = {3: Progress(birds(3), Decision(Action.WAIT, 13, 16, "13/16 annotations"))}
TWO = {3: Progress(birds(3), Decision(Action.WAIT, 14, 16, "14/16 annotations"))}


def told(*answers: dict[int, Progress] | BackendError) -> list[str]:
    """What a watcher reads, without the times, if looks find this."""
    left, lines = list(answers), list[str]()

    def look(_before: Mapping[int, Progress]) -> dict[int, Progress]:
        answer = left.pop(0)
        if isinstance(answer, BackendError):
            raise answer
        return answer

    watch = Watch(look, lines.append, now=lambda: NOW)
    for _ in answers:
        watch.step()
    stamp = f"{NOW.astimezone():%Y-%m-%d %H:%M:%S}  "
    return [line.removeprefix(stamp) for line in lines if line.startswith(stamp)]


AWAY = LabelStudioAwayError("Label Studio cannot be reached: refused")
SLOW = LabelStudioError("Label Studio cannot be reached: timed out")
CLOUDY = AwsAwayError("AWS cannot be reached: refused")


@pytest.mark.parametrize(
    ("answers", "lines"),
    [
        pytest.param([ONE, ONE, ONE], [], id="nothing happens"),
        pytest.param([ONE, TWO], ["Birds 3 (project 3): annotations 14/16"], id="a change"),
        pytest.param([{}, ONE], ["Birds 3 (project 3): connected"], id="connected later"),
        pytest.param(
            [ONE, AWAY, SLOW, AWAY, TWO],
            [
                "Label Studio cannot be reached: refused; asked again until it answers",
                "Label Studio answers again",
                "Birds 3 (project 3): annotations 14/16",
            ],
            id="away for a while",
        ),
        pytest.param(
            [CLOUDY, ONE],
            ["AWS cannot be reached: refused; asked again until it answers", "AWS answers again"],
            id="away at the start",
        ),
        pytest.param(
            [ONE, AWAY, CLOUDY, ONE],
            [
                "Label Studio cannot be reached: refused; asked again until it answers",
                "AWS cannot be reached: refused; asked again until it answers",
                "AWS answers again",
            ],
            id="one after the other",
        ),
        pytest.param(
            [AwsError("no pipeline"), AwsError("no pipeline")],
            ["no pipeline; asked again until it answers"],
            id="not set up yet",
        ),
    ],
)
def test_a_watcher_is_told_changes_and_outages_once(
    answers: list[dict[int, Progress] | BackendError], lines: list[str]
):
    assert told(*answers) == lines


def test_a_watcher_reads_everything_first(tmp_path: Path):
    lines = list[str]()
    look: Callable[[Mapping[int, Progress]], dict[int, Progress]] = lambda _before: ONE  # noqa: E731

    Watch(look, lines.append, now=lambda: NOW).step()

    assert lines[0] == "Birds 3 (project 3)"


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    """Settings that lead to nobody."""
    return {
        "LABEL_STUDIO_URL": "http://127.0.0.1:9",
        "LABEL_STUDIO_API_KEY": "a-secret-token",
        "S3_BUCKET": "birds",
        "SAGEMAKER_ROLE_ARN": "arn:aws:iam::123456789012:role/training",
        "MODEL_DIR": "/dev/null/cache",
        "AWS_DEFAULT_REGION": "us-east-1",
    }


def test_when_label_studio_cannot_be_reached_it_is_one_line(
    env: dict[str, str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    for name, value in env.items():
        monkeypatch.setenv(name, value)

    assert main(["status"]) == 1

    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("Label Studio cannot be reached")
    assert err.count("\n") == 1


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGINT])
def test_a_watcher_waits_for_who_is_away_and_ends_well_by_a_signal(env: dict[str, str], end: signal.Signals):
    command = [sys.executable, "-m", "backend", "status", "--watch", "--every", "3600"]
    with subprocess.Popen(
        command, env={**os.environ, **env}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as watcher:
        assert watcher.stdout is not None
        assert watcher.stderr is not None
        line = watcher.stdout.readline()
        watcher.send_signal(end)

        assert "Label Studio cannot be reached" in line
        assert watcher.wait(30) == 0
        assert (watcher.stdout.read(), watcher.stderr.read()) == ("", "")


@pytest.mark.parametrize(
    ("arguments", "wanted"),
    [
        (["--project", "birds"], "wanted a project's id"),
        (["--project", "0"], "wanted a project's id"),
        (["--every", "0.5"], "wanted seconds from 1 to 3600"),
        (["--every", "nan"], "wanted seconds from 1 to 3600"),
    ],
)
def test_an_argument_that_cannot_be_is_told(arguments: list[str], wanted: str, capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit, match="2"):
        main(["status", *arguments])

    assert wanted in capsys.readouterr().err
