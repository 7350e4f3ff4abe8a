"""What tells a deployment's webhooks and ML backends from those of others in the same Label Studio."""

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field

from backend.label_studio import Project, basic_authorization, same_place
from backend.label_studio_wiring import Connection, Hook


@dataclass(frozen=True, slots=True, kw_only=True)
class Marks:
    """By what a deployment is known.

    *is_version* knows what ML backends of its kind call themselves, which those of other deployments do too;
    *addresses* are where it hears events; *passwords* are those that its webhooks carry.
    """

    is_version: Callable[[str], bool]
    addresses: Collection[str] = ()
    passwords: Collection[tuple[str, str]] = field(default=(), repr=False)

    def hears(self, hook: Hook) -> bool:
        """Whether a webhook is the deployment's: nobody else has its password or its address."""
        return leads_to(hook, self.addresses) or self._carries_password(hook)

    def _carries_password(self, hook: Hook) -> bool:
        return hook.headers.get("Authorization") in {basic_authorization(*each) for each in self.passwords}

    def own(self, connections: Iterable[Connection], hooks: Collection[Hook]) -> list[Connection]:
        """The deployment's ML backends among the *connections* of a project, which has these *hooks*.

        Where an ML backend has a webhook with a password, that tells whose it is; else whether the deployment hears
        the project.
        """
        return [each for each in connections if self._is_alike(each) and self._is_own(each, hooks)]

    def others(self, connections: Iterable[Connection], own: Collection[Connection]) -> list[Connection]:
        """The ML backends that call themselves as the deployment's *own* do, and are none of it."""
        return [each for each in connections if self._is_alike(each) and each not in own]

    def _is_alike(self, connection: Connection) -> bool:
        return any(map(self.is_version, connection.names))

    def _is_own(self, connection: Connection, hooks: Collection[Hook]) -> bool:
        place = {webhook_of(connection)}
        telling = [hook for hook in hooks if leads_to(hook, place) and "Authorization" in hook.headers]
        return any(map(self.hears, telling or hooks))


def webhook_of(connection: Connection) -> str:
    """Where an ML backend hears events."""
    return f"{connection.url.rstrip('/')}/webhook"


def left(connection: Connection, project: Project) -> str:
    """What a person is told of an ML backend that may be another deployment's."""
    return f"{connection.url}: left in project {project.id}, since no webhook there tells that it is of this deployment"


def leads_to(hook: Hook, places: Collection[str]) -> bool:
    """Whether a webhook leads to one of these addresses."""
    return any(place and same_place(hook.url, place) for place in places)
