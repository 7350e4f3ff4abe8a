"""A permission that `provision` lacks is told with its action, its resource and what to do."""

import pytest

from backend.errors import AwsAccessError, AwsError, BackendError
from tests.infra.account import ACCOUNT, REGION
from tests.infra.denying import denying, lacking
from tests.infra.desk import PACKAGE, Desk
from tests.infra.half_made import failing

pytestmark = pytest.mark.usefixtures("account")
STACK = f"arn:aws:cloudformation:{REGION}:{ACCOUNT}:stack/birds-core/*"
PIPELINE = f"arn:aws:sagemaker:{REGION}:{ACCOUNT}:pipeline/birds"
SECRET = f"arn:aws:secretsmanager:{REGION}:{ACCOUNT}:secret:birds-0a1b2c"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/birds-core-SageMakerRole"


@pytest.mark.parametrize(
    ("operation", "action", "resource"),
    [
        ("DescribeStacks", "cloudformation:DescribeStacks", STACK),
        ("CreateStack", "cloudformation:CreateStack", STACK),
        ("DescribeStackEvents", "cloudformation:DescribeStackEvents", STACK),
        ("UpdateStack", "cloudformation:UpdateStack", STACK),
        ("DescribePipeline", "sagemaker:DescribePipeline", PIPELINE),
        ("PutObject", "s3:PutObject", "arn:aws:s3:::birds/label-studio/code/a/preprocess.py"),
        ("GetSecretValue", "secretsmanager:GetSecretValue", SECRET),
        ("PutSecretValue", "secretsmanager:PutSecretValue", SECRET),
    ],
)
def test_a_call_that_is_denied_names_what_to_allow_and_allowed_it_goes_on(operation: str, action: str, resource: str):
    desk = Desk()

    with denying(operation, action, resource), pytest.raises(AwsAccessError) as caught:
        desk.make()

    told = str(caught.value)
    assert told.endswith(f"; allow {action} on {resource} in a policy of whoever runs this")
    assert "\n" not in told
    assert desk.make()[0].done


def test_an_answer_without_words_names_what_to_allow_all_the_same():
    desk = Desk()
    with denying("HeadObject", "", ""), pytest.raises(AwsAccessError, match="allow s3:GetObject on the object"):
        desk.make()


def test_a_denial_by_a_policy_of_the_organization_is_told_with_that_policy():
    told = lacking("cloudformation:CreateStack", STACK).partition(" because")[0]
    told += " with an explicit deny in a service control policy"
    with denying("CreateStack", "", "", told=told), pytest.raises(AwsAccessError) as caught:
        Desk().make()
    cure = f"the service control policy denies cloudformation:CreateStack on {STACK}: have that taken out of it"
    assert str(caught.value).endswith(cure)


def test_a_boundary_that_does_not_allow_it_is_told():
    told = lacking("iam:CreateRole", ROLE).replace("identity-based policy", "permissions boundary")
    with denying("CreateStack", "", "", told=told), pytest.raises(AwsAccessError) as caught:
        Desk().make()
    assert str(caught.value).endswith(f"allow iam:CreateRole on {ROLE} in the permissions boundary")


@pytest.mark.parametrize(
    ("kind", "reason", "cure"),
    [
        (
            "AWS::IAM::Role",
            f'Resource handler returned message: "{lacking("iam:CreateRole", ROLE)} (Service: Iam, Status Code: 403, '
            'Request ID: 0a1b)" (RequestToken: 1, HandlerErrorCode: AccessDenied)',
            f"allow iam:CreateRole on {ROLE} in a policy of whoever runs this",
        ),
        (
            "AWS::S3::Bucket",
            "API: s3:CreateBucket Access Denied",
            "allow s3:CreateBucket in a policy of whoever runs this",
        ),
    ],
)
def test_what_the_stack_may_not_make_is_told_and_a_second_run_makes_it(kind: str, reason: str, cure: str):
    with failing(kind, reason), pytest.raises(AwsError) as caught:
        Desk().make()

    assert str(caught.value).endswith(f"{cure}, and run this again")
    assert Desk().make()[0].done


def test_the_trigger_that_may_not_be_made_is_told_and_a_second_run_makes_it():
    function = f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:birds-trigger"
    core, settings = Desk().make()
    with (
        failing("AWS::Lambda::Function", lacking("lambda:CreateFunction", function)),
        pytest.raises(BackendError) as caught,
    ):
        Desk().provision.trigger(core, settings, PACKAGE, {})
    assert f"allow lambda:CreateFunction on {function} in a policy of whoever runs this" in str(caught.value)
    assert Desk().provision.trigger(core, settings, PACKAGE, {}).endswith("/webhook")
