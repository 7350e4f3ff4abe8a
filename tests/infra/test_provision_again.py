"""`provision` again: what was chosen stays, what is chosen otherwise is told, and what would be lost is refused."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from backend.aws import Aws
from backend.cli import main
from backend.cli_wanted import Deployed, wanted
from pipeline.choice import PipelineChoice
from tests.infra.account import ACCOUNT, REGION
from tests.infra.desk import ENV, PACKAGE, Desk, client, options

if TYPE_CHECKING:
    from pathlib import Path

    from backend.cli_wanted import Wanted

pytestmark = pytest.mark.usefixtures("account")
PUBLIC = "https://label.example.com"
IMAGE = f"{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com/segmenter:1"
FOLDERS = ("--images-prefix", "fotos/", "--annotations-prefix", "notes")
SEGMENTER = ("--algorithm", "segmenter", "--image", IMAGE, "--set", "Epochs=40")
CHOSEN = (
    *FOLDERS,
    *SEGMENTER,
    *("--presign", "--label-studio-public-url", PUBLIC, "--spot", "--processing-image", "other:1"),
    *("--email", "ann@example.com", "--budget", "12.345"),
)
VARIABLES = {
    "S3_PREFIX": "ours",
    "START_TRAINING_EACH_N_UPDATES": "40",
    "MINIMUM_MIOU": "0.5",
    "SAGEMAKER_INSTANCE_TYPE": "ml.c5.large",
    "MODEL_NAME": "parts",
}


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """A shell in which nothing but the deployment is named."""
    pipeline = ("PIPELINE_PARAMETERS", "ALGORITHM", "ALGORITHM_IMAGE", "SPOT_TRAINING", "PROCESSING_IMAGE")
    for name in ("S3_BUCKET", *pipeline, *VARIABLES):
        monkeypatch.delenv(name, raising=False)
    for name, value in ENV.items():
        monkeypatch.setenv(name, value)


def provision(*arguments: str) -> int:
    return main(["provision", "--yes", "--no-label-studio", *arguments])


def aim(*arguments: str, **env: str) -> Wanted:
    """What a person would get."""
    desk = Desk()
    return wanted(options(*arguments), {**ENV, **env}, Deployed.find(desk.settings, desk.provision.rollout, Aws))


def with_function(*arguments: str, **env: str) -> dict[str, Any]:
    """The Lambda function's parameters after a run with these."""
    chosen = aim(*arguments, **env)
    found: dict[str, Any] = {**chosen.deployed.variables, **env}
    desk = Desk(**found)
    core, settings = desk.provision.core(chosen.core)
    if chosen.trigger == "lambda":
        desk.provision.trigger(core, settings, PACKAGE, chosen.function)
    return stack("birds-trigger")


def stack(name: str = "birds-core") -> dict[str, Any]:
    (found,) = client("cloudformation").describe_stacks(StackName=name)["Stacks"]
    return {each["ParameterKey"]: each["ParameterValue"] for each in found["Parameters"]}


def pipeline() -> Any:
    return json.loads(client("sagemaker").describe_pipeline(PipelineName="birds")["PipelineDefinition"])


def test_again_without_options_nothing_that_was_chosen_changes(capsys: pytest.CaptureFixture[str]):
    assert provision(*CHOSEN) == 0
    before = (stack(), pipeline())
    capsys.readouterr()

    assert provision() == 0

    assert (stack(), pipeline()) == before
    said = capsys.readouterr().out
    assert "birds-core: found" in said
    assert "as committed" in said
    assert "Chosen otherwise" not in said
    parameters, definition = before
    assert (parameters["ImagesPrefix"], parameters["AnnotationsPrefix"]) == ("fotos", "notes")
    assert (parameters["LabelStudioOrigin"], parameters["MonthlyBudgetUsd"]) == (PUBLIC, "12.35")
    assert parameters["ImageRepositoryArn"].endswith(":repository/segmenter")
    defaults = {each["Name"]: each.get("DefaultValue") for each in definition["Parameters"]}
    assert (defaults["TrainingImage"], defaults["ProcessingImage"], defaults["Epochs"]) == (IMAGE, "other:1", "40")
    assert defaults["TrainingInstanceType"] == "ml.g4dn.xlarge"


def test_what_was_chosen_for_the_pipeline_is_told_each_time(capsys: pytest.CaptureFixture[str]):
    assert (provision("--spot", "--set", "Epochs=40"), provision()) == (0, 0)
    assert capsys.readouterr().out.count("--spot yes, --set Epochs 40\n") == 2


