"""An existing volume starts with the next version: states that releases left, recorded by record_state.py."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from botocore.exceptions import ClientError

from sagemaker_local.state import FORMAT
from tests.integration.record_state import NAME, PIPELINE, RECORDED, TOKEN, questions
from tests.integration.services import NO_PROXY, LocalSageMaker, end, free_ports, wait_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.integration.services import Json

RELEASES = sorted(folder.name for folder in RECORDED.iterdir() if folder.is_dir())


@pytest.fixture
def local_sagemaker_on(tmp_path: Path) -> Iterator[Callable[[str], LocalSageMaker]]:
    """Makes a sagemaker_local on a copy of what a release left, in another place than it was left; without any S3."""
    made: list[LocalSageMaker] = []
    nowhere = f"http://127.0.0.1:{free_ports(1)[0]}"
    environment = {**NO_PROXY, "AWS_ENDPOINT_URL_S3": nowhere, "PATH": os.environ["PATH"], "AWS_REGION": "us-east-1"}
    environment |= {"AWS_ACCESS_KEY_ID": "any", "AWS_SECRET_ACCESS_KEY": "any"}

    def make(release: str) -> LocalSageMaker:
        data = tmp_path / "another place" / "data"
        shutil.copytree(RECORDED / release / "sagemaker", data)
        made.append(LocalSageMaker(data=data, environment=environment))
        return made[-1]

    yield make
    for item in made:
        if item.process:
            end(item.process)


@pytest.mark.parametrize("release", RELEASES)
def test_everything_is_found_again_and_the_endpoint_answers(
    local_sagemaker_on: Callable[[str], LocalSageMaker], release: str
) -> None:
    recorded = json.loads((RECORDED / release / "answers.json").read_text(encoding="utf-8"))
    service = local_sagemaker_on(release).start()

    assert wait_for(lambda: _answer(service))["model"] == "recorded"
    assert questions(service.client(), recorded["execution"]) == recorded["answers"]
    assert recorded["answers"]["endpoint"]["EndpointStatus"] == "InService"
    again = service.client().start_pipeline_execution(PipelineName=PIPELINE, ClientRequestToken=TOKEN)
    assert again["PipelineExecutionArn"] == recorded["execution"]


def _answer(service: LocalSageMaker) -> Json:
    runtime = service.client("sagemaker-runtime")
    try:
        answer = runtime.invoke_endpoint(EndpointName=NAME, ContentType="image/jpeg", Accept="image/png", Body=b"x")
    except ClientError:  # the model server still starts
        return None
    return json.loads(answer["Body"].read())


def test_what_a_newer_version_wrote_is_refused_in_a_sentence(
    local_sagemaker_on: Callable[[str], LocalSageMaker],
) -> None:
    service = local_sagemaker_on(RELEASES[-1]).start()
    service.stop()
    state = service.data / "state.sqlite3"
    with closing(sqlite3.connect(state, isolation_level=None)) as newer:
        newer.execute(f"PRAGMA user_version = {FORMAT + 1}")
        newer.execute("UPDATE about SET value = '9.1.0'")

    assert service.spawn(free_ports(1)[0]).wait(20) == 1
    assert service.log.splitlines()[-1].startswith(
        f"sagemaker_local: cannot use {state}: sagemaker_local 9.1.0 wrote it in format {FORMAT + 1}"
    )
