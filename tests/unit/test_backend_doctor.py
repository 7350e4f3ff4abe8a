"""What the doctor finds: for each thing that a person can get wrong, a line that says what to do."""

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from backend.account import Identity, PutPipeline
from backend.aws import Endpoint, ModelPackage
from backend.config import Settings
from backend.doctor_aws import AwsDoctor
from backend.doctor_label_studio import StudioDoctor, token_finding
from backend.errors import AwsAccessError, LabelStudioError
from backend.events import KINDS
from backend.findings import Finding, State
from backend.inputs import labeling_interface
from backend.label_studio import Project, basic_authorization
from backend.label_studio_wiring import Connection, Hook, Place
from backend.probe import Answer, ask
from backend.provision import Parts
from backend.stacks import Stack
from tests import fakes

ROLE = "arn:aws:iam::123456789012:role/jobs"
URL = "http://backend.example:9090"
TRIGGER = "https://abc.execute-api.eu-west-1.amazonaws.com/live/webhook"
HEADER = {"Authorization": basic_authorization("user", "password")}
DEFINITION: dict[str, Any] = {
    "Steps": ["train"],
    "Parameters": [
        {"Name": "CodeS3Uri", "Type": "String", "DefaultValue": "s3://birds/code/1/"},
        {"Name": "TrainingInstanceType", "Type": "String", "DefaultValue": "ml.g4dn.xlarge"},
    ],
}
OTHER_CODE = [{**DEFINITION["Parameters"][0], "DefaultValue": "s3://birds/code/0/"}, DEFINITION["Parameters"][1]]
NOW = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass
class Account:
    """An account in which all is well, and its details; *denied* are the things that may not be looked at."""

    account: str = "123456789012"
    put: PutPipeline | None = field(default_factory=lambda: PutPipeline(DEFINITION, ROLE))
    region_of_bucket: str | None = "eu-west-1"
    private: bool = True
    tls: bool = True
    trusted: bool | None = True
    quota: Mapping[str, float] = field(
        default_factory=lambda: {"ml.g4dn.xlarge for training job usage": 1.0, "ml.m5.large for endpoint usage": 4.0}
    )
    stack: Stack | None = None
    denied: frozenset[str] = frozenset()
    dataset: str = "s3://birds/d/"
    region: str = "eu-west-1"

    def _asked(self, what: str) -> None:
        if what in self.denied:
            raise AwsAccessError(f"AWS denied {what}")

    def identity(self) -> Identity:
        self._asked("identity")
        return Identity(self.account, f"arn:aws:iam::{self.account}:user/ann")

    def pipeline(self) -> PutPipeline | None:
        return self.put

    def bucket_region(self, bucket: str) -> str | None:
        return self.region_of_bucket

    def blocks_public_access(self, bucket: str) -> bool:
        return self.private

    def wants_tls(self, bucket: str) -> bool:
        return self.tls

    def trusts_sagemaker(self, role: str) -> bool | None:
        self._asked("GetRole")
        return self.trusted

    def quotas(self, names: list[str]) -> dict[str, float]:
        self._asked("ListServiceQuotas")
        return {name: self.quota[name] for name in names if name in self.quota}

    def find(self, name: str) -> Stack | None:
        return self.stack if self.stack and name.endswith("-core") else None

    def parts(self, settings: Settings) -> Parts:
        return Parts(objects={}, definition=DEFINITION, definition_key="")

    def plain(self, definition: Mapping[str, Any]) -> Mapping[str, Any]:
        return {name: value for name, value in definition.items() if name != "spot"}


def in_aws(folder: Path, account: Account) -> list[Finding]:
    settings = fakes.settings(folder, sagemaker_role_arn=ROLE)
    doctor = AwsDoctor(settings=settings, account=account, details=account, stacks=account, pipelines=account)
    return list(doctor.findings())


def core(status: str) -> Stack:
    return Stack(id="i", name="birds-core", status=status, outputs={}, parameters={}, tags={})


def test_an_account_in_order_has_nothing_wrong(tmp_path: Path):
    assert {each.state for each in in_aws(tmp_path, Account())} == {State.OK}


