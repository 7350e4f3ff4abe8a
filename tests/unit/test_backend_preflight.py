"""The check of the settings against S3, SageMaker and Label Studio."""

from pathlib import Path

import pytest

from backend.errors import AwsAccessError, AwsError, LabelStudioError
from backend.preflight import Preflight
from tests import fakes
from tests.fakes import FakeCloud, FakeStudio


def test_everything_wrong_is_told_at_once(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    cloud, studio = FakeCloud(error=AwsAccessError("denied")), FakeStudio(error=LabelStudioError("refuses the token"))
    preflight = Preflight(fakes.settings(tmp_path), cloud=cloud, studio=studio)

    preflight()

    assert preflight.problems == [
        "S3_BUCKET birds: denied",
        "SAGEMAKER_PIPELINE label-studio-segmentation: denied",
        "LABEL_STUDIO_URL http://labelstudio.example.com:8080: refuses the token",
    ]
    assert "3 thing(s) not in place" in caplog.text


def test_a_role_of_another_account_is_wrong(tmp_path: Path):
    settings = fakes.settings(tmp_path, sagemaker_role_arn="arn:aws:iam::999999999999:role/training")
    preflight = Preflight(settings, cloud=FakeCloud(), studio=FakeStudio())

    preflight()

    (problem,) = preflight.problems
    assert problem.startswith("SAGEMAKER_ROLE_ARN arn:aws:iam::999999999999:role/training:")
    assert "wanted a role of the pipeline's account 123456789012" in problem


def test_a_problem_is_logged_when_it_changes_and_not_at_every_look(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    cloud = FakeCloud(error=AwsError("no such bucket"))
    preflight = Preflight(fakes.settings(tmp_path), cloud=cloud, studio=FakeStudio())
    for _ in range(3):
        preflight()
    cloud.error = AwsError("denied")
    preflight()

    assert [record.message.count("no such bucket") for record in caplog.records] == [2, 0]


def test_once_all_is_well_it_says_so_and_is_not_looked_at_again(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    caplog.set_level("INFO")
    cloud = FakeCloud(error=AwsError("no such bucket"))
    preflight = Preflight(fakes.settings(tmp_path), cloud=cloud, studio=FakeStudio())
    preflight()
    cloud.error = None
    preflight()
    cloud.error = AwsError("away for a while")
    preflight()

    assert preflight.problems == []
    assert caplog.text.count("knows us as annotator@example.com") == 1
