"""What the policies must not allow: calls that somebody who got hold of a role would try, or a fault in the code.

``BUCKET``, ``ROLE`` and ``SECRET`` stand for the deployment's own.
"""

from collections.abc import Mapping

from tests.infra.account import ACCOUNT, REGION
from tests.infra.calls import Call, needed
from tests.infra.deployed import Deployed
from tests.infra.policies import Request


def call(service: str, operation: str, **parameters: str) -> Call:
    """A call with its names."""
    return Call(service, operation, parameters)


def arn(kind: str) -> str:
    """The ARN of something in SageMaker."""
    return f"arn:aws:sagemaker:{REGION}:{ACCOUNT}:{kind}"


ADMIN = f"arn:aws:iam::{ACCOUNT}:role/admin"
BACKEND_MAY_NOT = {
    "start another pipeline": call("sagemaker", "StartPipelineExecution", PipelineName="other"),
    "start one whose name begins alike": call("sagemaker", "StartPipelineExecution", PipelineName="birds-2"),
    "delete its own pipeline": call("sagemaker", "DeletePipeline", PipelineName="birds"),
    "stop an execution": call(
        "sagemaker", "StopPipelineExecution", PipelineExecutionArn=arn("pipeline/birds/execution/e")
    ),
    "look at another pipeline's execution": call(
        "sagemaker", "DescribePipelineExecution", PipelineExecutionArn=arn("pipeline/other/execution/e")
    ),
    "give a pipeline another role": call("sagemaker", "UpdatePipeline", PipelineName="birds", RoleArn=ADMIN),
    "give a model another role": call("sagemaker", "CreateModel", ModelName="birds-p3-v1", ExecutionRoleArn=ADMIN),
    "start a job of its own": call("sagemaker", "CreateTrainingJob", TrainingJobName="mining", RoleArn="ROLE"),
    "look at jobs of others": call("sagemaker", "DescribeTrainingJob", TrainingJobName="churn-2026"),
    "delete somebody's endpoint": call("sagemaker", "DeleteEndpoint", EndpointName="churn"),
    "delete the endpoint of another deployment": call("sagemaker", "DeleteEndpoint", EndpointName="cars-p1"),
    "delete that of one with a longer name": call("sagemaker", "DeleteEndpoint", EndpointName="birds-parts-p1"),
    "ask somebody's endpoint": call("sagemaker-runtime", "InvokeEndpoint", EndpointName="churn"),
    "serve somebody's configuration": call(
        "sagemaker", "UpdateEndpoint", EndpointName="birds-p3", EndpointConfigName="churn"
    ),
    "delete a model": call("sagemaker", "DeleteModel", ModelName="birds-p3-v1"),
    "delete a model package": call("sagemaker", "DeleteModelPackage", ModelPackageName=arn("model-package/birds-p3/1")),
    "delete a group": call("sagemaker", "DeleteModelPackageGroup", ModelPackageGroupName="birds-p3"),
    "reject somebody's model": call("sagemaker", "UpdateModelPackage", ModelPackageArn=arn("model-package/churn/1")),
    "read another bucket": call("s3", "GetObject", Bucket="payroll", Key="images/a.jpg"),
    "list another bucket": call("s3", "ListObjectsV2", Bucket="payroll", Prefix="images/"),
    "make a bucket": call("s3", "CreateBucket", Bucket="payroll"),
    "delete an image": call("s3", "DeleteObject", Bucket="BUCKET", Key="images/a.jpg"),
    "overwrite an annotation": call("s3", "PutObject", Bucket="BUCKET", Key="annotations/17"),
    "overwrite a model": call("s3", "PutObject", Bucket="BUCKET", Key="label-studio/models/e/model.tar.gz"),
    "overwrite the pipeline's definition": call("s3", "PutObject", Bucket="BUCKET", Key="label-studio/pipeline/a.json"),
    "overwrite the function": call("s3", "PutObject", Bucket="BUCKET", Key="label-studio/lambda/a.zip"),
    "write beside the folders": call("s3", "PutObject", Bucket="BUCKET", Key="index.html"),
    "read beside the folders": call("s3", "GetObject", Bucket="BUCKET", Key="images-of-others/a.jpg"),
    "read the secret": call("secretsmanager", "GetSecretValue", SecretId="SECRET"),
    "call a function": call("lambda", "Invoke", FunctionName="birds-trigger"),
}
STORAGE_MAY_NOT = {
    "list the whole bucket": call("s3", "ListObjectsV2", Bucket="BUCKET"),
    "list what the backend writes": call("s3", "ListObjectsV2", Bucket="BUCKET", Prefix="label-studio/"),
    "list a folder that begins alike": call("s3", "ListObjectsV2", Bucket="BUCKET", Prefix="images-of-others/"),
    "read annotations back": call("s3", "GetObject", Bucket="BUCKET", Key="annotations/17"),
    "read a model": call("s3", "GetObject", Bucket="BUCKET", Key="label-studio/models/e/model.tar.gz"),
    "overwrite an image": call("s3", "PutObject", Bucket="BUCKET", Key="images/a.jpg"),
    "delete an image": call("s3", "DeleteObject", Bucket="BUCKET", Key="images/a.jpg"),
}
SAGEMAKER_MAY_NOT = {
    "read annotations": call("s3", "GetObject", Bucket="BUCKET", Key="annotations/17"),
    "list the whole bucket": call("s3", "ListObjectsV2", Bucket="BUCKET"),
    "overwrite an image": call("s3", "PutObject", Bucket="BUCKET", Key="images/a.jpg"),
    "overwrite a snapshot": call("s3", "PutObject", Bucket="BUCKET", Key="label-studio/projects/3/datasets/d/t.jsonl"),
    "overwrite its own script": call("s3", "PutObject", Bucket="BUCKET", Key="label-studio/code/d/preprocess.py"),
    "delete a model": call("s3", "DeleteObject", Bucket="BUCKET", Key="label-studio/models/e/model.tar.gz"),
    "read the secret": call("secretsmanager", "GetSecretValue", SecretId="SECRET"),
    "start its pipeline": call("sagemaker", "StartPipelineExecution", PipelineName="birds"),
    "register a model of somebody's": call("sagemaker", "CreateModelPackage", ModelPackageGroupName="churn"),
    "register one of another deployment": call(
        "sagemaker", "CreateModelPackage", ModelPackageGroupName="birds-parts-p1"
    ),
    "look at one of another deployment": call(
        "sagemaker", "DescribeModelPackage", ModelPackageName=arn("model-package/birds-parts-p1/1")
    ),
    "stop a job that no pipeline started": call("sagemaker", "StopTrainingJob", TrainingJobName="churn-2026"),
    "approve a model": call("sagemaker", "UpdateModelPackage", ModelPackageArn=arn("model-package/birds-p3/1")),
    "make an endpoint": call("sagemaker", "CreateEndpoint", EndpointName="birds-p3", EndpointConfigName="birds-p3-v1"),
    "hand on another role": call("sagemaker", "CreateModel", ModelName="birds-p3-v1", ExecutionRoleArn=ADMIN),
    "start a job by hand": call("sagemaker", "CreateTrainingJob", TrainingJobName="mining", RoleArn="ROLE"),
}