def test_a_pipeline_that_was_put_there_with_spot_instances_is_the_committed_one(tmp_path: Path):
    account = Account(put=PutPipeline({**DEFINITION, "spot": True}, ROLE))
    assert {each.state for each in in_aws(tmp_path, account)} == {State.OK}


@pytest.mark.parametrize(
    ("account", "name", "told"),
    [
        (Account(account="999999999999"), "credentials", "SAGEMAKER_ROLE_ARN is of account 123456789012"),
        (Account(denied=frozenset({"identity"})), "credentials", "AWS_PROFILE"),
        (Account(stack=core("ROLLBACK_COMPLETE")), "stacks", "birds-core: ROLLBACK_COMPLETE; run `provision` again"),
        (Account(region_of_bucket=None), "bucket", "there is no bucket"),
        (Account(region_of_bucket="us-east-2"), "bucket", "set AWS_REGION=us-east-2"),
        (Account(private=False), "bucket, private", "put-public-access-block"),
        (Account(tls=False), "bucket, TLS", "TlsOnly"),
        (Account(put=None), "pipeline", "there is no pipeline label-studio-segmentation in eu-west-1"),
        (Account(put=PutPipeline({"Steps": []}, ROLE)), "pipeline", "not the one of this version"),
        (Account(put=PutPipeline({**DEFINITION, "Parameters": OTHER_CODE}, ROLE)), "pipeline", "another preprocess.py"),
        (Account(put=PutPipeline(DEFINITION, "arn:other")), "pipeline", "runs as arn:other"),
        (Account(trusted=None), "role", "there is no role"),
        (Account(trusted=False), "role", "does not trust sagemaker.amazonaws.com"),
        (
            Account(quota={"ml.g4dn.xlarge for training job usage": 0.0}),
            "quota",
            "is 0, so it would fail: ask for 1 or more",
        ),
    ],
)
def test_what_is_wrong_in_aws_is_told_with_what_to_do(tmp_path: Path, account: Account, name: str, told: str):
    found = [each for each in in_aws(tmp_path, account) if each.state is State.WRONG]
    assert [each.name for each in found] == [name]
    assert told in found[0].text


@pytest.mark.parametrize(("call", "name"), [("GetRole", "role"), ("ListServiceQuotas", "quota")])
def test_what_may_not_be_looked_at_cannot_be_checked(tmp_path: Path, call: str, name: str):
    found = in_aws(tmp_path, Account(denied=frozenset({call})))
    assert [each.name for each in found if each.state is State.UNKNOWN] == [name]
    assert not [each for each in found if each.state is State.WRONG]


def test_defaults_that_a_person_chose_do_not_make_it_another_pipeline(tmp_path: Path):
    chosen = [DEFINITION["Parameters"][0], {**DEFINITION["Parameters"][1], "DefaultValue": "ml.g5.xlarge"}]
    account = Account(put=PutPipeline({**DEFINITION, "Parameters": chosen}, ROLE))
    assert not [each for each in in_aws(tmp_path, account) if each.state is State.WRONG]


HOOK = Hook(1, f"{URL}/webhook", HEADER, active=True, with_payload=True)
CONNECTION = Connection(1, URL, frozenset({"not trained yet"}), connected=True, problem="", timeout_s=100.0)
ALL_ACTIONS = frozenset(KINDS) - {"START_TRAINING"}  # which goes to the ML backend by itself