def test_what_is_chosen_otherwise_is_told_with_the_old_and_the_new(capsys: pytest.CaptureFixture[str]):
    assert provision("--spot", "--set", "Epochs=40", "--email", "ann@example.com") == 0

    assert provision("--no-spot", "--set", "Epochs=50", "--set", "CropSize=300", "--email", "", "--presign") == 0

    told = [line.split() for line in capsys.readouterr().out.splitlines() if " -> " in line]
    assert sorted(told) == sorted(
        [
            ["--spot", "yes", "->", "nothing"],
            ["--set", "Epochs", "40", "->", "50"],
            ["--set", "CropSize", "nothing", "->", "300"],
            ["--email", "ann@example.com", "->", "nothing"],
            ["--presign", "nothing", "->", "http://studio.example:8080"],
        ]
    )
    assert stack()["LabelStudioOrigin"] == "http://studio.example:8080"


def test_another_algorithm_leaves_the_image_of_the_old_one_behind():
    assert provision(*SEGMENTER) == 0

    assert provision("--algorithm", "builtin") == 0

    assert stack()["ImageRepositoryArn"] == ""
    assert aim().pipeline == PipelineChoice(overrides={"Epochs": "40"})


def test_a_variable_is_preferred_to_what_is_deployed_and_an_option_to_the_variable(monkeypatch: pytest.MonkeyPatch):
    assert provision("--set", "Epochs=10", "--set", "CropSize=300", "--spot") == 0
    monkeypatch.setenv("PIPELINE_PARAMETERS", "Epochs=20,BaseSize=400")
    monkeypatch.setenv("SPOT_TRAINING", "false")

    chosen = aim("--set", "BaseSize=500").pipeline

    assert chosen == PipelineChoice(overrides={"Epochs": "20", "CropSize": "300", "BaseSize": "500"})


@pytest.mark.parametrize("body", [b"not JSON", b"[]", b'{"algorithm": "builtin"}'])
def test_a_choice_that_cannot_be_read_any_more_is_told(body: bytes, capsys: pytest.CaptureFixture[str]):
    assert provision("--spot") == 0
    bucket = Desk().make()[1].s3_bucket
    listed = client("s3").list_objects_v2(Bucket=bucket, Prefix="label-studio/pipeline/")["Contents"]
    for key in (each["Key"] for each in listed if each["Key"].endswith("-chosen.json")):
        client("s3").put_object(Bucket=bucket, Key=key, Body=body)

    assert provision() == 0

    assert "what was chosen for it before is not known here" in capsys.readouterr().out


# -- the Lambda function ---------------------------------------------------------------------------------------------


def test_the_lambda_function_stays_as_it_was_in_whatever_shell_provision_runs_again():
    before = with_function("--trigger", "lambda", "--allowed-ips", "203.0.113.7/24", "--endpoint", **VARIABLES)

    after = with_function()

    assert after == before
    assert "203.0.113.0/24" in before["AllowedIps"]
    assert {before[name] for name in ("S3Prefix", "TrainEvery", "MinimumMIoU", "ModelName")} == {
        *("ours", "40", "0.5", "parts")
    }
    assert (before["EndpointInstanceType"], before["DeployEndpoints"]) == ("ml.c5.large", "true")


def test_a_parameter_of_the_lambda_function_that_is_set_otherwise_is_told_and_taken():
    with_function("--trigger", "lambda", **VARIABLES)

    chosen = aim("--allowed-ips", "203.0.113.7", MINIMUM_MIOU="0.6")

    assert chosen.changes()["MINIMUM_MIOU"] == ("0.5", "0.6")
    assert chosen.changes()["--allowed-ips"][1] == "203.0.113.7"
    assert with_function(MINIMUM_MIOU="0.6")["MinimumMIoU"] == "0.6"


def test_the_webhook_stays_with_who_has_it_unless_another_is_named():
    with_function("--trigger", "lambda")

    assert aim().trigger == "lambda"
    assert aim("--backend-url", "http://backend.example").trigger == "lambda"
    assert aim("--endpoint").serves
    assert aim("--trigger", "backend").trigger == "backend"


