"""CloudFormation types that moto lacks, each as much as a test can ask about.

What moto has an API for is really made there; the rest is remembered. moto knows a class as soon as it is a direct
subclass of its CloudFormationModel and its module lies in a package.
"""

import json
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import boto3
from moto.cloudformation import parsing
from moto.core.common_models import CloudFormationModel

ACCOUNT = "123456789012"
Properties = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Made:
    """What came of a resource: what Ref gives, and what GetAtt does."""

    id: str
    attributes: Mapping[str, str] = field(default_factory=dict)
    delete: Callable[[], object] = lambda: None


def client_of(service: str, region: str) -> Any:
    return boto3.client(service, region_name=region)  # type: ignore[call-overload]


def _bucket_policy(name: str, properties: Properties, region: str) -> Made:
    # Only remembered: moto does not look at conditions, and "Deny unless TLS" would lock everybody out.
    return Made(properties["Bucket"])


def _secret(name: str, properties: Properties, region: str) -> Made:
    client, wanted = client_of("secretsmanager", region), properties["GenerateSecretString"]
    value = json.loads(wanted["SecretStringTemplate"])
    value[wanted["GenerateStringKey"]] = secrets.token_hex(wanted["PasswordLength"] // 2)
    arn = client.create_secret(Name=name, SecretString=json.dumps(value), Description=properties["Description"])["ARN"]
    return Made(arn, delete=lambda: client.delete_secret(SecretId=arn))


def _pipeline(name: str, properties: Properties, region: str) -> Made:
    client = client_of("sagemaker", region)
    request = {
        "PipelineName": properties["PipelineName"],
        "RoleArn": properties["RoleArn"],
        "PipelineDescription": properties["PipelineDescription"],
    }
    location = properties["PipelineDefinition"]["PipelineDefinitionS3Location"]
    place = {"Bucket": location["Bucket"], "ObjectKey": location["Key"]}
    known = {each["PipelineName"] for each in client.list_pipelines()["PipelineSummaries"]}
    if properties["PipelineName"] in known:
        # moto reads no definition from S3 when it updates.
        body = (
            client_of("s3", region).get_object(Bucket=location["Bucket"], Key=location["Key"])["Body"].read().decode()
        )
        client.update_pipeline(**request, PipelineDefinition=body)
    else:
        client.create_pipeline(**request, PipelineDefinitionS3Location=place, ClientRequestToken=secrets.token_hex(32))
    return Made(
        properties["PipelineName"], delete=lambda: client.delete_pipeline(PipelineName=properties["PipelineName"])
    )


def _subscription(name: str, properties: Properties, region: str) -> Made:
    answer = client_of("sns", region).subscribe(**properties, ReturnSubscriptionArn=True)
    return Made(answer["SubscriptionArn"])


def _topic_policy(name: str, properties: Properties, region: str) -> Made:
    for topic in properties["Topics"]:
        client_of("sns", region).set_topic_attributes(
            TopicArn=topic, AttributeName="Policy", AttributeValue=json.dumps(properties["PolicyDocument"])
        )
    return Made(name)


def _alarm(name: str, properties: Properties, region: str) -> Made:
    client_of("cloudwatch", region).put_metric_alarm(AlarmName=name, **properties)
    return Made(name)


def _budget(name: str, properties: Properties, region: str) -> Made:
    budget = properties["Budget"]
    limit = {**budget["BudgetLimit"], "Amount": str(budget["BudgetLimit"]["Amount"])}
    client = client_of("budgets", region)
    client.create_budget(
        AccountId=ACCOUNT,
        Budget={**budget, "BudgetLimit": limit},
        NotificationsWithSubscribers=properties["NotificationsWithSubscribers"],
    )
    made = budget["BudgetName"]
    return Made(made, delete=lambda: client.delete_budget(AccountId=ACCOUNT, BudgetName=made))


def _stage(name: str, properties: Properties, region: str) -> Made:
    deployment = properties["DeploymentId"]  # moto's own object, which does not say what Ref is to give
    client_of("apigateway", region).create_stage(
        restApiId=properties["RestApiId"], stageName=properties["StageName"], deploymentId=deployment.id
    )
    return Made(properties["StageName"])


def _authorizer(name: str, properties: Properties, region: str) -> Made:
    answer = client_of("apigateway", region).create_authorizer(
        restApiId=properties["RestApiId"],
        name=properties["Name"],
        type=properties["Type"],
        authorizerUri=properties["AuthorizerUri"],
        identitySource=properties["IdentitySource"],
        authorizerResultTtlInSeconds=properties["AuthorizerResultTtlInSeconds"],
    )
    return Made(answer["id"])


def _invoke_config(name: str, properties: Properties, region: str) -> Made:
    client_of("lambda", region).put_function_event_invoke_config(**properties)
    return Made(name)


def _express_service(name: str, properties: Properties, region: str) -> Made:
    service = properties["ServiceName"]
    arn = f"arn:aws:ecs:{region}:{ACCOUNT}:service/default/{service}"
    return Made(arn, {"ServiceArn": arn, "Endpoint": f"{service[:2]}-{secrets.token_hex(16)}.ecs.{region}.on.aws"})


_TYPES: Mapping[str, Callable[[str, Properties, str], Made]] = {
    "AWS::S3::BucketPolicy": _bucket_policy,
    "AWS::SecretsManager::Secret": _secret,
    "AWS::SageMaker::Pipeline": _pipeline,
    "AWS::SNS::Subscription": _subscription,
    "AWS::SNS::TopicPolicy": _topic_policy,
    "AWS::CloudWatch::Alarm": _alarm,
    "AWS::Budgets::Budget": _budget,
    "AWS::ApiGateway::Stage": _stage,
    "AWS::ApiGateway::Authorizer": _authorizer,
    "AWS::Lambda::EventInvokeConfig": _invoke_config,
    "AWS::ECS::ExpressGatewayService": _express_service,
}
# What no update of ours may make anew.
_KEPT = {"AWS::SecretsManager::Secret", "AWS::ECS::ExpressGatewayService", "AWS::ApiGateway::Stage"}


class _Added:
    """What moto asks of a resource, beside being a subclass of its model."""

    kind: str
    make: Callable[[str, Properties, str], Made]

    def __init__(self, made: Made) -> None:
        self.made = made

    @property
    def physical_resource_id(self) -> str:
        return self.made.id

    def is_created(self) -> bool:
        return True

    def get_cfn_attribute(self, name: str) -> str:
        return self.made.id if name in {"Arn", "Id"} else self.made.attributes[name]

    def delete(self, account_id: str, region_name: str) -> None:
        self.made.delete()

    @classmethod
    def has_cfn_attr(cls, attr: str) -> bool:
        return True

    @staticmethod
    def cloudformation_name_type() -> str:
        return ""

    @classmethod
    def create_from_cloudformation_json(
        cls, resource_name: str, cloudformation_json: Any, account_id: str, region_name: str, **kwargs: object
    ) -> "_Added":
        return cls(cls.make(resource_name, cloudformation_json["Properties"], region_name))

    @classmethod
    def update_from_cloudformation_json(
        cls,
        original_resource: "_Added",
        new_resource_name: str,
        cloudformation_json: Any,
        account_id: str,
        region_name: str,
    ) -> "_Added":
        if cls.kind in _KEPT:
            return original_resource
        if cls.kind == "AWS::SageMaker::Pipeline":
            # CloudFormation asks for what it is to update: NotFound, and the stack is rolled back.
            client_of("sagemaker", region_name).describe_pipeline(PipelineName=original_resource.made.id)
        return cls(cls.make(original_resource.made.id, cloudformation_json["Properties"], region_name))


def _added(kind: str, make: Callable[[str, Properties, str], Made]) -> type:
    """A direct subclass, which is what moto looks for."""
    body = {
        **{name: value for name, value in vars(_Added).items() if name not in {"__dict__", "__weakref__"}},
        "__module__": __name__,
        "kind": kind,
        "make": staticmethod(make),
        "cloudformation_type": staticmethod(lambda: kind),
    }
    metaclass: Any = type(CloudFormationModel)
    made: type = metaclass(kind.replace("::", ""), (CloudFormationModel,), body)
    return made


_CLASSES: list[type] = []  # moto holds them weakly


def add_types() -> None:
    """Make them known to moto, once."""
    if _CLASSES:
        return
    known = {model.cloudformation_type() for model in CloudFormationModel.__subclasses__()}
    _CLASSES.extend(_added(kind, make) for kind, make in _TYPES.items() if kind not in known)
    for cached in (parsing.get_model_list, parsing.get_model_map, parsing.get_name_type_map):
        cached.cache_clear()
