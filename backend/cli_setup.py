"""``python -m backend setup`` and ``connect``: their arguments, and what is done with them."""

import argparse
import contextlib
import math
import sys
from pathlib import Path
from typing import TypeAlias

from backend.aws import Aws
from backend.cli_pipeline import add_pipeline, check, pipeline_choice, target
from backend.config import Settings, s3_endpoint
from backend.console import Console
from backend.events import find_project_id
from backend.inputs import (
    FOLDERS,
    Folders,
    apart,
    backend_url,
    http_url,
    key_prefix,
    label_names,
    labeling_interface,
    project_title,
    read_labeling_interface,
)
from backend.label_studio_setup import Storage, StudioSetup
from backend.setup import Setup
from pipeline.publish import Published, Target, publish
from pipeline.rendering import committed_definition

_LONGEST_WAIT = 86400
Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"


def add_setup(commands: Commands) -> None:
    """``setup``."""
    about = "make what a project needs in S3, SageMaker and Label Studio"
    again = "Safe to run again: what is there is found, and mended where it differs."
    setup = commands.add_parser("setup", help=about, description=f"{about[0].upper() + about[1:]}. {again}")
    setup.set_defaults(command=_setup)
    _add_backend(setup)
    add_project(setup.add_argument_group("the project"))
    place = setup.add_argument_group("its images and annotations in S3_BUCKET")
    place.add_argument("--create-bucket", action="store_true", help="make the bucket if it is not there")
    add_storages(place)
    add_pipeline(setup.add_argument_group("the pipeline"))


def add_connect(commands: Commands) -> None:
    """``connect``."""
    about = "connect the ML backend, which runs, to a project that is there"
    again = "That is its webhook with the password, and its ML backend. Safe to run again."
    connect = commands.add_parser("connect", help=about, description=f"{about[0].upper() + about[1:]}. {again}")
    connect.set_defaults(command=_connect)
    _add_backend(connect)
    connect.add_argument("--title", default="Bird parts", help="the project's (Bird parts)")
    add_public_url(connect)