def test_without_label_studio_the_lambda_function_is_left_as_it_is(capsys: pytest.CaptureFixture[str]):
    before = with_function("--trigger", "lambda")

    assert provision() == 0
    assert "left as it is" in capsys.readouterr().out
    assert provision("--trigger", "backend") == 1

    assert stack("birds-trigger") == before
    assert "--no-label-studio leaves that out" in capsys.readouterr().err


@pytest.mark.parametrize("option", ["--endpoint", "--no-endpoint", "--allowed-ips=203.0.113.7"])
def test_what_is_for_the_lambda_function_is_no_choice_where_it_is_left_as_it_is(
    option: str, capsys: pytest.CaptureFixture[str]
):
    before = with_function("--trigger", "lambda")

    assert provision(option) == 1

    assert stack("birds-trigger") == before
    told = "is for the Lambda function, and --no-label-studio leaves that as it is: wanted one"
    assert capsys.readouterr().err == f"{option.partition('=')[0]} {told}\n"


def test_what_the_lambda_function_would_do_otherwise_is_not_told_where_it_is_left_as_it_is():
    with_function("--trigger", "lambda")
    assert aim("--no-label-studio", MINIMUM_MIOU="0.6").changes() == {}


# -- what would be lost ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("option", "key"), [("--images-prefix", "images/a.jpg"), ("--annotations-prefix", "annotations/17")]
)
def test_a_folder_that_has_something_in_it_is_not_exchanged_for_another(
    option: str, key: str, capsys: pytest.CaptureFixture[str]
):
    assert provision() == 0
    Aws(Desk().make()[1]).put_object(key, b"1")
    before = stack()

    assert provision(option, "other") == 1

    assert stack() == before
    assert f"{option}: what this deployment has lies in {key.partition('/')[0]}/" in capsys.readouterr().err


def test_a_folder_with_nothing_in_it_may_be_another(capsys: pytest.CaptureFixture[str]):
    assert provision() == 0

    assert aim("--images-prefix", "fotos").changes() == {"--images-prefix": ("images", "fotos")}
    assert aim("--images-prefix", "fotos").folders.images == "fotos/"


