"""``python -m pipeline check | render | publish``."""

import argparse
import sys
from typing import TYPE_CHECKING

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from pipeline.algorithms import BUILT_IN
from pipeline.checker import check_definition
from pipeline.choice import PipelineChoice
from pipeline.publish import PublishError, Target, parse_override, publish
from pipeline.rendering import PATH, RenderError, committed_definition, rendered_definition

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_sagemaker import SageMakerClient


def main(arguments: list[str] | None = None) -> int:
    """Run a command. Returns the exit status."""
    options = _parser().parse_args(arguments)
    try:
        message: str = options.command(options)
    except (PublishError, RenderError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    except (ClientError, BotoCoreError) as error:
        sys.stderr.write(f"AWS: {error}\n")
        return 1
    sys.stdout.write(f"{message}\n")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m pipeline", description="The SageMaker pipeline.")
    commands = parser.add_subparsers(required=True)
    check = commands.add_parser("check", help="validate definition.json, and that it is not stale")
    check.set_defaults(command=_check)
    render = commands.add_parser("render", help="write definition.json from definition.py")
    render.set_defaults(command=_render)
    put = commands.add_parser("publish", help="upload the script and create or update the pipeline")
    put.set_defaults(command=_publish)
    put.add_argument("--bucket", required=True)
    put.add_argument("--prefix", default="label-studio", help="below which everything lies in the bucket")
    put.add_argument("--role-arn", required=True, help="the jobs' execution role")
    put.add_argument("--name", default="label-studio-segmentation", help="the pipeline's name")
    put.add_argument("--region", help="the region of the images (default: that of your AWS configuration)")
    put.add_argument(
        "--algorithm", default=BUILT_IN, metavar="NAME", help="builtin (SageMaker's own) or segmenter (builtin)"
    )
    put.add_argument("--image", default="", metavar="ADDRESS", help="segmenter's image in ECR")
    put.add_argument("--spot", action="store_true", help="train on spot instances")
    about = "begin each training with the live model (where segmenter trains)"
    put.add_argument("--warm-start", action=argparse.BooleanOptionalAction, help=about)
    put.add_argument("--processing-image", default="", help="instead of AWS's PyTorch image")
    put.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="another default of a parameter")
    return parser


def _check(_: argparse.Namespace) -> str:
    if faults := check_definition(committed_definition()):
        raise PublishError("\n".join(f"{PATH.name}: {fault}" for fault in faults))
    if rendered_definition() != PATH.read_text(encoding="utf-8"):
        raise PublishError(f"{PATH.name} is stale: it is not what definition.py renders; run `make definition`")
    return f"{PATH.name} is valid and up to date"


def _render(_: argparse.Namespace) -> str:
    PATH.write_text(rendered_definition(), encoding="utf-8")
    return f"wrote {PATH.name}"


def _publish(options: argparse.Namespace) -> str:
    session = boto3.session.Session(region_name=options.region)
    if not session.region_name:
        raise PublishError("wanted a region: set AWS_DEFAULT_REGION or give --region")
    s3, sagemaker = _clients(session)
    target = Target(
        bucket=options.bucket,
        prefix=options.prefix.strip("/"),
        role_arn=options.role_arn,
        region=session.region_name,
        pipeline=options.name,
        choice=PipelineChoice(
            algorithm=options.algorithm,
            image=options.image,
            spot=options.spot,
            processing_image=options.processing_image,
            warm_start=options.warm_start,
            overrides=dict(parse_override(each) for each in options.set),
        ),
    )
    done = publish(target, committed_definition(), s3=s3, sagemaker=sagemaker)
    lines = [
        f"{'created' if done.created else 'updated'} {done.arn}",
        f"script: {done.code_uri}preprocess.py",
        *done.notes,
    ]
    return "\n".join(lines)


def _clients(session: boto3.session.Session) -> "tuple[S3Client, SageMakerClient]":
    try:
        return session.client("s3"), session.client("sagemaker")
    except ValueError as error:  # what botocore raises for an address or a region that can be none
        raise PublishError(f"AWS: {error} (--region, AWS_ENDPOINT_URL_...)") from error


if __name__ == "__main__":
    sys.exit(main())
