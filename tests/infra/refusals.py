"""What AWS refuses to delete, and what it deletes, where moto does neither.

Its CloudFormation deletes a policy that somebody's role has; its SageMaker stops no execution, deletes no model
package, and deletes an endpoint whatever becomes of it.
"""

import json
import re
from typing import Any

from moto.cloudformation.models import CloudFormationBackend, Stack
from moto.iam.models import ManagedPolicy, iam_backends
from moto.sagemaker.exceptions import AWSValidationException
from moto.sagemaker.models import sagemaker_backends
from moto.sagemaker.responses import SageMakerResponse

from tests.infra.half_made import Fault

ATTACHED = "Cannot delete a policy attached to entities. (Service: Iam, Status Code: 409)"
_CHANGING = {"Creating", "Updating", "SystemUpdating", "RollingBack"}


def refuse_as_aws_does() -> None:
    """From now on; what is refused is told in AWS's words as far as they are known."""
    backend: Any = CloudFormationBackend
    backend.delete_stack = _keeping_attached(backend.delete_stack)
    service: Any = SageMakerResponse
    service.stop_pipeline_execution = _stop_execution
    service.delete_model_package = _delete_package
    service.delete_model_package_group = _delete_group
    service.delete_endpoint = _settled(service.delete_endpoint)


def _keeping_attached(real: Any) -> Any:
    def delete(backend: CloudFormationBackend, name: str) -> None:
        stack = next((each for each in backend.stacks.values() if name in {each.name, each.stack_id}), None)
        if stack is None or not _attached(stack):
            real(backend, name)
            return
        stack._add_stack_event("DELETE_IN_PROGRESS", "User Initiated")
        Fault("AWS::IAM::ManagedPolicy", ATTACHED, "DELETE", "DELETE_FAILED").leave(stack)

    return delete


def _attached(stack: Stack) -> bool:
    """Whether anybody beside the stack itself has one of its policies."""
    known: Any = stack.resource_map
    resources = [known[name] for name, each in stack.template_dict.get("Resources", {}).items() if _is_iam(each)]
    policies = {each.arn for each in resources if isinstance(each, ManagedPolicy)}
    own = {getattr(each, "name", "") for each in resources}
    iam: Any = iam_backends[stack.account_id]["aws"]
    holders = [*iam.roles.values(), *iam.users.values(), *iam.groups.values()]
    return any(policies & each.managed_policies.keys() for each in holders if each.name not in own)


def _is_iam(resource: dict[str, Any]) -> bool:
    return str(resource["Type"]).startswith("AWS::IAM::")


def _stop_execution(response: Any) -> str:
    arn = response._get_param("PipelineExecutionArn")
    name = re.fullmatch(r".*:pipeline/([^/]+)/execution/.*", arn)
    assert name is not None
    execution = response.sagemaker_backend.pipelines[name[1]].pipeline_executions[arn]
    if execution.pipeline_execution_status != "Executing":
        raise AWSValidationException(f"Pipeline execution {arn} is {execution.pipeline_execution_status}")
    execution.pipeline_execution_status = "Stopped"
    return json.dumps({"PipelineExecutionArn": arn})


def _delete_package(response: Any) -> str:
    del response.sagemaker_backend.model_packages[response._get_param("ModelPackageName")]
    return "{}"


def _delete_group(response: Any) -> str:
    backend, name = response.sagemaker_backend, response._get_param("ModelPackageGroupName")
    if any(each.model_package_group_name == name for each in backend.model_packages.values()):
        raise AWSValidationException(f"Model Package Group {name} is not empty")
    del backend.model_package_groups[name]
    return "{}"


def _settled(real: Any) -> Any:
    def delete(response: Any) -> Any:
        endpoint = response.sagemaker_backend.endpoints.get(response._get_param("EndpointName"))
        if endpoint is not None and endpoint.endpoint_status in _CHANGING:
            raise AWSValidationException(f"Cannot delete an endpoint that is {endpoint.endpoint_status}")
        return real(response)

    return delete


def endpoint_of(account: str, region: str, name: str) -> Any:
    """moto's own object for an endpoint, whose status a test may set."""
    return sagemaker_backends[account][region].endpoints[name]