def test_another_s3_prefix_than_the_stacks_is_refused(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    assert provision() == 0
    before = stack()
    monkeypatch.setenv("S3_PREFIX", "other")

    assert provision() == 1

    assert stack() == before
    assert "below label-studio/, and S3_PREFIX is other, where nobody would find them" in capsys.readouterr().err


def test_an_origin_follows_a_label_studio_that_has_moved_but_not_one_that_was_named():
    assert provision("--presign") == 0
    moved = "http://moved.example"
    assert aim(LABEL_STUDIO_URL=moved).core["LabelStudioOrigin"] == moved
    assert provision("--label-studio-public-url", PUBLIC) == 0
    assert aim(LABEL_STUDIO_URL=moved).core["LabelStudioOrigin"] == PUBLIC
    assert aim("--no-presign").core["LabelStudioOrigin"] == ""


# -- a pipeline that was deleted by hand -----------------------------------------------------------------------------


def test_a_pipeline_that_was_deleted_by_hand_is_made_anew_though_it_is_to_be_another(
    capsys: pytest.CaptureFixture[str],
):
    assert provision("--spot") == 0
    client("sagemaker").delete_pipeline(PipelineName="birds")

    assert provision("--set", "Epochs=40") == 0

    said = capsys.readouterr().out
    assert "birds: was deleted by hand, made anew" in said
    assert "birds-core: updated" in said
    assert aim().pipeline == PipelineChoice(spot=True, overrides={"Epochs": "40"})
    assert any(step["Arguments"].get("EnableManagedSpotTraining") for step in pipeline()["Steps"])


def test_a_pipeline_that_was_given_another_role_by_hand_gets_its_own_back(capsys: pytest.CaptureFixture[str]):
    assert provision() == 0
    sagemaker = client("sagemaker")
    own = sagemaker.describe_pipeline(PipelineName="birds")["RoleArn"]
    sagemaker.update_pipeline(PipelineName="birds", RoleArn=f"arn:aws:iam::{ACCOUNT}:role/others")
    capsys.readouterr()

    assert provision() == 0

    assert "birds: was changed by hand, put back" in capsys.readouterr().out
    assert sagemaker.describe_pipeline(PipelineName="birds")["RoleArn"] == own


# -- before anything is made -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--images", "/nonexistent"), "wanted a folder with images"),
        (("--write-env", "/nonexistent/x.env"), "--write-env /nonexistent/x.env"),
        (("--budget", "nan"), "--budget: wanted US dollars"),
        (("--budget", "-5"), "--budget: wanted US dollars"),
        (("--budget", "inf"), "--budget: wanted US dollars"),
        (("--budget", "much"), "--budget: wanted US dollars"),
        (("--email", "nobody"), "--email: wanted an address"),
        (("--allowed-ips", "203.0.113.7/40"), "--allowed-ips: wanted addresses"),
        (("--allowed-ips", "::::"), "--allowed-ips: wanted addresses"),
        (("--images-prefix", "notes", "--annotations-prefix", "notes/"), "one beside the other"),
        (("--images-prefix", "a", "--annotations-prefix", "a/b"), "one beside the other"),
        (("--images-prefix", "my images"), "--images-prefix: wanted a folder of letters"),
    ],
)
def test_what_cannot_be_used_is_refused_before_anything_is_made(
    arguments: tuple[str, ...], words: str, capsys: pytest.CaptureFixture[str]
):
    given = (f"{arguments[0]}={arguments[1]}", *arguments[2:])

    assert provision(*given) == 1

    assert words in capsys.readouterr().err
    assert client("cloudformation").describe_stacks()["Stacks"] == []


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--storage-endpoint", "nonsense"), "--storage-endpoint: wanted an address"),
        (("--storage-keys",), "wanted an access key that can be kept"),
    ],
)
def test_a_storage_that_label_studio_could_not_use_is_refused_before_anything_is_made(
    arguments: tuple[str, ...], words: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setenv("AWS_SESSION_TOKEN", "ends-soon")

    assert main(["provision", "--yes", "--wait", "0", *arguments]) == 1

    said = capsys.readouterr()
    assert said.err.startswith(words)
    assert "About what it costs" not in said.out
    assert client("cloudformation").describe_stacks()["Stacks"] == []


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("S3_PREFIX", "my files", "S3_PREFIX: wanted a folder of letters"),
        ("S3_PREFIX", "a" * 61, "60 characters at most"),
        ("SAGEMAKER_INSTANCE_TYPE", "nonsense", "SAGEMAKER_INSTANCE_TYPE: wanted one of SageMaker's"),
        ("SAGEMAKER_PIPELINE", "2024-birds", "a letter first"),
        ("LABEL_STUDIO_URL", "http://studio.example/~ann", "LABEL_STUDIO_URL: wanted an address that a tag in AWS"),
        ("LABEL_STUDIO_URL", "http://studio.example/a%20b", "got one with %"),
        ("LABEL_STUDIO_URL", "http://[::1]:8080", "got one with [ ]"),
        ("LABEL_STUDIO_URL", f"http://studio.example/{'a' * 256}", "256 characters at most, got one with 278"),
    ],
)
def test_a_variable_that_the_stacks_cannot_take_is_refused_before_anything_is_made(
    name: str, value: str, words: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setenv(name, value)

    assert provision() == 1

    assert words in capsys.readouterr().err
    assert client("cloudformation").describe_stacks()["Stacks"] == []


@pytest.mark.parametrize("seconds", ["nan", "-1", "inf", "long"])
def test_how_long_to_wait_is_a_number_of_seconds(seconds: str, capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit):
        provision(f"--wait={seconds}")
    assert "--wait: wanted seconds" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("given", "kept"), [("0", "0"), ("50", "50"), ("12.345", "12.35"), ("1234567.89", ""), ("999999.99", "999999.99")]
)
def test_a_budget_keeps_its_digits(given: str, kept: str, capsys: pytest.CaptureFixture[str]):
    assert (provision("--budget", given) == 0) is bool(kept)
    assert not kept or stack()["MonthlyBudgetUsd"] == kept


def test_a_password_that_the_settings_file_cannot_hold_is_refused_before_anything_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setenv("BASIC_AUTH_USER", "ann")
    monkeypatch.setenv("BASIC_AUTH_PASS", "pa$$word")

    assert provision("--write-env", str(tmp_path / "backend.env")) == 1

    told = capsys.readouterr().err
    assert told.startswith("--write-env: BASIC_AUTH_PASS: wanted a value")
    assert "pa$$word" not in told
    assert client("cloudformation").describe_stacks()["Stacks"] == []


def test_a_folder_of_images_without_one_is_refused_before_anything_is_made(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    assert provision("--images", str(tmp_path)) == 1
    assert "found none" in capsys.readouterr().err
