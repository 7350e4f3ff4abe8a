"""How a project stands, told in full and as changes."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from backend.aws import Endpoint, Execution, Registered, Step
from backend.label_studio import Project
from backend.progress import Package, Progress, Run, block, changes, news
from backend.trainer import Action, Decision

NOW = datetime(2026, 1, 10, 12, tzinfo=UTC)
BIRDS = Project(3, "<View/>", annotations=13, tasks=60, title="Birds", predictions=0)
WAITING = Decision(Action.WAIT, 13, 16, "13/16 annotations")
TRAINING = Decision(Action.RUNNING, 16, 16, "a training is running; what is labelled meanwhile counts for the next one")
START = Progress(BIRDS, WAITING, waiting=47, lacking=47)


def execution(status: str, *, arn: str = "arn:1", reason: str = "") -> Execution:
    return Execution(arn, status, 16, 0, NOW, reason)


def step(name: str, status: str = "Succeeded", seconds: float | None = 3.2, reason: str = "", job: str = "") -> Step:
    return Step(name, status, NOW, NOW + timedelta(seconds=seconds) if seconds else None, reason, job)


def package(version: int, approval: str = "Approved") -> Package:
    return Package(Registered(f"arn:{version}", version, approval), f"s3://birds/models/{version}/model.tar.gz")


RUNNING = replace(
    START,
    decision=TRAINING,
    run=Run("p3-n16-0", execution("Executing"), (step("Preprocess"), step("Train", "Executing", None))),
)
TRAINED = replace(
    START,
    decision=Decision(Action.WAIT, 16, 32, "16/32 annotations"),
    run=Run("p3-n16-0", execution("Succeeded"), (step("Preprocess"), step("Train", seconds=45)), 0.8123),
    packages=(package(1),),
)
SERVED = replace(TRAINED, endpoint=Endpoint("InService", 1), model="birds v1", waiting=44, lacking=0)


def test_a_project_at_its_beginning_is_told_in_full():
    assert block(START, now=NOW) == [
        "Birds (project 3)",
        "  annotations  13/16",
        "  execution    none yet",
        "  models       none yet",
        "  endpoint     none",
        "  predictions  0 of 47 waiting tasks",
    ]


def test_a_served_project_is_told_in_full():
    second = replace(SERVED, packages=(package(2, "PendingManualApproval"), package(1)))

    assert block(second, now=NOW) == [
        "Birds (project 3)",
        "  annotations  16/32",
        f"  execution    p3-n16-0 Succeeded, started {NOW.astimezone():%Y-%m-%d %H:%M:%S}",
        "               Preprocess           Succeeded (3 s)",
        "               Train                Succeeded (45 s)",
        "               validation mIoU 0.812",
        "  models       v2 PendingManualApproval, s3://birds/models/2/model.tar.gz",
        "               v1 Approved, s3://birds/models/1/model.tar.gz",
        "  endpoint     InService, serves birds v1",
        "  predictions  44 of 44 waiting tasks by birds v1",
    ]


def test_a_running_step_has_lasted_until_now():
    lines = block(RUNNING, now=NOW + timedelta(minutes=4))

    assert "               Train                Executing (4 min)" in lines
    assert "  annotations  16/16: a training is running; what is labelled meanwhile counts for the next one" in lines


@pytest.mark.parametrize(
    ("decision", "text"),
    [
        pytest.param(WAITING, "13/16", id="it waits"),
        pytest.param(
            Decision(Action.WAIT, 18, 32, "18/32 annotations; the last model did not reach MINIMUM_MIOU"),
            "18/32: the last model did not reach MINIMUM_MIOU",
            id="it waits for more",
        ),
        pytest.param(
            Decision(Action.START, 16, 16, "16/16 annotations"),
            "16/16: a training is due; the backend's log says why if none starts",
            id="it is about to start",
        ),
        pytest.param(
            Decision(Action.DAY_LIMIT, 16, 16, "24 trainings in 24 hours (MAX_TRAININGS_PER_DAY)"),
            "16/16: 24 trainings in 24 hours (MAX_TRAININGS_PER_DAY)",
            id="no more today",
        ),
    ],
)
def test_when_the_next_training_comes_is_told_by_the_services_own_decision(decision: Decision, text: str):
    assert block(replace(START, decision=decision), now=NOW)[1] == f"  annotations  {text}"
    assert changes(replace(START, decision=TRAINING), replace(START, decision=decision)) == [f"annotations {text}"]


def test_what_is_wrong_is_told():
    wrong = replace(
        START, connected=False, problem="wanted <PolygonLabels>", endpoint=Endpoint("Failed", 1, "no\nmemory")
    )

    lines = block(wrong, now=NOW)

    assert "  ML backend   not connected here: Settings > Model > Connect Model in Label Studio" in lines
    assert "  problem      wanted <PolygonLabels>" in lines
    assert "  endpoint     Failed: no memory" in lines


@pytest.mark.parametrize(
    ("title", "shown"),
    [
        pytest.param("Two\nlines\x1b[31m", "Two lines [31m (project 3)", id="a terminal's orders"),
        pytest.param("", "without title (project 3)", id="no title"),
        pytest.param("é" * 500, "é" * 300 + " (project 3)", id="a long one"),
    ],
)
def test_a_title_is_one_line_of_plain_text(title: str, shown: str):
    assert block(replace(START, project=replace(BIRDS, title=title)), now=NOW)[0] == shown


@pytest.mark.parametrize("progress", [START, RUNNING, TRAINED, SERVED])
def test_nothing_is_told_when_nothing_changed(progress: Progress):
    assert changes(progress, progress) == []


@pytest.mark.parametrize(
    ("before", "after", "lines"),
    [
        pytest.param(
            START,
            RUNNING,
            [
                "annotations 16/16: a training is running; what is labelled meanwhile counts for the next one",
                "execution p3-n16-0 started",
                "step Preprocess Succeeded (3 s)",
                "step Train Executing",
            ],
            id="an execution begins",
        ),
        pytest.param(
            RUNNING,
            TRAINED,
            [
                "annotations 16/32",
                "step Train Succeeded (45 s)",
                "validation mIoU 0.812",
                "execution p3-n16-0 Succeeded",
                "model v1 Approved, s3://birds/models/1/model.tar.gz",
            ],
            id="it ends well",
        ),
        pytest.param(
            RUNNING,
            replace(
                RUNNING,
                run=Run(
                    "p3-n16-0",
                    execution("Failed", reason="a step failed"),
                    (step("Preprocess"), step("Train", "Failed", 2, "no memory")),
                ),
            ),
            ["step Train Failed (2 s): no memory", "execution p3-n16-0 Failed: a step failed"],
            id="it fails",
        ),
        pytest.param(
            replace(RUNNING, run=Run("p3-n16-0", execution("Executing"))),
            replace(RUNNING, run=Run("p3-n16-0", execution("Executing", arn="arn:2"))),
            ["execution p3-n16-0 started"],
            id="another one of the same name",
        ),
        pytest.param(
            TRAINED,
            replace(TRAINED, endpoint=Endpoint("Creating", 1), model="birds v1"),
            ["endpoint Creating, to serve birds v1", "predictions 0 of 47 waiting tasks by birds v1"],
            id="an endpoint comes",
        ),
        pytest.param(
            replace(START, waiting=47, lacking=47), replace(START, waiting=40, lacking=40), [], id="no model, no news"
        ),
        pytest.param(SERVED, replace(SERVED, waiting=43), [], id="a task with its prediction was annotated"),
        pytest.param(
            replace(SERVED, lacking=30),
            SERVED,
            ["predictions 44 of 44 waiting tasks by birds v1"],
            id="predictions are stored",
        ),
        pytest.param(
            SERVED,
            replace(SERVED, endpoint=None, model="", lacking=44),
            ["endpoint none"],
            id="an endpoint goes",
        ),
        pytest.param(
            SERVED,
            replace(SERVED, packages=(package(2, "PendingManualApproval"), package(1, "Rejected"))),
            [
                "model v1 Rejected, s3://birds/models/1/model.tar.gz",
                "model v2 PendingManualApproval, s3://birds/models/2/model.tar.gz",
            ],
            id="approval",
        ),
        pytest.param(
            replace(SERVED, packages=(package(3), package(2))),
            replace(SERVED, packages=(package(2), package(1))),
            [],
            id="a deleted package lets an old one back into the list",
        ),
        pytest.param(START, replace(START, connected=False), ["ML backend no longer connected"], id="disconnected"),
        pytest.param(START, replace(START, problem="no image"), ["problem: no image"], id="a problem"),
        pytest.param(replace(START, problem="no image"), START, ["problem solved"], id="a problem solved"),
        pytest.param(
            START,
            replace(START, project=replace(BIRDS, title="Wings")),
            ["was Birds (project 3) before"],
            id="another title",
        ),
    ],
)
def test_every_change_is_one_line(before: Progress, after: Progress, lines: list[str]):
    assert changes(before, after) == lines


def test_projects_that_come_and_go_are_told():
    other = replace(START, project=replace(BIRDS, id=4, title="Wheels"))

    told = list(news({3: START}, {4: other}, now=NOW))

    assert told[0][0] == "Wheels (project 4): connected"
    assert told[0][1][0] == "  annotations  13/16"
    assert told[1:] == [("Birds (project 3): no longer connected", [])]


def test_a_change_is_told_with_its_project():
    assert list(news({3: START}, {3: replace(START, problem="no image")}, now=NOW)) == [
        ("Birds (project 3): problem: no image", [])
    ]
