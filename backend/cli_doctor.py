"""``python -m backend doctor``: its arguments, and what is done with them."""

import argparse
import contextlib
import os
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from backend.account import Account
from backend.aws import Aws
from backend.aws_clients import Clients
from backend.cli_pipeline import CommittedPipeline
from backend.cli_setup import Commands, project_id
from backend.config import Settings
from backend.console import Console
from backend.deployment import LAYERS, settings_to_come, stack_name, trigger_settings, variables
from backend.doctor_aws import AwsDoctor
from backend.doctor_label_studio import StudioDoctor
from backend.errors import BackendError, SettingsError
from backend.findings import Finding, State, ok, wrong
from backend.inspection import Inspection
from backend.label_studio_wiring import StudioWiring
from backend.probe import ask
from backend.stacks import Stack, Stacks
from pipeline.algorithms import SEGMENTER, example_image
from pipeline.choice import PipelineChoice


def add_doctor(commands: Commands) -> None:
    """``doctor``."""
    about = "examine settings, AWS, Label Studio and the backend, and say what to do where something is wrong"
    parser = commands.add_parser("doctor", help=about, description=f"{about[0].upper() + about[1:]}.")
    parser.set_defaults(command=_doctor)
    parser.add_argument("--project", type=project_id, metavar="ID", help="only this one, connected or not")


def _doctor(options: argparse.Namespace) -> int:
    console, counts = Console(sys.stdout), dict.fromkeys(State, 0)
    for finding in _findings(options):
        counts[finding.state] += 1
        console.say(str(finding))
    console.say("\n" + ", ".join(f"{count} {state.value}" for state, count in counts.items()))
    return 1 if counts[State.WRONG] else 0


def _findings(options: argparse.Namespace) -> Iterator[Finding]:
    try:
        clients = Clients.connect()
        deployed = Deployed.find(os.environ, clients)
        settings = deployed.settings(os.environ)
        cloud = Aws(settings)
    except SettingsError as error:
        yield from (wrong("settings", problem) for problem in error.problems)
        return
    told = f"; {', '.join(deployed.used)}: not set here, but known by the stack" if deployed.used else ""
    yield ok("settings", f"all can be used{told}")
    yield from AwsDoctor(
        settings=settings,
        account=Account(settings.sagemaker_pipeline, clients),
        details=Inspection(clients),
        stacks=Stacks(clients.cloudformation),
        pipelines=CommittedPipeline(_any_choice(cloud.region), cloud),
    ).findings()
    with contextlib.closing(StudioWiring(settings.label_studio_url, settings.label_studio_api_key)) as studio:
        yield from StudioDoctor(
            settings=settings, studio=studio, cloud=cloud, probe=ask, trigger=deployed.trigger, only=options.project
        ).findings()


def _any_choice(region: str) -> PipelineChoice:
    """What a person may have chosen for the pipeline: that it differs there is no fault."""
    image = example_image(region)
    return PipelineChoice(algorithm=SEGMENTER, image=image, processing_image=image, warm_start=False)


def _given(env: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in env.items() if value.strip()}


@dataclass(frozen=True, slots=True)
class Deployed:
    """What the deployment's stacks tell.

    *values* of settings, of which *used* are not set here; the *trigger*, and where it reads *annotations*.
    """

    values: Mapping[str, str]
    used: tuple[str, ...]
    trigger: str
    annotations: str

    @classmethod
    def find(cls, env: Mapping[str, str], clients: Clients) -> "Deployed":
        """By the name in the environment; nothing where there are no stacks, or nobody may look at them."""
        settings = settings_to_come({"LABEL_STUDIO_URL": "http://any", "LABEL_STUDIO_API_KEY": "any", **_named(env)})
        stacks = {layer: _stack(clients, stack_name(settings, layer)) for layer in LAYERS}
        core, trigger = _outputs(stacks["core"]), _outputs(stacks["trigger"])
        parameters = {name: value for stack in stacks.values() for name, value in _parameters(stack).items()}
        values = {"S3_BUCKET": core.get("BucketName", ""), "SAGEMAKER_ROLE_ARN": core.get("SageMakerRoleArn", "")}
        if not env.get("BASIC_AUTH_USER") and "SecretArn" in core:
            values |= _password(Account(settings.sagemaker_pipeline, clients), core["SecretArn"])
        known = _given({**values, **_chosen(parameters, settings)})
        used = tuple(name for name in known if not env.get(name, "").strip())
        return cls(known, used, trigger.get("WebhookUrl", ""), parameters.get("AnnotationsPrefix", ""))

    def settings(self, env: Mapping[str, str]) -> Settings:
        """Those of the environment, and of the stacks where it says nothing.

        Raises:
            SettingsError: a variable is missing or cannot be used.
        """
        found = Settings.from_env({**self.values, **_given(env)}, writes=False)
        return replace(found, annotations_prefix=self.annotations or found.annotations_prefix)


def _named(env: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in _given(env).items() if name == "SAGEMAKER_PIPELINE"}


def _chosen(parameters: Mapping[str, str], defaults: Settings) -> dict[str, str]:
    """The variables that a stack has otherwise than the service does where nobody sets them."""
    usual = variables(trigger_settings(defaults))
    return {name: value for name, value in variables(parameters).items() if value != usual[name]}


def _stack(clients: Clients, name: str) -> Stack | None:
    try:
        return Stacks(clients.cloudformation).find(name)
    except BackendError:
        return None


def _outputs(stack: Stack | None) -> Mapping[str, str]:
    return stack.outputs if stack else {}


def _parameters(stack: Stack | None) -> Mapping[str, str]:
    return stack.parameters if stack and not stack.unusable else {}


def _password(account: Account, secret: str) -> dict[str, str]:
    try:
        values = account.secret(secret)
    except BackendError:
        return {}
    return {name: values.get(name, "") for name in ("BASIC_AUTH_USER", "BASIC_AUTH_PASS")}
