"""A template with its functions resolved as far as rules need: ARNs have their shapes, the rest are stand-ins."""

import re
from collections.abc import Mapping
from typing import Any

from tests.infra.account import ACCOUNT, REGION
from tests.infra.templates import Template

_NOTHING = object()
_PSEUDO = {
    "AWS::AccountId": ACCOUNT,
    "AWS::Region": REGION,
    "AWS::Partition": "aws",
    "AWS::URLSuffix": "amazonaws.com",
    "AWS::StackName": "stack",
    "AWS::NoValue": _NOTHING,
}
_HERE = f"{REGION}:{ACCOUNT}"
_ARNS = {
    "AWS::S3::Bucket": "arn:aws:s3:::bucket",
    "AWS::IAM::Role": f"arn:aws:iam::{ACCOUNT}:role/role",
    "AWS::IAM::ManagedPolicy": f"arn:aws:iam::{ACCOUNT}:policy/policy",
    "AWS::Logs::LogGroup": f"arn:aws:logs:{_HERE}:log-group:group:*",
    "AWS::Lambda::Function": f"arn:aws:lambda:{_HERE}:function:function",
    "AWS::Events::Rule": f"arn:aws:events:{_HERE}:rule/rule",
    "AWS::SNS::Topic": f"arn:aws:sns:{_HERE}:topic",
    "AWS::SecretsManager::Secret": f"arn:aws:secretsmanager:{_HERE}:secret:secret",
}
# Of these Ref gives the ARN.
_REF_IS_ARN = {"AWS::SNS::Topic", "AWS::SecretsManager::Secret", "AWS::IAM::ManagedPolicy"}
_PARAMETERS = {
    "SecretArn": _ARNS["AWS::SecretsManager::Secret"],
    "TopicArn": _ARNS["AWS::SNS::Topic"],
    "BackendPolicyArn": _ARNS["AWS::IAM::ManagedPolicy"],
    "SageMakerRoleArn": _ARNS["AWS::IAM::Role"],
    "ImageRepositoryArn": f"arn:aws:ecr:{_HERE}:repository/segmenter",
    "ImageUri": f"{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com/backend:1",
    "Name": "birds",
    "PipelineName": "birds",
}


def resolved(template: Template) -> Template:
    """*template* with every condition taken for true."""
    known = {name: resource["Type"] for name, resource in template["Resources"].items()}
    answer: Template = _Resolver(known).value(template)
    return answer


class _Resolver:
    def __init__(self, types: Mapping[str, str]) -> None:
        self._types = types

    def value(self, given: Any) -> Any:
        if isinstance(given, list):
            return [each for each in map(self.value, given) if each is not _NOTHING]
        if not isinstance(given, dict):
            return given
        if len(given) == 1:
            name, argument = next(iter(given.items()))
            function = getattr(self, f"_{name.removeprefix('Fn::').lower()}", None)
            if function and (name == "Ref" or name.startswith("Fn::")):
                return function(argument)
        values = {name: self.value(each) for name, each in given.items()}
        return {name: each for name, each in values.items() if each is not _NOTHING}

    def _ref(self, name: str) -> Any:
        if name in _PSEUDO:
            return _PSEUDO[name]
        kind = self._types.get(name)
        if kind is None:
            return _PARAMETERS.get(name, name.lower())
        return _ARNS[kind] if kind in _REF_IS_ARN else name.lower()

    def _getatt(self, argument: list[str]) -> str:
        name, attribute = argument
        return _ARNS[self._types[name]] if attribute == "Arn" else f"{name}-{attribute}".lower()

    def _sub(self, argument: Any) -> str:
        text, own = (argument, {}) if isinstance(argument, str) else argument
        values = {name: self.value(each) for name, each in own.items()}

        def one(found: re.Match[str]) -> str:
            name = found[1]
            if name in values:
                return str(values[name])
            return str(self._getatt(name.split(".", 1)) if "." in name else self._ref(name))

        return re.sub(r"\$\{([^!}]+)\}", one, text)

    def _if(self, argument: list[Any]) -> Any:
        return self.value(argument[1])

    def _join(self, argument: list[Any]) -> str:
        listed = self.value(argument[1])
        return str(argument[0]).join([listed] if isinstance(listed, str) else map(str, listed))

    def _split(self, argument: list[Any]) -> list[str]:
        return str(self.value(argument[1])).split(argument[0])

    def _select(self, argument: list[Any]) -> Any:
        return self.value(argument[1])[int(argument[0])]
