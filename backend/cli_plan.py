"""What ``provision`` tells before it makes anything: what will be made or changed, and about what it costs."""

import argparse
from collections.abc import Iterator

from backend.cli_pipeline import training_instance
from backend.cli_wanted import Wanted
from backend.costs import Use, cost_lines
from backend.deployment import stack_name
from backend.provision import Provision

_WIDTH = 44


def plan(options: argparse.Namespace, wanted: Wanted, provision: Provision) -> Iterator[str]:
    """The lines.

    Raises:
        BackendError: it cannot be made, as the account is.
    """
    identity = provision.account.identity()
    what = "made" if provision.check() is None else "brought up to date"
    yield f"As {identity.arn} in account {identity.account}, region {provision.account.region}, is {what}:"
    parts = "bucket, roles, policies, pipeline, secret, notifications, alarms"
    yield _line(stack_name(wanted.settings, "core"), parts)
    yield from _trigger(options, wanted)
    if options.label_studio:
        yield _line(
            wanted.settings.label_studio_url, f"project {options.title!r}, its storages{_wired(options, wanted)}"
        )
    yield from _changes(wanted)
    yield ""
    yield from cost_lines(
        Use(
            trigger=wanted.trigger,
            training_instance=training_instance(wanted.pipeline),
            spot=wanted.pipeline.spot,
            endpoint_instance=wanted.settings.sagemaker_instance_type,
            endpoint=wanted.trigger == "backend" or bool(options.backend_url) or wanted.serves,
        )
    )


def _line(name: str, text: str) -> str:
    return f"  {name:<{_WIDTH}} {text}"


def _trigger(options: argparse.Namespace, wanted: Wanted) -> Iterator[str]:
    name, before = stack_name(wanted.settings, "trigger"), wanted.deployed
    if wanted.trigger == "lambda":
        stays = "" if options.label_studio else ", left as it is"
        yield _line(name, f"Lambda function, API with a password, event rules{stays}")
    elif before.trigger is not None:
        yield _line(name, "is deleted: a backend takes Label Studio's webhook")
    if options.endpoint is False and before.serves:
        yield _line("endpoints", "those that are there stay and cost, until somebody deletes them")


def _wired(options: argparse.Namespace, wanted: Wanted) -> str:
    if options.backend_url:
        return ", webhook, ML backend"
    return ", webhook" if wanted.trigger == "lambda" else ""


def _changes(wanted: Wanted) -> Iterator[str]:
    changes, chosen = wanted.changes(), wanted.pipeline.told()
    if chosen:
        yield _line("pipeline", ", ".join(f"{name} {value}" for name, value in chosen.items()))
    if changes:
        yield "Chosen otherwise before:"
    for name, (old, new) in changes.items():
        yield _line(name, f"{old or 'nothing'} -> {new or 'nothing'}")
    core = wanted.deployed.core
    if core is not None and core.parameters.get("PipelineDefinitionKey") and wanted.deployed.pipeline is None:
        told = "what was chosen for it before is not known here: it becomes what options and variables say"
        yield _line("pipeline", told)
