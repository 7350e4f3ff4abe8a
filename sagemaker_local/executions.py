"""Pipeline executions: StartPipelineExecution and its kin."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from sagemaker_local.definition import Definition, parse_definition
from sagemaker_local.errors import not_found, validation
from sagemaker_local.expressions import as_text
from sagemaker_local.listing import page
from sagemaker_local.names import execution_id, random_id
from sagemaker_local.parameters import DefinitionError, Parameter, parameter_value

if TYPE_CHECKING:
    from collections.abc import Callable

    from sagemaker_local.names import Names
    from sagemaker_local.pipelines import Pipelines
    from sagemaker_local.runner import Runner
    from sagemaker_local.state import Document, Store

_UNKNOWN_OPTIONS = ("SelectiveExecutionConfig", "PipelineVersionId", "PipelineVersionAlias")


class Executions:
    """The executions of all pipelines."""

    def __init__(self, *, store: Store, names: Names, pipelines: Pipelines, runner: Runner) -> None:
        self._store = store
        self._names = names
        self._pipelines = pipelines
        self._runner = runner

    def operations(self) -> dict[str, Callable[[Document], Document]]:
        """The API's operations on executions."""
        return {
            "StartPipelineExecution": self.start,
            "ListPipelineExecutions": self.list_executions,
            "DescribePipelineExecution": self.describe,
            "UpdatePipelineExecution": self.update,
            "ListPipelineExecutionSteps": self.list_steps,
            "ListPipelineParametersForExecution": self.list_parameters,
            "DescribePipelineDefinitionForExecution": self.describe_definition,
            "StopPipelineExecution": self.stop,
            "RetryPipelineExecution": self.retry,
        }

    def start(self, request: Document) -> Document:
        """StartPipelineExecution. The same ClientRequestToken again answers the same execution, for ever."""
        unknown = [option for option in _UNKNOWN_OPTIONS if option in request]
        if unknown:
            raise validation(f"sagemaker_local does not know {unknown[0]} of StartPipelineExecution")
        pipeline = self._pipelines.find(request["PipelineName"])
        scope, token = f"execution/{pipeline['PipelineArn']}", request["ClientRequestToken"]
        with self._store.transaction():
            known = self._store.remembered(scope, token)
            if known:
                return {"PipelineExecutionArn": known}
            arn = self._insert(pipeline, request)
            self._store.remember(scope, token, arn)
        self._runner.start(arn)
        return {"PipelineExecutionArn": arn}

    def _insert(self, pipeline: Document, request: Document) -> str:
        given = {item["Name"]: item["Value"] for item in request.get("PipelineParameters", [])}
        definition = parse_definition(pipeline["PipelineDefinition"])
        arn = self._names.execution_arn(pipeline["PipelineName"], random_id())
        document = {
            "_name": arn,
            "_pipeline_name": pipeline["PipelineName"],
            "_definition": pipeline["PipelineDefinition"],
            "_parameters": _parameter_values(definition, given),
            "PipelineArn": pipeline["PipelineArn"],
            "PipelineExecutionArn": arn,
            "PipelineExecutionDisplayName": request.get("PipelineExecutionDisplayName", f"execution-{random_id()}"),
            "PipelineExecutionDescription": request.get("PipelineExecutionDescription"),
            "PipelineExecutionStatus": "Executing",
            "RoleArn": request.get("RoleArn", pipeline["RoleArn"]),
            "ParallelismConfiguration": request.get(
                "ParallelismConfiguration", pipeline.get("ParallelismConfiguration", {})
            ),
        }
        document = {key: value for key, value in document.items() if value not in (None, {}) or key[0] == "_"}
        self._store.insert("execution", arn, document, parent=pipeline["PipelineArn"])
        return arn

    def list_executions(self, request: Document) -> Document:
        """ListPipelineExecutions, newest first unless asked otherwise."""
        pipeline = self._pipelines.find(request["PipelineName"])
        executions = self._store.documents("execution", parent=pipeline["PipelineArn"])
        shown, token = page(executions, request, name="PipelineExecutionArn")
        summaries = [
            item | {"StartTime": item["CreationTime"], "PipelineExecutionFailureReason": item.get("FailureReason")}
            for item in shown
        ]
        return {"PipelineExecutionSummaries": summaries, "NextToken": token}

    def describe(self, request: Document) -> Document:
        """DescribePipelineExecution."""
        return self._find(request)

    def update(self, request: Document) -> Document:
        """UpdatePipelineExecution: its display name, description, parallelism."""
        execution = self._find(request)
        self._store.update("execution", execution["PipelineExecutionArn"], request)
        return {"PipelineExecutionArn": execution["PipelineExecutionArn"]}

    def list_steps(self, request: Document) -> Document:
        """ListPipelineExecutionSteps: the steps that have begun, newest first unless asked otherwise."""
        execution = self._find(request)
        steps = self._store.documents("step", parent=execution["PipelineExecutionArn"])
        shown, token = page(steps, request, name="StepName")
        return {"PipelineExecutionSteps": shown, "NextToken": token}

    def list_parameters(self, request: Document) -> Document:
        """ListPipelineParametersForExecution: every parameter, given or default."""
        execution = self._find(request)
        values = [
            {"Name": name, "Value": as_text(value), "CreationTime": 0.0}
            for name, value in execution["_parameters"].items()
        ]
        shown, token = page(values, request, name="Name", sort_order="Ascending")
        return {"PipelineParameters": shown, "NextToken": token}

    def describe_definition(self, request: Document) -> Document:
        """DescribePipelineDefinitionForExecution: the definition as it was when the execution began."""
        execution = self._find(request)
        return {"PipelineDefinition": execution["_definition"], "CreationTime": execution["CreationTime"]}

    def stop(self, request: Document) -> Document:
        """StopPipelineExecution: running jobs are ended, nothing new begins."""
        execution = self._find(request)
        arn = execution["PipelineExecutionArn"]
        with self._store.transaction():
            if self._find(request)["PipelineExecutionStatus"] not in ("Executing", "Stopping"):
                status = execution["PipelineExecutionStatus"]
                raise validation(
                    f"Pipeline execution with ARN {arn} has status {status}. "
                    'Only pipelines with "Executing" status can be stopped.'
                )
            self._store.update("execution", arn, {"PipelineExecutionStatus": "Stopping"})
        self._runner.stop(arn)
        return {"PipelineExecutionArn": arn}

    def retry(self, request: Document) -> Document:
        """RetryPipelineExecution: steps that succeeded stay, the others run again, with the same parameters."""
        arn = self._find(request)["PipelineExecutionArn"]
        scope, token = f"retry/{arn}", request["ClientRequestToken"]
        with self._store.transaction():
            if self._store.remembered(scope, token):
                return {"PipelineExecutionArn": arn}
            status = self._find(request)["PipelineExecutionStatus"]
            if status not in ("Failed", "Stopped"):
                raise validation(
                    f"Pipeline execution with ARN {arn} has status {status}. "
                    "Only failed or stopped executions can be retried."
                )
            self._store.update("execution", arn, {"PipelineExecutionStatus": "Executing", "FailureReason": None})
            self._store.remember(scope, token, arn)
        self._runner.start(arn)
        return {"PipelineExecutionArn": arn}

    def _find(self, request: Document) -> Document:
        arn = request.get("PipelineExecutionArn")
        if arn is None:
            raise validation("PipelineExecutionArn is required.")
        execution = self._store.get("execution", arn)
        if execution is None:
            raise not_found(f"Pipeline execution with ARN {arn} (id {execution_id(arn)}) does not exist.")
        return execution


def _parameter_values(definition: Definition, given: dict[str, str]) -> dict[str, Any]:
    """Every parameter's value, typed; ValidationException names what is unknown, missing or wrong."""
    unknown = sorted(set(given) - set(definition.parameters))
    if unknown:
        raise validation(f"Assembly: pipeline parameters are not defined in the pipeline: {json.dumps(unknown)}")
    values = {name: _value(parameter, given.get(name)) for name, parameter in definition.parameters.items()}
    missing = sorted(name for name, value in values.items() if value is None)
    if missing:
        raise validation(f"Parameters {json.dumps(missing)} do not have default value and no value was given.")
    return values


def _value(parameter: Parameter, text: str | None) -> Any:  # noqa: ANN401 - text, number, boolean or None
    if text is None:
        return parameter.default
    try:
        return parameter_value(parameter, text)
    except DefinitionError as error:
        raise validation(str(error)) from error
