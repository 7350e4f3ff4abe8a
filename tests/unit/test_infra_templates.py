"""What no linter finds in the templates: our own rules, and that each of them finds its fault."""

import copy
from collections.abc import Callable
from dataclasses import fields
from typing import Any

import pytest

from backend.config import Settings
from tests.infra import templates
from tests.infra.account import satisfies
from tests.infra.rules import faults
from tests.infra.templates import Template

Change = Callable[[dict[str, Any]], object]
# CloudFormation takes a template of this size with the request; a larger one would have to lie in S3 before.
INLINE = 51_200
# A template's parameter, and the setting that it is.
SETTINGS = {
    "TrainEvery": "start_training_each_n_updates",
    "MinimumMIoU": "minimum_miou",
    "MIoUTolerance": "miou_tolerance",
    "TrainingCooldownSeconds": "training_cooldown_seconds",
    "MaxTrainingsPerDay": "max_trainings_per_day",
    "EndpointInstanceType": "sagemaker_instance_type",
    "ModelName": "model_name",
    "S3Prefix": "s3_prefix",
    "AnnotationsPrefix": "annotations_prefix",
    "DeployEndpoints": "deploy_endpoints",
    "LogLevel": "log_level",
}


@pytest.mark.parametrize("name", templates.NAMES)
def test_a_template_has_no_fault(name: str):
    assert faults(templates.load(name)) == []


@pytest.mark.parametrize("name", templates.NAMES)
def test_a_template_can_be_handed_over_with_the_request(name: str):
    assert templates.path(name).stat().st_size < INLINE


@pytest.mark.parametrize("name", templates.NAMES)
def test_a_template_has_the_defaults_that_the_settings_have(name: str):
    defaults = {field.name: field.default for field in fields(Settings)}
    slots = templates.load(name)["Parameters"]
    shared = SETTINGS.keys() & slots.keys()
    assert {each: slots[each]["Default"] for each in shared} == {
        each: written(defaults[SETTINGS[each]]) for each in shared
    }


def written(value: Any) -> Any:
    """A setting's value as a template has it, which knows no booleans."""
    return str(value).lower() if isinstance(value, bool) else value


def test_core_is_named_as_the_backend_is_by_default():
    slots = templates.load("core")["Parameters"]
    assert slots["Name"]["Default"] == Settings.__dataclass_fields__["sagemaker_pipeline"].default


@pytest.mark.parametrize("name", templates.NAMES)
def test_a_parameter_takes_its_own_default(name: str):
    slots = templates.load(name)["Parameters"]
    refused = [each for each, slot in slots.items() if "Default" in slot and not satisfies(slot, str(slot["Default"]))]
    assert refused == []


def test_parameters_of_the_same_name_are_the_same_in_all_templates():
    loaded = [templates.load(name)["Parameters"] for name in templates.NAMES]
    for name in {each for slots in loaded for each in slots}:
        patterns = {str(slots[name].get("AllowedPattern")).removeprefix("^$|") for slots in loaded if name in slots}
        assert len(patterns) == 1, name


def test_the_container_has_a_size_that_fargate_has():
    """By AWS's table of task sizes, as far as the parameters go."""
    template = templates.load("container")
    sizes = {
        (cpu, memory)
        for cpu in template["Parameters"]["Cpu"]["AllowedValues"]
        for memory in template["Parameters"]["Memory"]["AllowedValues"]
        if all(holds(rule, cpu, memory) for rule in template["Rules"].values())
    }
    assert {(int(cpu), int(memory)) for cpu, memory in sizes} == {
        *((512, 1024), (512, 2048), (512, 4096)),
        *((1024, 2048), (1024, 4096), (1024, 8192)),
        *((2048, 4096), (2048, 8192)),
        (4096, 8192),
    }


def holds(rule: dict[str, Any], cpu: str, memory: str) -> bool:
    """Whether a rule of the form "with this Cpu one of these Memory" lets a pair through."""
    assert rule["RuleCondition"]["Fn::Equals"][0] == {"Ref": "Cpu"}
    ((allowed, of),) = [each["Assert"]["Fn::Contains"] for each in rule["Assertions"]]
    assert of == {"Ref": "Memory"}
    return rule["RuleCondition"]["Fn::Equals"][1] != cpu or memory in allowed