@dataclass
class Studio:
    """A Label Studio with one project in which all is well, and AWS and the network behind it."""

    hook: Hook | None = HOOK
    connection: Connection | None = CONNECTION
    source: Place | None = Place("birds", "images", "completed")  # noqa: RUF009  # frozen
    target: Place | None = Place("birds", "annotations", "initialized")  # noqa: RUF009  # frozen
    refusal: str = ""
    interface: str = labeling_interface(("Beak", "Wing"))  # a text
    serving: Endpoint | None = None
    trained: tuple[str, ...] | None = ("Beak", "Wing")
    dataset: str = "s3://birds/d/"
    region: str = "eu-west-1"
    health: Answer = Answer(200, 0.01)  # noqa: RUF009  # frozen
    out_of_reach: str = ""
    unasked: Answer = Answer(401, 0.1)  # noqa: RUF009  # frozen
    asked: Answer = Answer(400, 0.1)  # noqa: RUF009  # frozen

    def whoami(self) -> str:
        if self.refusal:
            raise LabelStudioError(self.refusal)
        return "ann@example.com"

    def project(self, project: int) -> Project:
        return Project(project, self.interface, 0, 0, "Birds")

    def projects(self) -> list[Project]:
        return [self.project(3)]

    def hooks(self, project: int) -> list[Hook]:
        return [self.hook] if self.hook else []

    def connections(self, project: int) -> list[Connection]:
        return [self.connection] if self.connection else []

    def sources(self, project: int) -> list[Place]:
        return [self.source] if self.source else []

    def targets(self, project: int) -> list[Place]:
        return [self.target] if self.target else []

    def unreachable(self, project: int, url: str) -> str:
        return self.out_of_reach

    def endpoint(self, project: int) -> Endpoint | None:
        return self.serving

    def newest_approved(self, project: int) -> ModelPackage | None:
        return None if self.trained is None else ModelPackage("arn", 2, self.dataset, "job")

    def get_json(self, uri: str) -> Mapping[str, object]:
        return {"labels": list(self.trained or ())}

    def ask(self, method: str, url: str, *, auth: tuple[str, str] | None = None) -> Answer:
        if method == "POST":
            return self.asked if auth else self.unasked
        return self.health


def in_studio(folder: Path, studio: Studio, *, trigger: str = "", only: int | None = None) -> list[Finding]:
    settings = fakes.settings(
        folder, s3_bucket="birds", basic_auth_user="user", basic_auth_pass="password", label_studio_api_key="a" * 40
    )
    doctor = StudioDoctor(settings=settings, studio=studio, cloud=studio, probe=studio.ask, trigger=trigger, only=only)
    return list(doctor.findings())


def test_a_project_in_order_has_nothing_wrong(tmp_path: Path):
    assert {each.state for each in in_studio(tmp_path, Studio())} == {State.OK}


def test_before_there_is_a_model_its_labels_cannot_be_wrong(tmp_path: Path):
    found = {each.name: each for each in in_studio(tmp_path, Studio(trained=None))}
    assert found["3: labels"].state is State.OK
    assert "no approved model yet" in found["3: labels"].text


def test_a_model_that_was_registered_by_hand_cannot_be_compared(tmp_path: Path):
    found = {each.name: each for each in in_studio(tmp_path, Studio(dataset=""))}
    assert found["3: labels"].state is State.UNKNOWN
    assert "model 2 does not tell what it was trained on" in found["3: labels"].text


def test_a_sync_that_failed_does_not_hide_the_wrong_region(tmp_path: Path):
    studio = Studio(source=Place("birds", "images", "failed", "301 Moved Permanently", region="us-east-2"))
    told = [each.text for each in in_studio(tmp_path, studio) if each.name == "3: source storage"]
    assert ["us-east-2" in told[0], "301 Moved Permanently" in told[1]] == [True, True]


def test_a_storage_in_the_buckets_region_is_in_order(tmp_path: Path):
    studio = Studio(source=Place("birds", "images", "completed", region="eu-west-1"))
    assert {each.state for each in in_studio(tmp_path, studio)} == {State.OK}


def test_a_project_in_order_with_the_lambda_function_has_nothing_wrong(tmp_path: Path):
    studio = Studio(hook=replace(HOOK, url=TRIGGER), connection=None)
    assert {each.state for each in in_studio(tmp_path, studio, trigger=TRIGGER)} == {State.OK}


