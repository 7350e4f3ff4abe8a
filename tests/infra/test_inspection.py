"""What is read of an account, in an emulated one."""

from collections.abc import Iterator
from typing import Any

import pytest
from botocore.stub import ANY, Stubber

from backend.account import Account
from backend.aws_clients import Clients
from backend.errors import AwsAccessError, AwsError
from backend.inspection import Inspection
from tests.infra.account import REGION, create, emulated_account
from tests.infra.added_types import client_of


@pytest.fixture
def clients(monkeypatch: pytest.MonkeyPatch) -> Iterator[Clients]:
    monkeypatch.setenv("AWS_DEFAULT_REGION", REGION)
    monkeypatch.delenv("AWS_REGION", raising=False)
    with emulated_account():
        yield Clients.connect()


def bucket(clients: Clients, name: str = "birds") -> str:
    where: Any = {"LocationConstraint": REGION}
    clients.s3.create_bucket(Bucket=name, CreateBucketConfiguration=where)
    return name


def test_a_bucket_as_anybody_makes_it_is_neither_private_nor_wants_tls(clients: Clients):
    name, inspection = bucket(clients), Inspection(clients)
    assert inspection.bucket_region(name) == REGION
    assert not inspection.blocks_public_access(name)
    assert not inspection.wants_tls(name)


def test_a_bucket_that_blocks_and_denies_is_private_and_wants_tls(clients: Clients):
    name, inspection = bucket(clients), Inspection(clients)
    switches = ("BlockPublicAcls", "BlockPublicPolicy", "IgnorePublicAcls", "RestrictPublicBuckets")
    block: Any = dict.fromkeys(switches, True)
    clients.s3.put_public_access_block(Bucket=name, PublicAccessBlockConfiguration=block)
    assert inspection.blocks_public_access(name)
    policy = '{"Statement": {"Effect": "Deny", "Condition": {"Bool": {"aws:SecureTransport": "false"}}}}'
    with Stubber(clients.s3) as stub:  # moto would deny everything from then on
        stub.add_response("get_bucket_policy", {"Policy": policy})
        assert inspection.wants_tls(name)


def test_a_bucket_of_another_region_is_told_with_it(clients: Clients):
    with Stubber(clients.s3) as stub:
        stub.add_client_error(
            "head_bucket",
            "301",
            http_status_code=301,
            response_meta={"HTTPHeaders": {"x-amz-bucket-region": "us-east-2"}},
        )
        assert Inspection(clients).bucket_region("birds") == "us-east-2"


def test_a_bucket_that_is_not_there_is_in_no_region(clients: Clients):
    assert Inspection(clients).bucket_region("nowhere") is None


def test_a_role_is_trusted_by_its_policy(clients: Clients):
    outputs = create("birds-core", "core", Name="birds")
    inspection = Inspection(clients)
    assert inspection.trusts_sagemaker(outputs["SageMakerRoleArn"]) is True
    assert inspection.trusts_sagemaker("arn:aws:iam::123456789012:role/nobody") is None


def test_quotas_are_looked_for_on_all_pages(clients: Clients):
    with Stubber(clients.quotas) as stub:
        first = [{"QuotaName": "ml.m5.large for endpoint usage", "Value": 4.0}]
        second = [{"QuotaName": "ml.g4dn.xlarge for training job usage", "Value": 0.0}]
        stub.add_response("list_service_quotas", {"Quotas": first, "NextToken": "more"})
        stub.add_response("list_service_quotas", {"Quotas": second})
        names = ["ml.m5.large for endpoint usage", "ml.g4dn.xlarge for training job usage"]
        assert Inspection(clients).quotas(names) == dict(zip(names, (4.0, 0.0), strict=True))


def test_a_quota_that_was_never_changed_in_the_account_is_aws_s_default(clients: Clients):
    """ListServiceQuotas leaves those out that have no applied value, such as a new account's GPUs."""
    gpu, cpu, other = (f"{kind} for training job usage" for kind in ("ml.g4dn.xlarge", "ml.m5.xlarge", "ml.none"))
    with Stubber(clients.quotas) as stub:
        stub.add_response("list_service_quotas", {"Quotas": [{"QuotaName": cpu, "Value": 2.0}]})
        defaults = [{"QuotaName": cpu, "Value": 1.0}, {"QuotaName": gpu, "Value": 0.0}]
        stub.add_response("list_aws_default_service_quotas", {"Quotas": defaults})
        assert Inspection(clients).quotas([gpu, cpu, other]) == {gpu: 0.0, cpu: 2.0}


def test_quotas_that_may_not_be_listed_are_denied(clients: Clients):
    with Stubber(clients.quotas) as stub:
        stub.add_client_error("list_service_quotas", "AccessDeniedException", "no")
        with pytest.raises(AwsAccessError):
            Inspection(clients).quotas(["any"])


def test_a_secret_that_was_deleted_is_told_with_how_to_get_it_back(clients: Clients):
    outputs = create("birds-core", "core", Name="birds")
    client_of("secretsmanager", REGION).delete_secret(SecretId=outputs["SecretArn"])
    with pytest.raises(AwsError, match="restore-secret"):
        Account("birds", clients).secret(outputs["SecretArn"])


def test_trainings_that_run_are_stopped_one_by_one(clients: Clients):
    arn = "arn:aws:sagemaker:eu-central-1:123456789012:pipeline/birds/execution/abcdefghijkl"
    account = Account("birds", clients)
    with Stubber(clients.sagemaker) as stub:
        summaries = [
            {"PipelineExecutionArn": arn, "PipelineExecutionStatus": "Executing"},
            {"PipelineExecutionArn": f"{arn[:-1]}x", "PipelineExecutionStatus": "Succeeded"},
        ]
        stub.add_response("list_pipeline_executions", {"PipelineExecutionSummaries": summaries})
        request = {"PipelineExecutionArn": arn, "ClientRequestToken": ANY}
        stub.add_response("stop_pipeline_execution", {"PipelineExecutionArn": arn}, request)
        assert account.running_executions() == [arn]
        account.stop_execution(arn)
        stub.assert_no_pending_responses()


def test_what_is_gone_already_need_not_be_deleted(clients: Clients):
    account = Account("birds", clients)
    account.delete_served("endpoint", "birds-p1")
    account.delete_served("endpoint configuration", "birds-p1-v1")
    account.delete_served("model", "birds-p1-v1")
    assert account.served("endpoint") == []
