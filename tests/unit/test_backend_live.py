"""Which model serves, by AWS alone; where none does, it says what to do."""

import json
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from backend.aws import Endpoint, ModelPackage, Registered
from backend.errors import AwsError, BackendError
from backend.live import LiveModel, live_model
from tests import fakes
from tests.fakes import LABELS, FakeCloud

DATASET = "s3://birds/ls/projects/3/datasets/abc/"


@dataclass
class Cloud(FakeCloud):
    """The fake one, with a registry of older packages too."""

    older: dict[str, ModelPackage] = field(default_factory=dict)

    def newest_packages(self, project: int, count: int) -> list[Registered]:
        return [Registered(each.arn, each.version, "Rejected") for each in self.older.values()]

    def package(self, arn: str) -> ModelPackage:
        return self.older[arn]


def cloud(endpoint: Endpoint | None, *approved: int, older: tuple[int, ...] = ()) -> Cloud:
    dataset = json.dumps({"labels": list(LABELS)}).encode()
    return Cloud(
        objects={("birds", "ls/projects/3/datasets/abc/dataset.json"): dataset},
        packages=[ModelPackage(f"arn:{each}", each, DATASET, "job") for each in approved],
        served=endpoint,
        older={f"arn:{each}": ModelPackage(f"arn:{each}", each, DATASET, "job") for each in older},
    )


def test_the_newest_approved_model_that_serves_is_live_with_its_labels(tmp_path: Path):
    found = live_model(3, fakes.settings(tmp_path), cloud(Endpoint("InService", 2), 1, 2))

    assert found == LiveModel("birds v2", LABELS)


def test_an_older_model_that_serves_still_has_its_own_labels(tmp_path: Path):
    found = live_model(3, fakes.settings(tmp_path), cloud(Endpoint("InService", 1), 2, older=(1, 2)))

    assert found == LiveModel("birds v1", LABELS)


def test_a_model_whose_package_was_deleted_has_no_labels_of_its_own(tmp_path: Path):
    assert live_model(3, fakes.settings(tmp_path), cloud(Endpoint("InService", 1), 2)) == LiveModel("birds v1", ())


@pytest.mark.parametrize(
    ("endpoint", "approved", "words"),
    [
        pytest.param(None, (), "has no approved model yet: one is trained at 16 annotations", id="no model"),
        pytest.param(None, (1,), "a model and no endpoint: a running backend makes one", id="no endpoint"),
        pytest.param(Endpoint("Creating", 1), (1,), "is Creating: run this again", id="creating"),
        pytest.param(Endpoint("Failed", 1, "no capacity"), (1,), "failed: no capacity", id="failed"),
        pytest.param(Endpoint("InService", None), (1,), "serves no model of this backend", id="somebody else's"),
    ],
)
def test_where_nothing_serves_it_says_what_to_do(
    tmp_path: Path, endpoint: Endpoint | None, approved: tuple[int, ...], words: str
):
    with pytest.raises(BackendError, match="project 3") as caught:
        live_model(3, fakes.settings(tmp_path), cloud(endpoint, *approved))

    assert words in str(caught.value)


def test_labels_that_cannot_be_read_are_an_error(tmp_path: Path):
    broken = cloud(Endpoint("InService", 1), 1)
    broken.objects["birds", "ls/projects/3/datasets/abc/dataset.json"] = b'{"labels": 3}'

    with pytest.raises(AwsError, match="wanted a list of labels"):
        live_model(3, fakes.settings(tmp_path), broken)
