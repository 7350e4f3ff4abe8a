"""What the code asks of AWS and what the policies grant is the same."""

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import boto3
import pytest

from backend.bucket_images import PresentObjects
from backend.s3_annotations import ObjectStore
from backend.trainer import TrainingCloud
from tests.infra import deployed as stacks
from tests.infra.calls import TABLE, Call, needed, read_calls
from tests.infra.driven import everything, training
from tests.infra.policies import Verdict, evaluate, unused
from tests.infra.recorder import aws_calls
from tests.infra.report import Told, judge, lines

ROOT = Path(__file__).parents[2]
SERVICES = ("s3", "sagemaker", "sagemaker-runtime", "lambda", "secretsmanager")
# boto3's own methods that are no operations, and the operations that they come to.
TRANSFERS = {
    "upload_fileobj": (
        *("PutObject", "CreateMultipartUpload", "UploadPart"),
        *("CompleteMultipartUpload", "AbortMultipartUpload"),
    )
}
# Modules that speak to AWS as the backend; those that do so as the person who deploys it; those that know boto3, or its
# errors, and call nothing on the backend's behalf.
ADAPTERS = ("backend/aws.py", "backend/aws_functions.py", "pipeline/publish.py")
OF_A_PERSON = (
    *("backend/account.py", "backend/attachments.py", "backend/aws_clients.py"),
    *("backend/inspection.py", "backend/stacks.py"),
)
WITHOUT_CALLS = (
    *("backend/aws_errors.py", "backend/credentials.py"),
    *("pipeline/__main__.py", "pipeline/checker.py", "pipeline/definition.py"),
)
# `setup --create-bucket` is for a bucket that no stack made; where one did, nobody but the stack may.
NOT_GRANTED = {("s3", "CreateBucket")}
# What those who count annotations and start trainings want of AWS; the function that deploys nothing has no others.
ASKED_BY_TRAINING = (TrainingCloud, ObjectStore, PresentObjects)


def operations_of(path: str) -> set[tuple[str, str]]:
    """The operations that a module can ask for: its calls and paginators that are called as boto3 calls them."""
    methods = {
        name: (service, operation)
        for service in SERVICES
        for name, operation in boto3.client(service, region_name="us-east-1").meta.method_to_api_mapping.items()  # type: ignore[call-overload]
    }
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)]
    names = {node.func.attr for node in calls if isinstance(node.func, ast.Attribute)}
    names |= {
        str(node.args[0].value)
        for node in calls
        if isinstance(node.func, ast.Attribute)
        and node.func.attr == "get_paginator"
        and isinstance(node.args[0], ast.Constant)
    }
    transfers = {("s3", operation) for name in names & TRANSFERS.keys() for operation in TRANSFERS[name]}
    return {methods[name] for name in names & methods.keys()} | transfers


@pytest.fixture(scope="module")
def calls(tmp_path_factory: pytest.TempPathFactory) -> list[Call]:
    return everything(stacks.deployed(), tmp_path_factory.mktemp("backend"))


def test_the_code_is_read_rightly():
    assert ("sagemaker", "ListPipelineExecutions") in operations_of("backend/aws.py")  # by a paginator
    assert ("sagemaker-runtime", "InvokeEndpoint") in operations_of("backend/aws.py")
    assert operations_of("backend/aws_functions.py") == {("lambda", "Invoke")}
    assert {name for _, name in operations_of("pipeline/publish.py")} == {
        "PutObject",
        "CreatePipeline",
        "UpdatePipeline",
    }


def test_every_module_that_knows_boto3_is_told_apart_by_whose_rights_it_has():
    """A new one has to be put into one of the three lists: the backend's are held against its policy."""
    paths = [path for folder in ("backend", "pipeline") for path in (ROOT / folder).glob("*.py")]
    found = {
        str(path.relative_to(ROOT))
        for path in paths
        if re.search(r"^(import|from) (boto3|botocore)\b", path.read_text(encoding="utf-8"), re.MULTILINE)
    }
    assert found - {*ADAPTERS, *OF_A_PERSON, *WITHOUT_CALLS} == set()


def test_every_operation_that_the_code_can_ask_for_has_an_entry_in_the_table():
    assert {operation for path in ADAPTERS for operation in operations_of(path)} <= TABLE.keys()


def test_every_operation_that_the_code_can_ask_for_is_made_here(calls: list[Call]):
    made = {(call.service, call.operation) for call in calls}
    assert {operation for path in ADAPTERS for operation in operations_of(path)} - NOT_GRANTED == made


def test_a_call_without_an_entry_is_an_error():
    with pytest.raises(LookupError, match="no entry for CreateUser of iam"):
        needed(Call("iam", "CreateUser"), stacks.deployed().place)


def test_the_backend_may_do_all_that_it_does(calls: list[Call]):
    found = stacks.deployed()
    requests = [request for call in calls if call.service != "lambda" for request in needed(call, found.place)]
    refused = [str(request) for request in requests if evaluate(found.backend, request) is not Verdict.ALLOWED]
    assert refused == []


