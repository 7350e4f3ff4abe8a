"""Label Studio: does it let us in, and how do its projects stand?"""

import base64
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from backend.config import Settings
from backend.doctor_project import Cloud, Prober, ProjectDoctor, Studio, is_ours
from backend.errors import LabelStudioError
from backend.findings import Finding, examined, ok, unknown, wrong
from backend.label_studio import Project, same_place


@dataclass(frozen=True, slots=True, kw_only=True)
class StudioDoctor:
    """The checks. *trigger* is the address of the Lambda function, '' where there is none; *only* is one project."""

    settings: Settings
    studio: Studio
    cloud: Cloud
    probe: Prober
    trigger: str = ""
    only: int | None = None

    def findings(self) -> Iterator[Finding]:
        """All of them; without Label Studio there is nothing to look at."""
        try:
            who = self.studio.whoami()
        except LabelStudioError as error:
            yield wrong("Label Studio", f"{self.settings.label_studio_url}: {error}")
            return
        yield ok("Label Studio", f"{self.settings.label_studio_url}, as {who}")
        yield token_finding(self.settings.label_studio_api_key, now=datetime.now(UTC))
        if self.trigger:
            yield from examined("trigger", self.trigger_answers)
        yield from examined("projects", self._projects)

    def trigger_answers(self) -> Iterator[Finding]:
        """Whether the Lambda function's address lets in who has the password, and nobody else."""
        answer = self.probe("POST", self.trigger)
        if answer.status in {401, 403} and self.settings.basic_auth is None:
            yield ok("trigger", f"{self.trigger} wants the password, which is not known here")
        elif answer.status in {401, 403}:
            yield self._with_password()
        elif answer.status is None:
            yield unknown("trigger", f"{self.trigger} does not answer here: {answer.problem}")
        else:
            yield wrong("trigger", f"{self.trigger} answers {answer.status} without a password: run `provision` again")

    def _with_password(self) -> Finding:
        """What comes of a request that is let in and asks for nothing: the function calls it a bad one."""
        url, answer = self.trigger, self.probe("POST", self.trigger, auth=self.settings.basic_auth)
        if answer.status == 400:
            return ok("trigger", f"{url} wants the password, and takes it")
        if answer.status == 401:
            return wrong(
                "trigger", f"{url} refuses BASIC_AUTH_USER and BASIC_AUTH_PASS: set them as the secret has them"
            )
        if answer.status == 403:
            why = "another password, or --allowed-ips without this machine"
            return unknown("trigger", f"{url} refuses the password from here: it has {why}")
        if answer.status is None:
            return unknown("trigger", f"{url} does not answer here: {answer.problem}")
        log = f"/aws/lambda/{self.settings.sagemaker_pipeline}-authorizer"
        return wrong("trigger", f"{url} answers {answer.status} to the password; its log is {log}, or that of -trigger")

    def _projects(self) -> Iterator[Finding]:
        mine = [self.studio.project(self.only)] if self.only is not None else self._connected()
        if not mine:
            yield wrong("projects", "none sends events to this backend: `provision`, `setup` or `connect` sees to it")
        for project in sorted(mine, key=lambda each: each.id):
            yield from ProjectDoctor(
                settings=self.settings,
                studio=self.studio,
                cloud=self.cloud,
                probe=self.probe,
                trigger=self.trigger,
                project=project,
            ).findings()

    def _connected(self) -> list[Project]:
        return [each for each in self.studio.projects() if self._is_connected(each.id)]

    def _is_connected(self, project: int) -> bool:
        if any(is_ours(each, self.settings) for each in self.studio.connections(project)):
            return True
        return bool(self.trigger) and any(same_place(each.url, self.trigger) for each in self.studio.hooks(project))


def token_finding(token: str, *, now: datetime) -> Finding:
    """Which kind of token it is, and until when it can be used."""
    if re.fullmatch(r"[0-9a-f]{40}", token):
        return ok("token", "a legacy token, which organizations can switch off; a personal access token stays")
    try:
        padded = token.split(".")[1] + "==="
        ends = datetime.fromtimestamp(float(json.loads(base64.urlsafe_b64decode(padded))["exp"]), UTC)
    except (IndexError, ValueError, KeyError, TypeError, OverflowError, OSError):
        return unknown("token", "neither a legacy token nor a personal access token by its looks, but it is let in")
    if ends <= now:
        return wrong("token", f"a personal access token that ended on {ends:%Y-%m-%d}: make another one")
    return ok("token", f"a personal access token, until {ends:%Y-%m-%d}")