@pytest.mark.parametrize(
    ("studio", "name", "told"),
    [
        (Studio(refusal="refuses the token (401)"), "Label Studio", "refuses the token (401)"),
        (Studio(connection=None), "projects", "none sends events to this backend"),
        (Studio(interface="<View/>"), "3: interface", "PolygonLabels"),
        (Studio(trained=("Beak", "Foot")), "3: labels", "model 2 gives Foot, left out here"),
        (Studio(source=Place("birds", "images", "failed", "denied")), "3: source storage", "denied"),
        (
            Studio(target=Place("birds", "annotations", "completed", region="us-east-2")),
            "3: target storage",
            "s3://birds/annotations: Label Studio looks for it in us-east-2: set Region Name to eu-west-1",
        ),
        (Studio(connection=replace(CONNECTION, connected=False, problem="refused")), "3: ML backend", "(refused)"),
        (Studio(connection=replace(CONNECTION, timeout_s=60.0)), "3: ML backend", "PREDICT_TIMEOUT_SECONDS"),
        (Studio(health=Answer(401, 0.1)), "3: health", "refuses BASIC_AUTH_USER"),
        (Studio(health=Answer(404, 0.1)), "3: health", "answers 404"),
        (Studio(health=Answer(200, 1.5)), "3: health", "took 1.5 s; Label Studio waits 1"),
        (
            Studio(health=Answer(200, 0.01, told=("LABEL_STUDIO_URL: away",))),
            "3: health",
            "tells: LABEL_STUDIO_URL: away",
        ),
        (Studio(hook=None), "3: webhook", "none to http://backend.example:9090/webhook"),
        (Studio(hook=replace(HOOK, headers={})), "3: webhook", "its header Authorization is not the one"),
        (Studio(hook=replace(HOOK, active=False)), "3: webhook", "switched off"),
        (Studio(hook=replace(HOOK, with_payload=False)), "3: webhook", "sends no payload"),
        (
            Studio(hook=replace(HOOK, actions=ALL_ACTIONS - {"ANNOTATION_UPDATED", "TASKS_DELETED"})),
            "3: webhook",
            "does not send ANNOTATION_UPDATED, TASKS_DELETED: let it send all actions",
        ),
        (Studio(serving=Endpoint("Failed", None, "no capacity")), "3: endpoint", "failed: no capacity"),
    ],
)
def test_what_is_wrong_in_a_project_is_told_with_what_to_do(tmp_path: Path, studio: Studio, name: str, told: str):
    found = [each for each in in_studio(tmp_path, studio) if each.state is State.WRONG]
    # An interface that cannot be read says nothing of labels either.
    assert found[0].name == name
    assert told in found[0].text
    assert {each.name for each in found} <= {name, "3: labels"}


def test_a_webhook_that_is_restricted_to_what_is_needed_is_in_order(tmp_path: Path):
    studio = Studio(hook=replace(HOOK, actions=ALL_ACTIONS))
    assert {each.state for each in in_studio(tmp_path, studio)} == {State.OK}


def test_a_host_name_without_a_dot_gets_no_events(tmp_path: Path):
    studio = Studio(
        hook=replace(HOOK, url="http://backend:9090/webhook"), connection=replace(CONNECTION, url="http://backend:9090")
    )
    (found,) = [each for each in in_studio(tmp_path, studio) if each.state is State.WRONG]
    assert "a host name without a dot" in found.text


def test_the_lambda_function_needs_the_target_storage(tmp_path: Path):
    studio = Studio(hook=replace(HOOK, url=TRIGGER), connection=None, target=None)
    found = [each.name for each in in_studio(tmp_path, studio, trigger=TRIGGER) if each.state is State.WRONG]
    assert found == ["3: target storage"]


def test_a_target_storage_that_the_lambda_function_does_not_read_is_none(tmp_path: Path):
    elsewhere = Place("birds", "notes", "completed")
    studio = Studio(hook=replace(HOOK, url=TRIGGER), connection=None, target=elsewhere)
    (found,) = [each for each in in_studio(tmp_path, studio, trigger=TRIGGER) if each.state is State.WRONG]
    assert (found.name, found.text.partition(",")[0]) == ("3: target storage", "none in annotations/ of the bucket")


def test_a_backend_does_not_mind_where_annotations_are_copied_to(tmp_path: Path):
    found = in_studio(tmp_path, Studio(target=Place("birds", "notes", "completed")))
    assert {each.state for each in found} == {State.OK}


def test_a_lambda_function_that_lets_anybody_in_is_wrong(tmp_path: Path):
    studio = Studio(hook=replace(HOOK, url=TRIGGER), connection=None, unasked=Answer(200, 0.1))
    found = [each.name for each in in_studio(tmp_path, studio, trigger=TRIGGER) if each.state is State.WRONG]
    assert found == ["trigger"]


