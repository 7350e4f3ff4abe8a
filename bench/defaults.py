"""The backend's settings as they are when nothing is set."""

from backend.config import Settings


def settings(*, url: str = "http://localhost", timeout_s: float = 80.0) -> Settings:
    """Settings with their defaults, and the given time for one `/predict`."""
    return Settings(
        label_studio_url=url,
        label_studio_api_key="none",
        s3_bucket="bench",
        sagemaker_role_arn="arn:aws:iam::111122223333:role/bench",
        predict_timeout_seconds=timeout_s,
    )
