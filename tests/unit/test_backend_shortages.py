"""Where AWS had no room, one sentence says what to ask for or what to take instead. The texts are those of AWS."""

import pytest

from backend.shortages import Use, explained, shortage

QUOTA = (
    "{code}The account-level service limit '{quota}' is {limit} Instances, with current utilization of {limit} "
    "Instances and a request delta of 1 Instances. {end}"
)
OLD_END = "Please contact AWS support to request an increase for this limit."
NEW_END = (
    "Please use AWS Service Quotas to request an increase for this quota. If AWS Service Quotas is not available, "
    "contact AWS support to request an increase for this quota."
)
CODE = "ResourceLimitExceeded: An error occurred (ResourceLimitExceeded) when calling the CreateTrainingJob operation: "
CAPACITY = (
    "CapacityError: Unable to provision requested ML compute capacity. Please retry using a different ML instance type."
)
ELSEWHERE = (
    "EC2InsufficientCapacityError: Instance type 'ml.g5.48xlarge' is temporarily unavailable in supported zones."
)


def quota(name: str, limit: int = 0, code: str = CODE, end: str = NEW_END) -> str:
    return QUOTA.format(code=code, quota=name, limit=limit, end=end)


ASK = "ask for more in Service Quotas > Amazon SageMaker"
ANEW = "or put the pipeline there anew"


@pytest.mark.parametrize(
    ("reason", "use", "told"),
    [
        pytest.param(
            quota("ml.p3.2xlarge for training job usage", end=OLD_END),
            Use.UNKNOWN,
            f"the quota 'ml.p3.2xlarge for training job usage' of eu-west-1 is 0: {ASK}, {ANEW} with "
            "--set TrainingInstanceType=ml.g5.xlarge or another",
            id="training",
        ),
        pytest.param(
            quota("ml.g5.xlarge for spot training job usage"),
            Use.TRAINING,
            f"the quota 'ml.g5.xlarge for spot training job usage' of eu-west-1 is 0: {ASK}, {ANEW} without --spot or "
            "with --set TrainingInstanceType=ml.g4dn.xlarge",
            id="spot",
        ),
        pytest.param(
            quota("ml.m5.xlarge for processing job usage", limit=2, code=""),
            Use.UNKNOWN,
            f"the quota 'ml.m5.xlarge for processing job usage' of eu-west-1 is 2, all of it in use: {ASK}, {ANEW} "
            "with --set ProcessingInstanceType=ml.c5.xlarge or another",
            id="processing, in use",
        ),
        pytest.param(
            quota("ml.m4.xlarge for endpoint usage", code=""),
            Use.UNKNOWN,
            f"the quota 'ml.m4.xlarge for endpoint usage' of eu-west-1 is 0: {ASK}, or set "
            "SAGEMAKER_INSTANCE_TYPE=ml.m5.xlarge or another for the next model",
            id="endpoint",
        ),
        pytest.param(
            quota("Number of instances across all processing jobs", limit=4),
            Use.UNKNOWN,
            "the quota 'Number of instances across all processing jobs' of eu-west-1 is 4, all of it in use: "
            f"{ASK}, {ANEW} with --set ProcessingInstanceType=ml.m5.xlarge or another",
            id="of no type",
        ),
        pytest.param(
            "The account-level service limit for training-job/ml.p2.xlarge is 0 Instances, with current utilization of "
            "0 Instances and a request delta of 2 Instances.",
            Use.UNKNOWN,
            f"the quota 'training-job/ml.p2.xlarge' of eu-west-1 is 0: {ASK}, {ANEW} with "
            "--set TrainingInstanceType=ml.g5.xlarge or another",
            id="in older words",
        ),
        pytest.param(
            CAPACITY,
            Use.TRAINING,
            f"AWS has no instance of the type free in eu-west-1 at present: wait, {ANEW} with "
            "--set TrainingInstanceType=ml.g5.xlarge or another",
            id="capacity",
        ),
        pytest.param(
            "Unable to provision requested ML compute capacity due to InsufficientInstanceCapacity error.",
            Use.ENDPOINT,
            "AWS has no instance of the type free in eu-west-1 at present: wait, or set "
            "SAGEMAKER_INSTANCE_TYPE=ml.m5.xlarge or another for the next model",
            id="capacity of an endpoint",
        ),
        pytest.param(
            ELSEWHERE,
            Use.UNKNOWN,
            "AWS has no ml.g5.48xlarge instance free in eu-west-1 at present: wait",
            id="capacity, for nobody knows what",
        ),
        pytest.param(
            "MaxWaitTimeExceeded",
            Use.TRAINING,
            f"AWS had no spot instance to spare in eu-west-1 for long enough: wait, {ANEW} without --spot or with "
            "--set TrainingInstanceType=ml.g5.xlarge",
            id="no spot instance",
        ),
        pytest.param(
            "ResourceLimitExceeded: You have exceeded the limit of executions",
            Use.UNKNOWN,
            f"a quota of the account in eu-west-1 is used up: {ASK}",
            id="another quota",
        ),
    ],
)
def test_a_shortage_is_told_in_one_sentence_with_what_to_do(reason: str, use: Use, told: str):
    assert shortage(reason, use=use, region="eu-west-1") == told
    assert explained(reason, use=use, region="eu-west-1") == f"{told} (AWS: {reason})"


def test_where_nobody_knows_the_region_it_is_this_one():
    assert "of this region is 0" in shortage(quota("ml.g5.xlarge for training job usage"))


@pytest.mark.parametrize(
    "reason",
    [
        "",
        "AlgorithmError: ValueError: crop_size",
        "ClientError: Failed to evaluate the step's arguments",
        "Step failure: One or multiple steps failed.",
        "The model's validation mIoU is below 0.4",
    ],
)
def test_any_other_reason_stays_as_it_is(reason: str):
    assert shortage(reason) == ""
    assert explained(reason, use=Use.TRAINING) == reason


@pytest.mark.parametrize("use", list(Use))
def test_the_sentence_fits_where_status_cuts_reasons(use: Use):
    assert len(shortage(quota("ml.g4dn.12xlarge for spot training job usage"), use=use, region="ap-southeast-4")) < 300
