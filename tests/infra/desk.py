"""A person's machine, from which an emulated account is worked on."""

import argparse
import io
from typing import Any

from backend.account import Account
from backend.attachments import Attachments
from backend.aws import Aws
from backend.aws_clients import Clients
from backend.cli_pipeline import CommittedPipeline
from backend.cli_provision import add_provision
from backend.config import Settings
from backend.console import Console
from backend.deployment import settings_to_come
from backend.provision import Provision
from backend.rollout import Rollout
from backend.stacks import Stack, Stacks
from backend.teardown import Teardown
from pipeline.choice import PipelineChoice
from tests.infra.account import REGION
from tests.infra.added_types import client_of

ENV = {
    "LABEL_STUDIO_URL": "http://studio.example:8080",
    "LABEL_STUDIO_API_KEY": "the-token",
    "SAGEMAKER_PIPELINE": "birds",
}
CORE = {"ImagesPrefix": "images", "AnnotationsPrefix": "annotations"}
PACKAGE = b"the zip file"
COMMITTED = PipelineChoice()


def client(service: str) -> Any:
    """A client of the emulated account."""
    return client_of(service, REGION)


def options(*arguments: str) -> argparse.Namespace:
    """What a person gives to ``provision``."""
    parser = argparse.ArgumentParser()
    add_provision(parser.add_subparsers())
    return parser.parse_args(["provision", *arguments])


class Desk:
    """What the commands do, with what a person has in the environment; *told* is what they say."""

    def __init__(self, *, adopt: bool = False, choice: PipelineChoice = COMMITTED, **env: str) -> None:
        self.told = io.StringIO()
        self.settings = settings_to_come({**ENV, **env})
        self.clients = Clients.connect()
        self.account = Account(self.settings.sagemaker_pipeline, self.clients)
        console = Console(self.told)
        rollout = Rollout(Stacks(self.clients.cloudformation), console)
        self.provision = Provision(
            settings=self.settings,
            bucket_name=env.get("S3_BUCKET", ""),
            account=self.account,
            rollout=rollout,
            pipelines=CommittedPipeline(choice, Aws(self.settings)),
            console=console,
            open_bucket=Aws,
            adopt=adopt,
        )
        self.teardown = Teardown(
            settings=self.settings,
            account=self.account,
            policies=Attachments(self.clients),
            rollout=rollout,
            console=console,
            bucket_name=env.get("S3_BUCKET", ""),
        )

    def make(self, **parameters: str) -> tuple[Stack, Settings]:
        """What ``provision`` makes beside Label Studio."""
        self.provision.check()
        return self.provision.core({**CORE, **parameters})

    def destroy(self, *, data: bool = False) -> None:
        """What ``destroy`` does beside Label Studio."""
        self.teardown.all(self.teardown.find(), data=data)
