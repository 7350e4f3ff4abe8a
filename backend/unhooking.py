"""Takes a deployment's webhooks and ML backends out of Label Studio."""

from typing import Protocol

from backend.console import Console
from backend.label_studio import Project
from backend.label_studio_wiring import Connection, Hook
from backend.ownership import Marks, leads_to, left, webhook_of


class Wiring(Protocol):
    """What is needed of Label Studio."""

    def projects(self) -> list[Project]: ...
    def hooks(self, project: int) -> list[Hook]: ...
    def connections(self, project: int) -> list[Connection]: ...
    def delete_hook(self, hook: Hook) -> None: ...
    def delete_connection(self, connection: Connection) -> None: ...


def unhook(wiring: Wiring, console: Console, marks: Marks) -> None:
    """No project sends events to the deployment, nor has its ML backend; those of others stay."""
    for project in wiring.projects():
        found = wiring.connections(project.id)
        mine = marks.own(found, wiring.hooks(project.id))
        for connection in mine:
            wiring.delete_connection(connection)
            console.item("ML backend", f"{connection.url}: taken out of project {project.id}")
        for connection in marks.others(found, mine):
            console.item("ML backend", left(connection, project))
        for hook in wiring.hooks(project.id):
            if marks.hears(hook) or leads_to(hook, set(map(webhook_of, mine))):
                wiring.delete_hook(hook)
                console.item("webhook", f"{hook.url}: taken out of project {project.id}")
