"""Settings: what may be set, and that everything wrong is told at once."""

from dataclasses import fields
from pathlib import Path

import pytest

from backend.config import Settings, aws_region
from backend.errors import SettingsError


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    return {
        "LABEL_STUDIO_URL": "http://localhost:8080",
        "LABEL_STUDIO_API_KEY": "a-secret-token",
        "S3_BUCKET": "birds",
        "SAGEMAKER_ROLE_ARN": "arn:aws:iam::123456789012:role/service-role/training",
        "MODEL_DIR": str(tmp_path / "cache"),
    }


def test_four_variables_are_enough(env: dict[str, str]):
    settings = Settings.from_env(env)

    assert settings.start_training_each_n_updates == 16
    assert settings.basic_auth is None
    assert settings.model_dir.is_dir()


def test_all_problems_are_told_at_once():
    wrong = {
        "LABEL_STUDIO_URL": "localhost:8080",
        "S3_BUCKET": "s3://birds/",
        "SAGEMAKER_ROLE_ARN": "training",
        "START_TRAINING_EACH_N_UPDATES": "often",
        "BASIC_AUTH_USER": "me",
        "MODEL_DIR": "/dev/null/cache",
    }

    with pytest.raises(SettingsError) as caught:
        Settings.from_env(wrong)

    assert len(caught.value.problems) == 7
    for name in [*wrong, "LABEL_STUDIO_API_KEY"]:
        assert name in str(caught.value)


def test_where_nothing_is_written_the_folder_is_neither_made_nor_missed(env: dict[str, str], tmp_path: Path):
    Settings.from_env(env, writes=False)
    Settings.from_env({**env, "MODEL_DIR": "/dev/null/cache"}, writes=False)

    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "ours"),
    [
        ("not trained yet", True),
        ("segmentation v12", True),
        ("segmentation v", False),
        ("segmentation v1 beta", False),
        ("segmentationXv1", False),
        ("SAM", False),
        ("", False),
    ],
)
def test_a_models_version_tells_this_backend_from_others(env: dict[str, str], name: str, ours: bool):
    assert Settings.from_env(env).is_model_version(name) is ours


@pytest.mark.parametrize(
    ("name", "value"),
    [
        pytest.param("LABEL_STUDIO_URL", "http://[::1", id="brackets that do not close"),
        pytest.param("LABEL_STUDIO_URL", "http://host:port", id="a port that is no number"),
        pytest.param("LABEL_STUDIO_URL", "http://", id="no host"),
        pytest.param("LABEL_STUDIO_URL", "https://ann:pw@label.example", id="a password in it"),
        pytest.param("LABEL_STUDIO_URL", "https://label.example/?token=t", id="a query"),
        pytest.param("S3_BUCKET", "Birds", id="upper case"),
        pytest.param("SAGEMAKER_PIPELINE", "a--", id="ends in a hyphen"),
        pytest.param("SAGEMAKER_PIPELINE", "a" * 41, id="too long for an endpoint's name"),
        pytest.param("START_TRAINING_EACH_N_UPDATES", "1", id="too few to split"),
        pytest.param("START_TRAINING_EACH_N_UPDATES", "16.5", id="not whole"),
        pytest.param("MINIMUM_MIOU", "nan", id="not a number"),
        pytest.param("POLL_SECONDS", "0", id="without a pause"),
        pytest.param("IMAGE_HOSTS", "*.example.com,https://images.example.com", id="an address for a host"),
        pytest.param("IMAGE_HOSTS", "images.example.com:8080", id="a host with its port"),
        pytest.param("LOG_LEVEL", "LOUD", id="no such level"),
    ],
)
def test_a_wrong_value_is_named_with_what_is_wanted(env: dict[str, str], name: str, value: str):
    with pytest.raises(SettingsError, match=f"{name}: wanted ") as caught:
        Settings.from_env({**env, name: value})

    assert len(caught.value.problems) == 1


def test_an_address_that_cannot_be_used_is_not_repeated_since_it_may_have_a_password_in_it(env: dict[str, str]):
    with pytest.raises(SettingsError) as caught:
        Settings.from_env({**env, "LABEL_STUDIO_URL": "https://ann:the-password@label.example"})
    assert "without user, password" in str(caught.value)
    assert "the-password" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "other"),
    [("LABEL_STUDIO_URL", "LABEL_STUDIO_HOST"), ("LABEL_STUDIO_API_KEY", "LABEL_STUDIO_ACCESS_TOKEN")],
)
def test_label_studios_other_names_are_taken_too(env: dict[str, str], name: str, other: str):
    env[other] = env.pop(name)

    assert Settings.from_env(env).label_studio_url == "http://localhost:8080"


def test_blank_is_not_set(env: dict[str, str]):
    with pytest.raises(SettingsError, match="S3_BUCKET is not set"):
        Settings.from_env({**env, "S3_BUCKET": "  "})


def test_slashes_around_are_taken_off(env: dict[str, str]):
    settings = Settings.from_env({**env, "LABEL_STUDIO_URL": "https://ls.example.com/sub/", "S3_PREFIX": "/a/b/"})

    assert settings.label_studio_url == "https://ls.example.com/sub"
    assert settings.key("projects", "3") == "a/b/projects/3"