# The Lambda function that deploys nothing, beside what a backend may not do either.
TRAINER_MAY_NOT = {
    "make an endpoint": call("sagemaker", "CreateEndpoint", EndpointName="birds-p3", EndpointConfigName="birds-p3-v1"),
    "make a model": call("sagemaker", "CreateModel", ModelName="birds-p3-v1", ExecutionRoleArn="ROLE"),
    "delete an endpoint of its own deployment": call("sagemaker", "DeleteEndpoint", EndpointName="birds-p3"),
    "ask an endpoint": call("sagemaker-runtime", "InvokeEndpoint", EndpointName="birds-p3"),
    "reject a model": call("sagemaker", "UpdateModelPackage", ModelPackageArn=arn("model-package/birds-p3/1")),
    "change the pipeline": call("sagemaker", "UpdatePipeline", PipelineName="birds", RoleArn="ROLE"),
    "overwrite an image": call("s3", "PutObject", Bucket="BUCKET", Key="images/a.jpg"),
    "overwrite preprocess.py": call("s3", "PutObject", Bucket="BUCKET", Key="label-studio/code/d/preprocess.py"),
}
FORBIDDEN: Mapping[str, Mapping[str, Call]] = {
    "backend": BACKEND_MAY_NOT,
    "trainer": {name: each for name, each in BACKEND_MAY_NOT.items() if name != "call a function"} | TRAINER_MAY_NOT,
    "sagemaker": SAGEMAKER_MAY_NOT,
    "storage": STORAGE_MAY_NOT,
}


def requests(each: Call, stacks: Deployed) -> list[Request]:
    """What a forbidden call would have to be allowed."""
    names = {"BUCKET": "BucketName", "ROLE": "SageMakerRoleArn", "SECRET": "SecretArn"}
    real = {name: stacks.outputs[names[value]] if value in names else value for name, value in each.parameters.items()}
    return needed(Call(each.service, each.operation, real), stacks.place)