def resource(template: Template, name: str) -> dict[str, Any]:
    properties: dict[str, Any] = template["Resources"][name]["Properties"]
    return properties


def statement(template: Template, policy: str, sid: str) -> dict[str, Any]:
    properties = resource(template, policy)
    documents = [properties] if "PolicyDocument" in properties else properties["Policies"]
    found: dict[str, Any] = next(
        each for document in documents for each in document["PolicyDocument"]["Statement"] if each["Sid"] == sid
    )
    return found


def at(template: Template, path: str) -> tuple[dict[str, Any], str]:
    """The dictionary that holds the last part of a path, and that part."""
    *parts, last = path.split("/")
    holder: Any = template["Resources"]
    for part in parts:
        holder = holder[int(part)] if isinstance(holder, list) else holder[part]
    return holder, last


def put(path: str, value: object) -> Change:
    def change(template: Template) -> None:
        holder, last = at(template, path)
        holder[last] = value

    return change


def drop(path: str) -> Change:
    def change(template: Template) -> None:
        holder, last = at(template, path)
        del holder[last]

    return change


def grant(policy: str, sid: str, **changes: object) -> Change:
    return lambda template: statement(template, policy, sid).update(changes)


def rename(path: str, new: str) -> Change:
    def change(template: Template) -> None:
        holder, last = at(template, path)
        holder[new] = holder.pop(last)

    return change


