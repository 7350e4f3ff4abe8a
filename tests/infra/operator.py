"""infra/operator-policy.json, for who runs the commands of a deployment, with its three words filled in."""

import json
import re
from collections.abc import Iterable

from tests.infra import templates
from tests.infra.account import ACCOUNT, REGION
from tests.infra.calls import Call, Place, distinct, needed
from tests.infra.policies import Document, Request, Verdict, evaluate

PATH = templates.FOLDER / "operator-policy.json"
COMMANDS = r"-m backend (provision|destroy|doctor)\b"
FORBIDDEN = {
    "read another bucket": Request("s3:GetObject", "arn:aws:s3:::payroll/a.csv"),
    "delete another bucket": Request("s3:DeleteBucket", "arn:aws:s3:::payroll"),
    "give an administrator's role a policy": Request("iam:PutRolePolicy", f"arn:aws:iam::{ACCOUNT}:role/admin"),
    "hand on an administrator's role": Request("iam:PassRole", f"arn:aws:iam::{ACCOUNT}:role/admin"),
    "make a user": Request("iam:CreateUser", f"arn:aws:iam::{ACCOUNT}:user/birds-ann"),
    "delete the stack of another deployment": Request(
        "cloudformation:DeleteStack", f"arn:aws:cloudformation:{REGION}:{ACCOUNT}:stack/cars-core/1"
    ),
    "delete the endpoint of another deployment": Request(
        "sagemaker:DeleteEndpoint", f"arn:aws:sagemaker:{REGION}:{ACCOUNT}:endpoint/cars-p1"
    ),
    "make an endpoint in another region": Request(
        "sagemaker:CreateEndpoint", f"arn:aws:sagemaker:eu-west-1:{ACCOUNT}:endpoint/birds-p1"
    ),
    "call the function of another deployment": Request(
        "lambda:InvokeFunction", f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:cars-trigger"
    ),
    "publish for another deployment": Request("sns:Publish", f"arn:aws:sns:{REGION}:{ACCOUNT}:cars"),
    "start a machine": Request("ec2:RunInstances", f"arn:aws:ec2:{REGION}:{ACCOUNT}:instance/*"),
}


def policy(name: str = "birds") -> list[Document]:
    """As it is for the deployment *name*."""
    text = PATH.read_text(encoding="utf-8")
    for word, value in (("NAME", name), ("ACCOUNT", ACCOUNT), ("REGION", REGION)):
        text = re.sub(rf"\b{word}\b", value, text)
    return [json.loads(text)]


def of_commands(calls: Iterable[Call]) -> list[Request]:
    """What must be allowed for the calls of provision, destroy and doctor among *calls*."""
    own = distinct(call for call in calls if re.search(COMMANDS, call.program))
    return [request for call in own for request in needed(call, Place(ACCOUNT, REGION))]


def refused(requests: Iterable[Request]) -> list[str]:
    """Those that the policy of the deployment ``birds`` does not allow."""
    documents = policy()
    return [str(each) for each in requests if evaluate(documents, each) is not Verdict.ALLOWED]