@pytest.mark.parametrize(
    ("answer", "state", "told"),
    [
        (Answer(400, 0.1), State.OK, "wants the password, and takes it"),
        (Answer(401, 0.1), State.WRONG, "refuses BASIC_AUTH_USER and BASIC_AUTH_PASS"),
        (Answer(403, 0.1), State.UNKNOWN, "another password, or --allowed-ips without this machine"),
        (Answer(500, 0.1), State.WRONG, "its log is /aws/lambda/label-studio-segmentation-authorizer"),
        (Answer(503, 0.1), State.WRONG, "answers 503 to the password"),
        (Answer(None, 5.0, "ReadTimeout"), State.UNKNOWN, "does not answer here: ReadTimeout"),
    ],
)
def test_a_lambda_function_is_asked_with_the_password_too(tmp_path: Path, answer: Answer, state: State, told: str):
    studio = Studio(hook=replace(HOOK, url=TRIGGER), connection=None, asked=answer)
    (found,) = [each for each in in_studio(tmp_path, studio, trigger=TRIGGER) if each.name == "trigger"]
    assert (found.state, told in found.text) == (state, True)


def test_a_lambda_function_whose_password_is_not_known_here_is_asked_without(tmp_path: Path):
    studio = Studio(hook=replace(HOOK, url=TRIGGER), connection=None, asked=Answer(500, 0.1))
    settings = fakes.settings(tmp_path, s3_bucket="birds", label_studio_api_key="a" * 40)
    doctor = StudioDoctor(settings=settings, studio=studio, cloud=studio, probe=studio.ask, trigger=TRIGGER)
    (found,) = doctor.trigger_answers()
    assert (found.state, found.text) == (State.OK, f"{TRIGGER} wants the password, which is not known here")


def test_a_lambda_function_that_label_studio_does_not_reach_is_wrong(tmp_path: Path):
    studio = Studio(hook=replace(HOOK, url=TRIGGER), connection=None, out_of_reach="timed out")
    (found,) = [each for each in in_studio(tmp_path, studio, trigger=TRIGGER) if each.state is State.WRONG]
    assert f"Label Studio does not reach {TRIGGER}: timed out; let Label Studio's machine out" in found.text


def test_an_address_of_another_network_cannot_be_checked_from_here(tmp_path: Path):
    studio = Studio(health=Answer(None, 0.0, "this machine does not know the name", here=False))
    found = [each.name for each in in_studio(tmp_path, studio) if each.state is State.UNKNOWN]
    assert found == ["3: health"]


def test_a_project_is_looked_at_whether_it_is_connected_or_not(tmp_path: Path):
    found = in_studio(tmp_path, Studio(connection=None, hook=None), only=3)
    assert "none is connected" in next(each.text for each in found if each.name == "3: ML backend")


def jwt(ends: datetime) -> str:
    payload = base64.urlsafe_b64encode(json.dumps({"exp": ends.timestamp()}).encode()).decode().rstrip("=")
    return f"x.{payload}.y"


@pytest.mark.parametrize(
    ("token", "state", "told"),
    [
        ("a" * 40, State.OK, "a legacy token"),
        (jwt(datetime(2030, 5, 1, tzinfo=UTC)), State.OK, "a personal access token, until 2030-05-01"),
        (jwt(datetime(2025, 5, 1, tzinfo=UTC)), State.WRONG, "ended on 2025-05-01"),
        ("strange", State.UNKNOWN, "neither"),
    ],
)
def test_the_kind_of_token_and_its_end_are_told_but_not_the_token(token: str, state: State, told: str):
    found = token_finding(token, now=NOW)
    assert found.state is state
    assert told in found.text
    assert token not in found.text


def test_a_finding_is_one_line():
    assert "\n" not in str(Finding(State.WRONG, "bucket", "two\nlines"))


@pytest.mark.parametrize("url", ["http://a..b/health", f"http://{'a' * 70}.example/", "http://[::1/health"])
def test_an_address_that_can_be_none_is_not_one_of_this_machine(url: str):
    assert not ask("GET", url).here
