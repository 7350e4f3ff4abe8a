"""Are the bucket, the pipeline, the role and Label Studio's token right? All problems at once, at the start."""

import logging
from typing import Protocol

from backend.config import Settings
from backend.errors import BackendError

logger = logging.getLogger(__name__)


class Cloud(Protocol):
    """What the check needs of AWS."""

    def check_bucket(self) -> None: ...
    def pipeline_arn(self) -> str: ...


class Studio(Protocol):
    """What the check needs of Label Studio."""

    def whoami(self) -> str: ...


class Preflight:
    """Checks until all is well once; what is wrong is logged when it changes and kept for ``/health``."""

    def __init__(self, settings: Settings, *, cloud: Cloud, studio: Studio) -> None:
        self._settings = settings
        self._cloud = cloud
        self._studio = studio
        self._passed = False
        self._user = ""
        self.problems: list[str] = []

    def __call__(self, *, tell: bool = True) -> None:
        """Check, unless an earlier check found nothing; every worker does, for ``/health``, and one is to *tell*."""
        if self._passed:
            return
        problems = [*self._bucket(), *self._pipeline(), *self._label_studio()]
        if tell:
            self._tell(problems)
        self.problems, self._passed = problems, not problems

    def _tell(self, problems: list[str]) -> None:
        if not problems:
            logger.info("S3, SageMaker and Label Studio answer as they should; Label Studio knows us as %s", self._user)
        elif problems != self.problems:
            lines = "\n".join(f"  - {each}" for each in problems)
            # No error yet: with docker-compose the bucket and the pipeline are made right after the first start.
            logger.warning("%s thing(s) not in place; looked at again until they are:\n%s", len(problems), lines)

    def _bucket(self) -> list[str]:
        try:
            self._cloud.check_bucket()
        except BackendError as error:
            return [f"S3_BUCKET {self._settings.s3_bucket}: {error}"]
        return []

    def _pipeline(self) -> list[str]:
        try:
            arn = self._cloud.pipeline_arn()
        except BackendError as error:
            return [f"SAGEMAKER_PIPELINE {self._settings.sagemaker_pipeline}: {error}"]
        account, role = arn.split(":")[4], self._settings.sagemaker_role_arn
        if role.split(":")[4] != account:
            return [f"SAGEMAKER_ROLE_ARN {role}: wanted a role of the pipeline's account {account}"]
        return []

    def _label_studio(self) -> list[str]:
        try:
            self._user = self._studio.whoami()
        except BackendError as error:
            return [f"LABEL_STUDIO_URL {self._settings.label_studio_url}: {error}"]
        return []