BUCKET = {"Fn::GetAtt": ["Bucket", "Arn"]}
PIPELINE = {"Fn::Sub": "arn:${AWS::Partition}:sagemaker:${AWS::Region}:${AWS::AccountId}:pipeline/${Name}"}
FULL_ACCESS = "arn:aws:iam::aws:policy/AmazonSageMakerFullAccess"
PATTERN = "Properties/EventPattern"
MUTANTS: list[tuple[str, str, Change, str]] = [
    ("full access", "core", put("SageMakerRole/Properties/ManagedPolicyArns", [FULL_ACCESS]), "FullAccess is AWS's"),
    ("every action", "core", grant("BackendPolicy", "UsePipeline", Action="sagemaker:*"), "more than one action"),
    (
        "executions of the pipeline itself",
        "core",
        grant("BackendPolicy", "WatchExecutions", Resource=PIPELINE),
        "DescribePipelineExecution is not for",
    ),
    (
        "objects of a bucket's ARN",
        "core",
        grant("LabelStudioStoragePolicy", "ReadImages", Resource=BUCKET),
        "is not for",
    ),
    (
        "listing of objects",
        "core",
        grant("BackendPolicy", "LookIntoBucket", Resource={"Fn::Sub": "${Bucket.Arn}/*"}),
        "s3:ListBucket is not for",
    ),
    ("everything", "core", grant("BackendPolicy", "ReadMetricsOfTrainings", Resource="*"), "is not for *"),
    ("any role", "core", grant("BackendPolicy", "HandRoleToSageMaker", Resource="arn:aws:iam::1:role/*"), "any role"),
    (
        "any service",
        "core",
        lambda t: statement(t, "SageMakerPolicy", "HandRoleToJobs").pop("Condition"),
        "any service",
    ),
    ("a role's name", "core", put("SageMakerRole/Properties/RoleName", "birds"), "in another region"),
    (
        "a role for any account",
        "core",
        drop("SageMakerRole/Properties/AssumeRolePolicyDocument/Statement/0/Condition"),
        "for whichever account",
    ),
    (
        "a condition on EventBridge",
        "core",
        put("TopicPolicy/Properties/PolicyDocument/Statement/0/Condition", {"ArnLike": {"aws:SourceArn": "*"}}),
        "loses it",
    ),
    (
        "no word of EventBridge",
        "core",
        lambda t: resource(t, "TopicPolicy")["PolicyDocument"]["Statement"].pop(0),
        "EventBridge may not publish",
    ),
    ("detailtype", "core", rename(f"ExecutionRule/{PATTERN}/detail-type", "detailtype"), "wanted source, detail-type"),
    ("another source", "core", put(f"EndpointRule/{PATTERN}/source", ["aws.sagemakr"]), "wanted source"),
    (
        "a member in upper case",
        "core",
        rename(f"ExecutionRule/{PATTERN}/detail/pipelineArn", "PipelineArn"),
        "have no PipelineArn",
    ),
    (
        "a member in lower case",
        "trigger",
        rename(f"ModelPackageRule/{PATTERN}/detail/ModelPackageGroupName", "modelPackageGroupName"),
        "have no modelPackageGroupName",
    ),
    (
        "another kind of event",
        "core",
        put(f"EndpointRule/{PATTERN}/detail-type", ["SageMaker Endpoint Status Change"]),
        "have no EndpointName",
    ),
    ("a rule without permission", "trigger", drop("ExecutionPermission/Properties/SourceArn"), "may not call"),
    (
        "a rule with permission for another function",
        "trigger",
        put("WarmPermission/Properties/FunctionName", {"Fn::GetAtt": ["Function", "Arn"]}),
        "may not call AuthorizerFunction",
    ),
    ("nobody told of a function's errors", "trigger", drop("AuthorizerAlarm"), "nobody is told when it fails"),
    ("a permission for all", "trigger", drop("WebhookPermission/Properties/SourceArn"), "the one who may call"),
    ("an open API", "trigger", put("WebhookMethod/Properties/AuthorizationType", "NONE"), "anybody can start"),
    ("no proxy", "trigger", put("WebhookMethod/Properties/Integration/Type", "AWS"), "although the function ran"),
    ("a long wait", "trigger", put("WebhookMethod/Properties/Integration/TimeoutInMillis", 60000), "29 seconds"),
    ("no throttle", "trigger", drop("Stage/Properties/MethodSettings"), "no throttle"),
    ("a method that changed", "trigger", put("WebhookMethod/Properties/ApiKeyRequired", True), "call its deployment"),
    ("an old Python", "trigger", put("Function/Properties/Runtime", "python3.8"), "takes no new functions"),
    ("a log for ever", "trigger", put("FunctionLogs/Properties/LogGroupName", "/other"), "kept for ever"),
    (
        "a setting that nobody reads",
        "trigger",
        put("Function/Properties/Environment/Variables/TRAIN_EVERY", "16"),
        "reads no TRAIN_EVERY",
    ),
    ("images deleted", "core", put("Bucket/DeletionPolicy", "Delete"), "deleted with the stack"),
    ("images deleted unsaid", "core", drop("Bucket/UpdateReplacePolicy"), "deleted with the stack"),
    ("a kept bucket without TLS", "core", drop("BucketPolicy/DeletionPolicy"), "without TLS"),
    ("a named secret", "core", put("Secret/Properties/Name", "birds"), "keeps its name"),
    ("a skip without a reason", "core", put("Bucket/Metadata/checkov/skip/0/comment", ""), "without a reason"),
    ("capitals", "core", lambda t: t["Parameters"]["Name"].update(AllowedPattern="^[A-Za-z0-9-]+$"), "capital letters"),
    ("a parameter for nothing", "core", lambda t: t["Parameters"].update(Extra={"Type": "String"}), "is never used"),
    ("a parameter without words", "core", lambda t: t["Parameters"]["Name"].pop("Description"), "says nothing"),
    (
        "a parameter without a pattern",
        "core",
        lambda t: t["Parameters"]["BucketName"].pop("AllowedPattern"),
        "anything",
    ),
]


@pytest.mark.parametrize(("name", "change", "found"), [each[1:] for each in MUTANTS], ids=[each[0] for each in MUTANTS])
def test_a_fault_is_found(name: str, change: Change, found: str):
    template = copy.deepcopy(templates.load(name))
    change(template)
    assert any(found in fault for fault in faults(template)), faults(template)