def test_an_empty_prefix_leaves_no_slash(env: dict[str, str]):
    settings = Settings.from_env({**env, "S3_PREFIX": "/"})

    assert settings.key("projects", "3") == "projects/3"


def test_secrets_are_not_shown(env: dict[str, str]):
    settings = Settings.from_env({**env, "BASIC_AUTH_USER": "me", "BASIC_AUTH_PASS": "hidden"})

    assert settings.basic_auth == ("me", "hidden")
    assert "a-secret-token" not in repr(settings)
    assert "hidden" not in repr(settings)


def test_a_folder_that_cannot_be_written_is_told(env: dict[str, str]):
    # /proc takes no files from anybody, root included.
    with pytest.raises(SettingsError, match="MODEL_DIR: cannot write into the folder /proc"):
        Settings.from_env({**env, "MODEL_DIR": "/proc"})


def test_every_setting_can_be_given_by_its_name_in_upper_case(env: dict[str, str], tmp_path: Path):
    given = {
        **env,
        "S3_PREFIX": "x",
        "ANNOTATIONS_PREFIX": "x",
        "DEPLOY_ENDPOINTS": "true",
        "SAGEMAKER_PIPELINE": "x",
        "SAGEMAKER_INSTANCE_TYPE": "x",
        "MODEL_NAME": "x",
        "START_TRAINING_EACH_N_UPDATES": "3",
        "MINIMUM_MIOU": "0.3",
        "MIOU_TOLERANCE": "0.3",
        "TRAINING_COOLDOWN_SECONDS": "3",
        "MAX_TRAININGS_PER_DAY": "3",
        "MODEL_SCORE_THRESHOLD": "0.3",
        "POLYGON_MIN_IOU": "0.95",
        "POLYGON_MAX_POINTS": "50",
        "PREDICT_SIDE": "300",
        "PREDICT_TIMEOUT_SECONDS": "3",
        "PREDICT_CONCURRENCY": "3",
        "IMAGE_HOSTS": "x",
        "IMAGE_CACHE_MB": "3",
        "POLL_SECONDS": "3",
        "MAX_BODY_MB": "3",
        "BASIC_AUTH_USER": "x",
        "BASIC_AUTH_PASS": "x",
        "PORT": "3000",
        "WORKERS": "3",
        "THREADS": "3",
        "LOG_LEVEL": "debug",
    }
    assert {name.lower() for name in given} == {each.name for each in fields(Settings)}

    default = Settings.from_env(env)

    for name in given.keys() - env.keys():
        settings = Settings.from_env(given, label_studio=name not in {"ANNOTATIONS_PREFIX", "DEPLOY_ENDPOINTS"})
        assert getattr(settings, name.lower()) != getattr(default, name.lower()), name


def test_names_carry_the_project_and_the_version(env: dict[str, str]):
    settings = Settings.from_env({**env, "MODEL_NAME": "birds"})

    assert settings.project_name(3) == "label-studio-segmentation-p3"
    assert settings.model_version(7) == "birds v7"


@pytest.mark.parametrize(("user", "password"), [("a:b", "x"), ("me", "pässword"), ("müller", "x")])
def test_a_user_and_password_that_label_studio_would_send_otherwise_are_refused(user: str, password: str):
    with pytest.raises(SettingsError, match="wanted ASCII letters, and no colon in the user") as caught:
        Settings.from_env({"BASIC_AUTH_USER": user, "BASIC_AUTH_PASS": password})
    assert password not in str(caught.value) or len(password) == 1


@pytest.mark.parametrize(
    ("env", "region"), [({"AWS_REGION": "eu-west-1"}, "eu-west-1"), ({"AWS_REGION": ""}, None), ({}, None)]
)
def test_the_region_may_have_the_name_that_other_sdks_read(env: dict[str, str], region: str | None):
    assert aws_region(env) == region


def test_a_program_without_label_studio_needs_nothing_of_it(env: dict[str, str]):
    for name in ("LABEL_STUDIO_URL", "LABEL_STUDIO_API_KEY"):
        del env[name]

    settings = Settings.from_env({**env, "ANNOTATIONS_PREFIX": "/a/b/"}, label_studio=False)

    assert (settings.label_studio_url, settings.label_studio_api_key) == ("", "")
    assert settings.annotations_prefix == "a/b"
    assert Settings.from_env(env, label_studio=False).annotations_prefix == "annotations"


def test_a_target_storage_is_a_folder_of_the_bucket_not_all_of_it(env: dict[str, str]):
    with pytest.raises(SettingsError, match="ANNOTATIONS_PREFIX: wanted the folder"):
        Settings.from_env({**env, "ANNOTATIONS_PREFIX": "/"}, label_studio=False)


@pytest.mark.parametrize(
    ("value", "hosts"),
    [
        pytest.param("", "*", id="not set"),
        pytest.param(
            " Images.example.com, *.example.org ,::1,10.0.*", "images.example.com,*.example.org,::1,10.0.*", id="names"
        ),
    ],
)
def test_hosts_of_images_are_patterns_with_commas_between(env: dict[str, str], value: str, hosts: str):
    assert Settings.from_env({**env, "IMAGE_HOSTS": value}).image_hosts == hosts
