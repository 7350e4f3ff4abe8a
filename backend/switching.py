"""A deployment's projects go over to what is to hear them from now on: the new is there before the old goes."""

from dataclasses import dataclass
from typing import Protocol

from backend.config import Settings
from backend.console import Console
from backend.label_studio import Project, basic_authorization, same_place
from backend.label_studio_wiring import Connection, Hook


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
        return [each for each in others if any(map(self._is_heard, self.wiring.hooks(each.id)))]

    def _is_heard(self, hook: Hook) -> bool:
        return _leads_to(hook, {self.hook, self.former}) or self._has_password(hook)

    def _has_password(self, hook: Hook) -> bool:
        auth = self.settings.basic_auth
        return auth is not None and hook.headers.get("Authorization") == basic_authorization(*auth)

    def over(self, project: Project) -> None:
        """The project has one webhook of the deployment, and one ML backend at most; those of others stay."""
        if self.hook:
            self.setup.webhook(project, self.hook.removesuffix("/webhook"))
        if self.backend:
            hears = same_place(self.hook, f"{self.backend}/webhook")
            self.setup.connection(project, self.backend, hears=hears)
        mine = self._connections(project)
        self._take_out_connections(project, mine)
        self._take_out_hooks(project, mine)

    def _connections(self, project: Project) -> list[Connection]:
        if not self.hook:
            return []
        found = self.wiring.connections(project.id)
        return [each for each in found if any(map(self.settings.is_model_version, each.names))]

    def _take_out_connections(self, project: Project, mine: list[Connection]) -> None:
        old = [each for each in mine if self.backend and not same_place(each.url, self.backend)]
        for connection in old:
            self.wiring.delete_connection(connection)
            self.console.item("ML backend", f"{connection.url}: taken out of project {project.id}")
        if old:
            self.setup.shown(project, self.backend)

    def _take_out_hooks(self, project: Project, mine: list[Connection]) -> None:
        """A webhook to an ML backend, which Label Studio makes by itself, would let an annotation be heard twice."""
        backends = {self.backend, *(each.url for each in mine)} - {""}
        old = {self.former, *(f"{each.rstrip('/')}/webhook" for each in backends)}
        for hook in self.wiring.hooks(project.id):
            if _leads_to(hook, {self.hook}):
                continue
            if _leads_to(hook, old) or (self.hook and self._has_password(hook)):
                self.wiring.delete_hook(hook)
                self.console.item("webhook", f"{hook.url}: taken out of project {project.id}")


def _leads_to(hook: Hook, places: set[str]) -> bool:
    return any(place and same_place(hook.url, place) for place in places)