def _add_backend(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--backend-url", required=True, metavar="URL", help="the ML backend as Label Studio reaches it")
    add_wait(parser)


def add_wait(parser: argparse.ArgumentParser) -> None:
    """How patient the command is."""
    about = "for what does not answer yet (60)"
    parser.add_argument("--wait", type=_seconds, default=60.0, metavar="SECONDS", help=about)


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 <= seconds <= _LONGEST_WAIT:
        raise argparse.ArgumentTypeError(f"wanted seconds from 0 to {_LONGEST_WAIT}, got {text!r}")
    return seconds


def add_public_url(parser: argparse._ActionsContainer) -> None:
    """Where people find Label Studio."""
    about = "Label Studio as a person reaches it (LABEL_STUDIO_URL)"
    parser.add_argument("--label-studio-public-url", metavar="URL", help=about)


def add_project(group: argparse._ArgumentGroup) -> None:
    """Which project, and its labels."""
    group.add_argument("--title", default="Bird parts", help="made if there is none with it (Bird parts)")
    labels = group.add_mutually_exclusive_group()
    labels.add_argument(
        "--labels", default="Beak,Head,Wing,Body", help="to draw, in a new project (Beak,Head,Wing,Body)"
    )
    labels.add_argument("--label-config", type=Path, metavar="FILE", help="or a new project's whole labeling interface")
    add_public_url(group)


def add_storages(group: argparse._ArgumentGroup) -> None:
    """Where images and annotations lie, and how Label Studio comes there."""
    group.add_argument("--images", type=Path, metavar="DIR", help="upload the images of this folder that are not there")
    group.add_argument("--images-prefix", metavar="PREFIX", help="where images are (images/)")
    group.add_argument("--annotations-prefix", metavar="PREFIX", help="copies (annotations/)")
    about = "let browsers fetch images from S3, not from Label Studio (no)"
    group.add_argument("--presign", action=argparse.BooleanOptionalAction, help=about)
    group.add_argument("--storage-endpoint", metavar="URL", help="S3 as Label Studio reaches it (AWS_ENDPOINT_URL_S3)")
    group.add_argument("--storage-keys", action="store_true", help="give Label Studio this process's AWS access key")


def _setup(options: argparse.Namespace) -> int:
    settings, console = Settings.from_env(writes=False), Console(sys.stdout)
    # What people gave is checked before anything is made.
    address = backend_url(options.backend_url)
    public = public_url(options, settings)
    title, interface = project_title(options.title), wanted_interface(options)
    cloud = Aws(settings)
    images, annotations = storages(options, settings, cloud, folders(options, settings))
    pipeline = target(pipeline_choice(options), settings, cloud.region)
    check(pipeline)
    studio = StudioSetup(settings.label_studio_url, settings.label_studio_api_key)
    with contextlib.closing(studio):
        setup = Setup(settings, cloud=cloud, studio=studio, console=console, patience=options.wait)
        setup.bucket(create=options.create_bucket)
        _publish(pipeline, cloud, console, patience=options.wait)
        if options.images:
            setup.images(options.images, images.prefix)
        project = setup.project(title, interface)
        tasks = setup.source(project, images, presign=bool(options.presign))
        setup.target(project, annotations)
        setup.webhook(project, address)
        setup.connection(project, address)
    console.say(farewell(public, project.id, tasks, settings))
    return 0


def _connect(options: argparse.Namespace) -> int:
    settings, console = Settings.from_env(writes=False), Console(sys.stdout)
    address, public = backend_url(options.backend_url), public_url(options, settings)
    title = project_title(options.title)
    with contextlib.closing(StudioSetup(settings.label_studio_url, settings.label_studio_api_key)) as studio:
        setup = Setup(settings, cloud=Aws(settings), studio=studio, console=console, patience=options.wait)
        project = setup.existing_project(title)
        setup.webhook(project, address)
        setup.connection(project, address)
    console.say(farewell(public, project.id, project.tasks, settings))
    return 0


def wanted_interface(options: argparse.Namespace) -> str:
    """The labeling interface of a project that is new."""
    if options.label_config:
        return read_labeling_interface(options.label_config)
    return labeling_interface(label_names(options.labels))


def public_url(options: argparse.Namespace, settings: Settings) -> str:
    """Where people find Label Studio."""
    return http_url(options.label_studio_public_url or settings.label_studio_url, "--label-studio-public-url")


def folders(options: argparse.Namespace, settings: Settings, known: Folders = FOLDERS) -> Folders:
    """Where images and annotations lie in the bucket: as a person says, else where they are *known* to be.

    Raises:
        BackendError: it is the whole bucket, or one of the three places there has another in it.
    """
    own = settings.s3_prefix
    images = options.images_prefix or known.images
    annotations = options.annotations_prefix or known.annotations
    return apart(
        Folders(
            key_prefix(images, "--images-prefix", own=own),
            key_prefix(annotations, "--annotations-prefix", own=own),
        )
    )


def storages(options: argparse.Namespace, settings: Settings, cloud: Aws, folders: Folders) -> tuple[Storage, Storage]:
    """Where the images are, and where copies of the annotations go."""
    endpoint = options.storage_endpoint or s3_endpoint()
    endpoint = http_url(endpoint, "--storage-endpoint") if endpoint else ""
    keys = cloud.access_keys() if options.storage_keys else None

    def storage(prefix: str) -> Storage:
        return Storage(bucket=settings.s3_bucket, prefix=prefix, region=cloud.region, endpoint=endpoint, keys=keys)

    return storage(folders.images), storage(folders.annotations)


def _publish(target: Target, cloud: Aws, console: Console, *, patience: float) -> None:
    """The pipeline is there, as *target* wants it."""
    definition = committed_definition()

    def attempt() -> Published:
        return cloud.lend(lambda s3, sagemaker: publish(target, definition, s3=s3, sagemaker=sagemaker))

    done = console.patiently(attempt, seconds=patience)
    console.item("pipeline", f"{target.pipeline}: {'made' if done.created else 'found, published anew'}")
    for note in done.notes:
        console.item("pipeline", note)


def farewell(public: str, project: int, tasks: int, settings: Settings) -> str:
    """Where the project is, and what comes next."""
    first = "" if tasks else "import images there; "
    count = settings.start_training_each_n_updates
    return (
        f"\nProject: {public}/projects/{project}/data\n"
        f"Next: {first}press Label All Tasks and draw; at {count} annotated images the training starts by itself"
    )


def project_id(text: str) -> int:
    """A project's id as people give it."""
    project = find_project_id(text)
    if project is None:
        raise argparse.ArgumentTypeError(f"wanted a project's id, as in its address in Label Studio, got {text!r}")
    return project
