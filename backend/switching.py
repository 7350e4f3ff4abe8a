"""A deployment's projects go over to what is to hear them from now on: the new is there before the old goes."""

from dataclasses import dataclass
from typing import Protocol

from backend.config import Settings
from backend.console import Console
from backend.label_studio import Project, same_place
from backend.label_studio_wiring import Connection, Hook
from backend.ownership import Marks, leads_to, left, webhook_of


class Wiring(Protocol):
    """What is there in Label Studio, to look at and to take out."""

    def projects(self) -> list[Project]: ...
    def hooks(self, project: int) -> list[Hook]: ...
    def connections(self, project: int) -> list[Connection]: ...
    def delete_hook(self, hook: Hook) -> None: ...
    def delete_connection(self, connection: Connection) -> None: ...


class Setup(Protocol):
    """Makes what is not there in Label Studio."""

    def webhook(self, project: Project, url: str) -> None: ...
    def connection(self, project: Project, url: str, *, hears: bool) -> None: ...
    def shown(self, project: Project, url: str) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Switch:
    """Where the projects go.

    *hook* is the address that hears their events, '' where nobody is there yet; *backend* is the ML backend, '' where
    it stays as it is; *former* is the address of a Lambda function that is about to go, '' where none is.
    """

    settings: Settings
    wiring: Wiring
    setup: Setup
    console: Console
    hook: str
    backend: str = ""
    former: str = ""

    def others(self, project: Project) -> list[Project]:
        """The projects beside this one that the deployment hears, or heard."""
        if not self.hook and not self.former:
            return []
        others = (each for each in self.wiring.projects() if each.id != project.id)
        marks = self._marks()
        return [each for each in others if any(map(marks.hears, self.wiring.hooks(each.id)))]

    def _marks(self) -> Marks:
        auth = self.settings.basic_auth
        return Marks(
            is_version=self.settings.is_model_version,
            addresses={self.hook, self.former},
            passwords=() if auth is None else (auth,),
        )

    def over(self, project: Project) -> None:
        """The project has one webhook of the deployment, and one ML backend at most; those of others stay."""
        mine = self._connections(project)  # before a new webhook makes it look as if all had been the deployment's
        if self.hook:
            self.setup.webhook(project, self.hook.removesuffix("/webhook"))
        if self.backend:
            hears = same_place(self.hook, f"{self.backend}/webhook")
            self.setup.connection(project, self.backend, hears=hears)
        self._take_out_connections(project, mine)
        self._take_out_hooks(project, mine)

    def _connections(self, project: Project) -> list[Connection]:
        if not self.hook:
            return []
        marks, found = self._marks(), self.wiring.connections(project.id)
        mine = marks.own(found, self.wiring.hooks(project.id))
        for each in marks.others(found, mine):
            if not same_place(each.url, self.backend):
                self.console.item("ML backend", left(each, project))
        return mine

    def _take_out_connections(self, project: Project, mine: list[Connection]) -> None:
        old = [each for each in mine if self.backend and not same_place(each.url, self.backend)]
        for connection in old:
            self.wiring.delete_connection(connection)
            self.console.item("ML backend", f"{connection.url}: taken out of project {project.id}")
        if old:
            self.setup.shown(project, self.backend)

    def _take_out_hooks(self, project: Project, mine: list[Connection]) -> None:
        """A webhook to an ML backend, which Label Studio makes by itself, would let an annotation be heard twice."""
        marks = self._marks()
        old = {self.former, *map(webhook_of, mine), f"{self.backend}/webhook" if self.backend else ""}
        for hook in self.wiring.hooks(project.id):
            if leads_to(hook, {self.hook}):
                continue
            if leads_to(hook, old) or (self.hook and marks.hears(hook)):
                self.wiring.delete_hook(hook)
                self.console.item("webhook", f"{hook.url}: taken out of project {project.id}")
