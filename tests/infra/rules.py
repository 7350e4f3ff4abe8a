"""Faults of a template that neither cfn-lint nor checkov finds, each with the harm that it would do on AWS."""

import contextlib
import functools
import hashlib
import json
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from backend.config import Settings
from backend.errors import SettingsError
from tests.infra.resolving import resolved
from tests.infra.rules_of_policies import POLICY_RULES
from tests.infra.templates import Faults, Template, resources

_RUNTIMES = {"python3.12", "python3.13"}
_DETAILS = {
    "SageMaker Model Building Pipeline Execution Status Change": {
        *("pipelineArn", "pipelineExecutionArn", "pipelineExecutionDisplayName", "pipelineExecutionDescription"),
        *("currentPipelineExecutionStatus", "previousPipelineExecutionStatus"),
        *("executionStartTime", "executionEndTime"),
    },
    "SageMaker Model Package State Change": {
        *("ModelPackageGroupName", "ModelPackageVersion", "ModelPackageArn"),
        *("ModelPackageStatus", "ModelApprovalStatus"),
    },
    "SageMaker Endpoint State Change": {"EndpointName", "EndpointConfigName", "EndpointStatus"},
}


def faults(template: Template) -> list[str]:
    """What is wrong with it, one line each."""
    made = resolved(template)
    found = [fault for rule in (*POLICY_RULES, *_RULES) for fault in rule(made)]
    return [*found, *(fault for rule in _AS_WRITTEN for fault in rule(template))]


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


# ---- notifications and events --------------------------------------------------------------------------------------


def _topic_policy(template: Template) -> Faults:
    """EventBridge gives SNS nothing to compare with: under a condition messages vanish."""
    for name, properties in resources(template, "AWS::SNS::TopicPolicy").items():
        services: list[str] = []
        for statement in properties["PolicyDocument"]["Statement"]:
            principals = _listed(statement["Principal"]["Service"])
            services += principals
            if "events.amazonaws.com" in principals and "Condition" in statement:
                yield f"{name}: a condition on what EventBridge publishes loses it"
        if resources(template, "AWS::Events::Rule") and "events.amazonaws.com" not in services:
            yield f"{name}: EventBridge may not publish"


def _event_patterns(template: Template) -> Faults:
    """A misspelt member matches no event, in silence."""
    for name, properties in resources(template, "AWS::Events::Rule").items():
        pattern = properties.get("EventPattern")
        if pattern is None:
            continue
        if set(pattern) != {"source", "detail-type", "detail"} or pattern["source"] != ["aws.sagemaker"]:
            yield f"{name}: wanted source, detail-type and detail of SageMaker, got {', '.join(pattern)}"
            continue
        for kind in pattern["detail-type"]:
            if strange := set(pattern["detail"]) - _DETAILS.get(kind, set()):
                yield f"{name}: events of the kind {kind!r} have no {', '.join(sorted(strange))}"


def _targets(template: Template) -> Faults:
    """EventBridge drops what it may not deliver."""
    functions = resources(template, "AWS::Lambda::Function")
    permissions = resources(template, "AWS::Lambda::Permission").values()
    allowed = [(each.get("SourceArn"), each["FunctionName"]) for each in permissions]
    for name, properties in resources(template, "AWS::Events::Rule").items():
        for target in properties["Targets"]:
            function = target["Arn"].get("Fn::GetAtt", [""])[0]
            if function in functions and ({"Fn::GetAtt": [name, "Arn"]}, target["Arn"]) not in allowed:
                yield f"{name}: may not call {function}"


def _permissions(template: Template) -> Faults:
    """Without a source any API or rule of any account could call."""
    for name, properties in resources(template, "AWS::Lambda::Permission").items():
        if "SourceArn" not in properties or "*" in str(properties["SourceArn"]):
            yield f"{name}: wanted the ARN of the one who may call"


# ---- the API -------------------------------------------------------------------------------------------------------


def _methods(template: Template) -> Faults:
    for name, properties in resources(template, "AWS::ApiGateway::Method").items():
        integration = properties["Integration"]
        if properties["AuthorizationType"] != "CUSTOM":
            yield f"{name}: anybody can start trainings"
        if integration["Type"] != "AWS_PROXY":
            yield f"{name}: without responses of its own API Gateway answers an error although the function ran"
        if not 50 <= integration.get("TimeoutInMillis", 29000) <= 29000:
            yield f"{name}: API Gateway waits for 29 seconds at most"


def _throttle(template: Template) -> Faults:
    for name, properties in resources(template, "AWS::ApiGateway::Stage").items():
        settings = properties.get("MethodSettings", [])
        if not any(each.get("ThrottlingRateLimit") for each in settings):
            yield f"{name}: no throttle, so that a flood of requests takes all of the account's executions"


def _deployment(template: Template) -> Faults:
    """A deployment never changes: its name must, when the API does."""
    wanted = deployment_name(template)
    for name in resources(template, "AWS::ApiGateway::Deployment"):
        if name != wanted:
            yield f"{name}: the API has changed, so call its deployment {wanted}"


def deployment_name(template: Template) -> str:
    """``Deployment`` with a digest of everything that is in the picture of the API."""
    kinds = ("RestApi", "Resource", "Method", "Authorizer")
    parts = [resources(template, f"AWS::ApiGateway::{kind}") for kind in kinds]
    return "Deployment" + hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:8]