def test_the_function_may_do_all_that_the_backend_does_and_call_itself(calls: list[Call]):
    found = stacks.deployed()
    requests = [request for call in calls for request in needed(call, found.place)]
    refused = [str(request) for request in requests if evaluate(found.function, request) is not Verdict.ALLOWED]
    assert refused == []


def test_the_backend_may_do_nothing_that_it_does_not_do(calls: list[Call]):
    found = stacks.deployed()
    requests = [request for call in calls for request in needed(call, found.place)]
    assert unused(found.backend, requests) == []


def test_the_function_that_deploys_nothing_may_do_what_training_needs_and_nothing_else(tmp_path: Path):
    found = stacks.deployed()
    calls, asked = training(found, tmp_path)
    requests = [request for call in calls for request in needed(call, found.place)]

    assert asked == {name for each in ASKED_BY_TRAINING for name in methods(each)}
    assert [str(request) for request in requests if evaluate(found.trainer, request) is not Verdict.ALLOWED] == []
    assert {grant.sid for grant in unused(found.trainer, requests)} == {"WriteLogs"}  # which Lambda does by its role


def methods(protocol: type) -> set[str]:
    """The methods that a protocol asks for."""
    return {name for each in protocol.__mro__ for name in vars(each) if not name.startswith("_")}


def test_creating_a_bucket_is_left_to_the_stack():
    found = stacks.deployed()
    (request,) = needed(Call("s3", "CreateBucket", {"Bucket": found.outputs["BucketName"]}), found.place)
    assert evaluate(found.backend, request) is Verdict.NOT_ALLOWED


# ---- recording other programs ----------------------------------------------------------------------------------------

PROGRAM = """
import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError

once = Config(retries={"total_max_attempts": 1})
keys = {"aws_access_key_id": "id", "aws_secret_access_key": "a-secret"}
client = boto3.client("s3", region_name="us-east-1", endpoint_url="http://127.0.0.1:9", config=once, **keys)
try:
    client.put_object(Bucket="birds", Key="images/a.jpg", Body=b"what-is-in-it")
except BotoCoreError:
    pass
"""


def run(program: str, env: dict[str, str]) -> None:
    subprocess.run([sys.executable, "-c", program], env={**os.environ, **env}, check=True, timeout=60)


def test_a_program_is_recorded_by_two_variables_and_no_secret_or_content_of_it(tmp_path: Path):
    path = tmp_path / "calls.jsonl"

    run(PROGRAM, aws_calls.environment(path))

    (call,) = read_calls(path)
    assert (call.service, call.operation) == ("s3", "PutObject")
    assert call.parameters == {"Bucket": "birds", "Key": "images/a.jpg"}
    assert "what-is-in-it" not in str(call.parameters)


def test_a_program_that_is_not_to_be_recorded_does_not_even_load_botocore(tmp_path: Path):
    run("import sys; sys.exit('botocore' in sys.modules)", {**aws_calls.environment(tmp_path), aws_calls.FILE: ""})


def recorded(program: str, service: str, operation: str, **names: str) -> Call:
    return Call(service, operation, names, program)


def test_a_recorded_call_is_judged_by_the_policy_of_the_program_that_made_it():
    found, role = stacks.deployed(), "arn:aws:iam::123456789012:role/demo"
    bucket = found.outputs["BucketName"]
    calls = [
        recorded("-m gunicorn -c conf.py", "s3", "GetObject", Bucket=bucket, Key="photos/a.jpg"),
        recorded("-m gunicorn -c conf.py", "s3", "GetObject", Bucket=bucket, Key="photos/a.jpg"),
        recorded("-m backend setup", "sagemaker", "UpdatePipeline", PipelineName="birds", RoleArn=role),
        recorded("-m backend setup", "s3", "CreateBucket", Bucket=bucket),
        recorded("-m sagemaker_local --data", "s3", "GetObject", Bucket=bucket, Key="annotations/17"),
        recorded("/venv/bin/label-studio start", "s3", "PutObject", Bucket="other", Key="annotations/17"),
        recorded("-m backend provision --yes", "cloudformation", "CreateStack"),
        recorded("-m demo run", "s3", "DeleteObject", Bucket=bucket, Key="images/a.jpg"),
    ]

    judged = judge(calls, found, Told(role, buckets=("other",)))

    assert judged["backend"].allowed == {"s3:GetObject": 1, "sagemaker:UpdatePipeline": 1, "iam:PassRole": 1}
    assert judged["backend"].refused == judged["storage"].refused == []
    assert judged["sagemaker"].refused == [f"s3:GetObject on arn:aws:s3:::{bucket}/annotations/17"]
    assert judged["storage"].unused[0].sid == "ListFolders"
    assert "backend: 3 different requests allowed, 0 refused" in lines(judged)
