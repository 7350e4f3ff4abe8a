"""boto3 clients that answer without AWS, and keep what they were asked."""

import datetime
import io
from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Any

import boto3
from botocore.exceptions import ClientError

from tests.infra.calls import Call
from tests.infra.recorder.aws_calls import as_line

NOW = datetime.datetime(2026, 11, 23, tzinfo=datetime.UTC)
Answer = Mapping[str, Any]
# What the adapters look for in an answer; an operation that is not here is answered with nothing.
ANSWERS: Mapping[str, Answer] = {
    "GetObject": {"ContentLength": 2},
    "CreateMultipartUpload": {"UploadId": "u"},
    "UploadPart": {"ETag": "e"},
    "ListObjectsV2": {"KeyCount": 0},
    "CreatePipeline": {"PipelineArn": "arn"},
    "UpdatePipeline": {"PipelineArn": "arn"},
    "DescribePipeline": {"PipelineArn": "arn"},
    "StartPipelineExecution": {"PipelineExecutionArn": "arn"},
    "ListPipelineExecutions": {"PipelineExecutionSummaries": []},
    "DescribePipelineExecution": {"LastModifiedTime": NOW},
    "ListPipelineExecutionSteps": {"PipelineExecutionSteps": []},
    "DescribeModelPackage": {"ModelPackageVersion": 1},
    "DescribeEndpoint": {"EndpointStatus": "InService"},
    "InvokeEndpoint": {},
}
_WITH_BODY = {"GetObject", "InvokeEndpoint"}
Failure = Callable[[Call], str]


class Clients:
    """Clients of one session. *fails* names the error code that a call ends with, '' for one that goes well."""

    def __init__(
        self, answers: Mapping[str, Answer] | None = None, *, region: str, fails: Failure = lambda _: ""
    ) -> None:
        self.calls: list[Call] = []
        self._answers = {**ANSWERS, **(answers or {})}
        self._fails = fails
        self._session = boto3.session.Session(
            region_name=region, aws_access_key_id="none", aws_secret_access_key="none"
        )

    def client(self, service: str) -> Any:
        """A client of *service*."""
        client = self._session.client(service)  # type: ignore[call-overload]
        client.meta.events.register("before-parameter-build", self._ask)
        client.meta.events.register("before-call", self._answer)
        return client

    def _ask(self, params: Mapping[str, Any], model: Any, **_: object) -> None:
        self.calls.append(Call(**as_line(params, model)))

    def _answer(self, model: Any, **_: object) -> tuple[object, Answer]:
        if code := self._fails(self.calls[-1]):
            raise ClientError({"Error": {"Code": code, "Message": "it does not exist"}}, model.name)
        body = {"Body": io.BytesIO(b"{}")} if model.name in _WITH_BODY else {}
        return SimpleNamespace(status_code=200), {**self._answers.get(model.name, {}), **body}
