"""Settings: the only place where the service reads its environment."""

import os
import re
import tempfile
import urllib.parse
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from backend.errors import SettingsError

T = TypeVar("T")
NO_MODEL = "not trained yet"  # what Label Studio shows as the model's version until there is one
_NAME = re.compile(r"[a-zA-Z0-9](-*[a-zA-Z0-9])*")  # SageMaker's own pattern for names
_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_HOSTS = re.compile(r"(?:[\w*?-]+(?:\.[\w*?-]+)*|[0-9a-f:.*]*:[0-9a-f:.*]*:[0-9a-f:.*]*)", re.ASCII)  # names and IPv6
_ROLE = re.compile(r"arn:aws[a-z-]*:iam::\d{12}:role/[\w+=,.@/-]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Everything that can be set, read once at start. Field names are the variables' names in lower case.

    A program that never calls Label Studio has '' for its address and token.
    """

    label_studio_url: str
    label_studio_api_key: str = field(repr=False)
    s3_bucket: str
    sagemaker_role_arn: str
    s3_prefix: str = "label-studio"
    annotations_prefix: str = "annotations"
    deploy_endpoints: bool = False  # by the trigger in Lambda; the service always does
    sagemaker_pipeline: str = "label-studio-segmentation"
    sagemaker_instance_type: str = "ml.m5.large"
    model_name: str = "segmentation"
    start_training_each_n_updates: int = 16
    minimum_miou: float = 0.4
    miou_tolerance: float = 0.02
    training_cooldown_seconds: float = 600.0
    max_trainings_per_day: int = 24
    model_score_threshold: float = 0.0
    polygon_min_iou: float = 0.98
    polygon_max_points: int = 200
    predict_side: int = 512
    predict_timeout_seconds: float = 80.0
    predict_concurrency: int = 4
    image_hosts: str = "*"
    image_cache_mb: int = 512
    poll_seconds: float = 60.0
    max_body_mb: int = 64
    basic_auth_user: str = ""
    basic_auth_pass: str = field(default="", repr=False)
    port: int = 9090
    workers: int = 1
    threads: int = 8
    model_dir: Path = Path(".cache")
    log_level: str = "INFO"

    @classmethod
    def from_env(
        cls, env: Mapping[str, str] | None = None, *, writes: bool = True, label_studio: bool = True
    ) -> "Settings":
        """Read the settings that a program needs.

        Args:
            env: the process's environment if left out.
            writes: whether ``MODEL_DIR`` will be written to.
            label_studio: whether annotations are read from Label Studio; else from its target storage in S3_BUCKET.

        Raises:
            SettingsError: with one line for each variable that is missing or cannot be used.
        """
        reader = _Reader(os.environ if env is None else env, writes=writes)
        values = _read_all(reader) | (_read_label_studio(reader) if label_studio else _read_target_storage(reader))
        if reader.problems:
            raise SettingsError(reader.problems)
        return cls(**values)  # type: ignore[arg-type]  # the reader checked each value's type

    @property
    def basic_auth(self) -> tuple[str, str] | None:
        """User and password that requests must carry, or None where none is asked for."""
        return (self.basic_auth_user, self.basic_auth_pass) if self.basic_auth_user else None

    def project_name(self, project: int) -> str:
        """Name of a project's model package group and of its endpoint."""
        return f"{self.sagemaker_pipeline}-p{project}"

    def model_version(self, package_version: int) -> str:
        """What Label Studio calls the model of a package, e.g. ``birds v3``."""
        return f"{self.model_name} v{package_version}"

    def is_model_version(self, name: str) -> bool:
        """Whether this backend calls a model so, or the want of one: what tells it from other ML backends."""
        return name == NO_MODEL or re.fullmatch(rf"{re.escape(self.model_name)} v\d+", name) is not None

    def key(self, *parts: str) -> str:
        """An object key below ``S3_PREFIX``."""
        return "/".join(part for part in (self.s3_prefix, *parts) if part)


def s3_endpoint(env: Mapping[str, str] | None = None) -> str:
    """The address that stands in for S3's own, by boto3's variables; '' where none does."""
    values = os.environ if env is None else env
    return values.get("AWS_ENDPOINT_URL_S3") or values.get("AWS_ENDPOINT_URL") or ""


def aws_region(env: Mapping[str, str] | None = None) -> str | None:
    """The region by the name that AWS's other SDKs read; None leaves it to boto3, which reads AWS_DEFAULT_REGION."""
    values = os.environ if env is None else env
    return values.get("AWS_REGION") or None


class _Reader:
    """Reads variables one by one and remembers every problem, so that they are reported together."""

    def __init__(self, env: Mapping[str, str], *, writes: bool) -> None:
        self._env = env
        self._writes = writes
        self.problems: list[str] = []

    def text(self, *names: str, default: str | None = None) -> str:
        """The first of *names* that is set; the rest are other spellings of the same setting."""
        for name in names:
            if value := self._env.get(name, "").strip():
                return value
        if default is None:
            self.problems.append(f"{' or '.join(names)} is not set; see the settings table in the README")
        return default or ""

    def matching(self, name: str, pattern: re.Pattern[str], wanted: str, default: str | None = None) -> str:
        value = self.text(name, default=default)
        if value and not pattern.fullmatch(value):
            self.problems.append(f"{name}: wanted {wanted}, got {value!r}")
        return value

    def number(self, name: str, parse: Callable[[str], T], default: T, *, low: float, high: float) -> T:
        raw = self._env.get(name, "").strip()
        if not raw:
            return default
        try:
            value = parse(raw)
        except ValueError:
            value = None
        if value is None or not low <= float(value) <= high:  # type: ignore[arg-type]
            self.problems.append(f"{name}: wanted a number from {low:g} to {high:g}, got {raw!r}")
            return default
        return value

    def url(self, *names: str) -> str:
        value = self.text(*names).rstrip("/")
        if value and not _is_http_url(value):
            # The value is not shown: it may have a password in it.
            self.problems.append(
                f"{names[0]}: wanted an address like http://localhost:8080, without user, password, ? and #"
            )
        return value

    def hosts(self, name: str) -> str:
        """Patterns of host names with commas between; every host where nothing is set."""
        patterns = [each.strip().lower() for each in self.text(name, default="*").split(",") if each.strip()]
        if wrong := [each for each in patterns if not _HOSTS.fullmatch(each)]:
            self.problems.append(
                f"{name}: wanted host names like images.example.com,*.example.com, without scheme, port and path, got "
                f"{wrong[0]!r}"
            )
        return ",".join(patterns)

    def choice(self, name: str, allowed: tuple[str, ...]) -> str:
        value = self.text(name, default=allowed[0]).upper()
        if value not in allowed:
            self.problems.append(f"{name}: wanted one of {', '.join(allowed)}, got {value!r}")
        return value

    def folder(self, name: str, default: Path) -> Path:
        """A folder that this process can write to, made if it is not there; unless nothing is to be written."""
        path = Path(self.text(name, default=str(default))).expanduser()
        if not self._writes:
            return path
        try:
            path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            self.problems.append(f"{name}: cannot make the folder {path}: {error.strerror}")
            return path
        try:
            with tempfile.TemporaryFile(dir=path):
                pass
        except OSError as error:
            self.problems.append(f"{name}: cannot write into the folder {path}: {error.strerror}")
        return path


def _is_http_url(value: str) -> bool:
    try:
        parts = urllib.parse.urlsplit(value)
        usable = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:  # brackets without an IPv6 address, or a port that is no number
        return False
    return usable and not (parts.query or parts.fragment or "@" in parts.netloc)


def _read_all(read: _Reader) -> dict[str, object]:
    return {
        **_read_services(read),
        **_read_training(read),
        **_read_serving(read),
    }


def _read_label_studio(read: _Reader) -> dict[str, object]:
    return {
        "label_studio_url": read.url("LABEL_STUDIO_URL", "LABEL_STUDIO_HOST"),
        "label_studio_api_key": read.text("LABEL_STUDIO_API_KEY", "LABEL_STUDIO_ACCESS_TOKEN"),
    }


def _read_target_storage(read: _Reader) -> dict[str, object]:
    prefix = read.text("ANNOTATIONS_PREFIX", default="annotations").strip("/")
    if not prefix:
        read.problems.append(
            "ANNOTATIONS_PREFIX: wanted the folder of Label Studio's target storage, got the whole bucket"
        )
    return {
        "label_studio_url": "",
        "label_studio_api_key": "",
        "annotations_prefix": prefix,
        "deploy_endpoints": read.choice("DEPLOY_ENDPOINTS", ("FALSE", "TRUE")) == "TRUE",
    }


def _read_services(read: _Reader) -> dict[str, object]:
    values: dict[str, object] = {
        "s3_bucket": read.matching("S3_BUCKET", _BUCKET, "the name of an S3 bucket (no s3://, no slash)"),
        "s3_prefix": read.text("S3_PREFIX", default="label-studio").strip("/"),
        "sagemaker_pipeline": read.matching(
            "SAGEMAKER_PIPELINE", _NAME, "letters, digits and single hyphens", "label-studio-segmentation"
        ),
        "sagemaker_role_arn": read.matching(
            "SAGEMAKER_ROLE_ARN", _ROLE, "a role like arn:aws:iam::111122223333:role/NAME"
        ),
        "sagemaker_instance_type": read.text("SAGEMAKER_INSTANCE_TYPE", default="ml.m5.large"),
        "model_name": read.text("MODEL_NAME", default="segmentation"),
    }
    if len(str(values["sagemaker_pipeline"])) > 40:
        # Endpoint names end at 63 characters and carry the project's and the version's number too.
        read.problems.append("SAGEMAKER_PIPELINE: wanted at most 40 characters")
    return values


def _read_training(read: _Reader) -> dict[str, object]:
    return {
        "start_training_each_n_updates": read.number("START_TRAINING_EACH_N_UPDATES", int, 16, low=2, high=1e6),
        "minimum_miou": read.number("MINIMUM_MIOU", float, 0.4, low=0, high=1),
        "miou_tolerance": read.number("MIOU_TOLERANCE", float, 0.02, low=0, high=1),
        "training_cooldown_seconds": read.number("TRAINING_COOLDOWN_SECONDS", float, 600.0, low=0, high=86400),
        "max_trainings_per_day": read.number("MAX_TRAININGS_PER_DAY", int, 24, low=1, high=10000),
    }


def _read_serving(read: _Reader) -> dict[str, object]:
    user = read.text("BASIC_AUTH_USER", default="")
    password = read.text("BASIC_AUTH_PASS", default="")
    if bool(user) != bool(password):
        read.problems.append("BASIC_AUTH_USER and BASIC_AUTH_PASS: wanted both or neither, got one")
    if not user.isascii() or not password.isascii() or ":" in user:
        # Label Studio encodes other letters in its own way, and a colon ends the user's name (RFC 7617).
        read.problems.append("BASIC_AUTH_USER and BASIC_AUTH_PASS: wanted ASCII letters, and no colon in the user")
    return {
        "basic_auth_user": user,
        "basic_auth_pass": password,
        "model_score_threshold": read.number("MODEL_SCORE_THRESHOLD", float, 0.0, low=0, high=1),
        "polygon_min_iou": read.number("POLYGON_MIN_IOU", float, 0.98, low=0, high=1),
        "polygon_max_points": read.number("POLYGON_MAX_POINTS", int, 200, low=4, high=5000),
        "predict_side": read.number("PREDICT_SIDE", int, 512, low=64, high=4096),
        "predict_timeout_seconds": read.number("PREDICT_TIMEOUT_SECONDS", float, 80.0, low=1, high=3600),
        "predict_concurrency": read.number("PREDICT_CONCURRENCY", int, 4, low=1, high=64),
        "image_hosts": read.hosts("IMAGE_HOSTS"),
        "image_cache_mb": read.number("IMAGE_CACHE_MB", int, 512, low=0, high=1e6),
        "poll_seconds": read.number("POLL_SECONDS", float, 60.0, low=0.2, high=3600),
        "max_body_mb": read.number("MAX_BODY_MB", int, 64, low=1, high=1024),
        "port": read.number("PORT", int, 9090, low=1, high=65535),
        "workers": read.number("WORKERS", int, 1, low=1, high=256),
        "threads": read.number("THREADS", int, 8, low=1, high=1024),
        "model_dir": read.folder("MODEL_DIR", Path(".cache")),
        "log_level": read.choice("LOG_LEVEL", ("INFO", "DEBUG", "WARNING", "ERROR")),
    }