# ---- functions and containers --------------------------------------------------------------------------------------


def _functions(template: Template) -> Faults:
    for name, properties in resources(template, "AWS::Lambda::Function").items():
        if properties["Runtime"] not in _RUNTIMES:
            yield f"{name}: AWS takes no new functions for {properties['Runtime']}, or soon will not"
        if len(properties["Code"].get("ZipFile", "")) > 4096:
            yield f"{name}: code in a template has at most 4,096 characters"
        if f"/aws/lambda/{properties['FunctionName']}" not in str(resources(template, "AWS::Logs::LogGroup")):
            yield f"{name}: its log would be kept for ever"


def _watched(template: Template) -> Faults:
    """A function that fails at its start answers nothing, and its log is all that tells of it."""
    alarms = resources(template, "AWS::CloudWatch::Alarm").values()
    watched = [each["Value"] for alarm in alarms for each in alarm.get("Dimensions", [])]
    for name in resources(template, "AWS::Lambda::Function"):
        if {"Ref": name} not in watched:
            yield f"{name}: nobody is told when it fails"


def _variables(template: Template) -> Iterator[tuple[str, str]]:
    for name, properties in resources(template, "AWS::Lambda::Function").items():
        yield from ((name, each) for each in properties.get("Environment", {}).get("Variables", {}))
    for name, properties in resources(template, "AWS::ECS::ExpressGatewayService").items():
        container = properties["PrimaryContainer"]
        yield from ((name, each["Name"]) for each in (*container["Environment"], *container["Secrets"]))


@functools.cache
def _settings() -> frozenset[str]:
    """The names that the backend looks for in its environment."""

    class Asked(dict[str, str]):
        def __missing__(self, name: str) -> str:
            raise KeyError(name)

        def get(self, name: str, default: Any = None) -> Any:
            self[name] = ""
            return default

    asked = Asked()
    for label_studio in (True, False):  # the service, and the function, which never asks Label Studio
        with contextlib.suppress(SettingsError):
            Settings.from_env(asked, writes=False, label_studio=label_studio)
    return frozenset(asked)


def _known_variables(template: Template) -> Faults:
    """A setting that nobody reads does nothing."""
    own = {"SECRET_ARN", "ALLOWED_IPS"}  # the authorizer's
    boto3s = {"AWS_DEFAULT_REGION"}
    for name, variable in _variables(template):
        if variable not in _settings() | own | boto3s:
            yield f"{name}: the backend reads no {variable}"


# ---- the bucket, the secret ----------------------------------------------------------------------------------------


def _kept(template: Template) -> Faults:
    lost = {
        "AWS::S3::Bucket": "images and annotations would be deleted with the stack",
        "AWS::S3::BucketPolicy": "the bucket that is kept would take requests without TLS",
    }
    for name, resource in template["Resources"].items():
        policies = {resource.get("DeletionPolicy"), resource.get("UpdateReplacePolicy")}
        if resource["Type"] in lost and not policies <= {"Retain", "RetainExceptOnCreate"}:
            yield f"{name}: {lost[resource['Type']]}"


def _secret_names(template: Template) -> Faults:
    for name, properties in resources(template, "AWS::SecretsManager::Secret").items():
        if "Name" in properties:
            yield f"{name}: a deleted secret keeps its name for days, so that the stack could not be made again"


# ---- the template as a text ----------------------------------------------------------------------------------------


def _parameters(template: Template) -> Faults:
    body = json.dumps({name: part for name, part in template.items() if name not in {"Parameters", "Metadata"}})
    for name, slot in template["Parameters"].items():
        if not slot.get("Description"):
            yield f"{name}: says nothing of itself"
        if not re.search(rf'"Ref": "{name}"|\$\{{{name}\}}', body):
            yield f"{name}: is never used"
        if slot["Type"] == "String" and not slot.keys() & {"AllowedPattern", "AllowedValues"}:
            yield f"{name}: takes anything"
        if "AllowedPattern" in slot and "ConstraintDescription" not in slot:
            yield f"{name}: does not say what it wants"


def _lower_case(template: Template) -> Faults:
    """SageMaker writes names in lower case into ARNs; policies and event patterns compare with case."""
    for name in ("Name", "PipelineName"):
        slot = template["Parameters"].get(name)
        if slot and re.fullmatch(slot.get("AllowedPattern", ".*"), "Birds"):
            yield f"{name}: takes capital letters"


def _skips(template: Template) -> Faults:
    for name, resource in template["Resources"].items():
        for skip in resource.get("Metadata", {}).get("checkov", {}).get("skip", []):
            if len(skip.get("comment", "")) < 20:
                yield f"{name}: leaves out {skip['id']} without a reason"


_RULES: Sequence[Callable[[Template], Faults]] = (
    *(_topic_policy, _event_patterns, _methods, _throttle, _functions, _known_variables),
    *(_kept, _secret_names),
)
# These look at the functions in a template, not at what comes of them.
_AS_WRITTEN: Sequence[Callable[[Template], Faults]] = (
    *(_targets, _permissions, _watched, _deployment, _parameters, _lower_case, _skips),
)
