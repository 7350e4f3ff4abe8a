"""How one project is wired: is everything there that labels, trains and predicts?"""

import urllib.parse
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from backend.aws import Endpoint, ModelPackage
from backend.config import Settings
from backend.errors import BackendError
from backend.events import KINDS
from backend.findings import Check, Finding, examined, ok, unknown, wrong
from backend.inputs import backend_url
from backend.label_studio import Project, basic_authorization, same_place
from backend.label_studio_wiring import Connection, Hook, Place
from backend.probe import Answer
from backend.regions import parse_label_config

_HEALTH_S = 1.0  # as long as Label Studio waits for the answer, unless ML_TIMEOUT_HEALTH says otherwise
_ACTIONS = KINDS.keys() - {"START_TRAINING"}  # which goes to the ML backend, whatever its webhook is restricted to
_AGAIN = "run `connect` or `provision` again"


class Studio(Protocol):
    """What is asked of Label Studio."""

    def whoami(self) -> str: ...
    def project(self, project: int) -> Project: ...
    def projects(self) -> list[Project]: ...
    def hooks(self, project: int) -> list[Hook]: ...
    def connections(self, project: int) -> list[Connection]: ...
    def sources(self, project: int) -> list[Place]: ...
    def targets(self, project: int) -> list[Place]: ...
    def unreachable(self, project: int, url: str) -> str: ...


class Cloud(Protocol):
    """What is asked of AWS."""

    @property
    def region(self) -> str: ...
    def endpoint(self, project: int) -> Endpoint | None: ...
    def newest_approved(self, project: int) -> ModelPackage | None: ...
    def get_json(self, uri: str) -> Mapping[str, object]: ...


class Prober(Protocol):
    """Asks an address over HTTP."""

    def __call__(self, method: str, url: str, *, auth: tuple[str, str] | None = None) -> Answer: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ProjectDoctor:
    """The checks. *trigger* is the address of the Lambda function, '' where there is none."""

    settings: Settings
    studio: Studio
    cloud: Cloud
    probe: Prober
    trigger: str
    project: Project

    def findings(self) -> Iterator[Finding]:
        """All of them."""
        checks: tuple[tuple[str, Check], ...] = (
            ("interface", self.interface),
            ("labels", self.labels),
            ("source storage", self.source),
            ("target storage", self.target),
            ("ML backend", self.connection),
            ("webhook", self.webhook),
            ("endpoint", self.endpoint),
        )
        for name, check in checks:
            yield from examined(self._name(name), check)

    def _name(self, what: str) -> str:
        return f"{self.project.id}: {what}"

    def interface(self) -> Iterator[Finding]:
        """Whether the labeling interface can be trained on."""
        labels = parse_label_config(self.project.label_config).labels
        yield ok(self._name("interface"), f"{self.project.title!r} draws {', '.join(labels)}")

    def labels(self) -> Iterator[Finding]:
        """Whether the labels that the model gives are in the labeling interface."""
        package = self.cloud.newest_approved(self.project.id)
        if package is None:
            yield ok(self._name("labels"), "no approved model yet to compare the labeling interface with")
            return
        if not package.dataset:
            yield unknown(self._name("labels"), f"model {package.version} does not tell what it was trained on")
            return
        told = self.cloud.get_json(f"{package.dataset}dataset.json").get("labels")
        trained = [str(each) for each in told] if isinstance(told, Sequence) else []
        config = parse_label_config(self.project.label_config)
        lost = [label for label in trained if config.label_for(label) is None]
        if lost:
            todo = 'name them in <Label predicted_values="...">, or train with the new labels'
            yield wrong(self._name("labels"), f"model {package.version} gives {', '.join(lost)}, left out here: {todo}")
        else:
            yield ok(self._name("labels"), f"all of model {package.version} are in the labeling interface")

    def source(self) -> Iterator[Finding]:
        """Whether tasks come from the bucket."""
        none = ok(self._name("source storage"), "none in the bucket: tasks come from elsewhere")
        yield from self._storage("source storage", self.studio.sources(self.project.id), none)

    def target(self) -> Iterator[Finding]:
        """Whether annotations are copied to the bucket, from where the Lambda function reads them."""
        name, prefix = self._name("target storage"), self.settings.annotations_prefix
        none = (
            wrong(name, f"none in {prefix}/ of the bucket, where the Lambda function reads: run `provision` again")
            if self.trigger
            else ok(name, "none in the bucket: the backend asks Label Studio itself")
        )
        there = self.studio.targets(self.project.id)
        yield from self._storage("target storage", [each for each in there if self._is_read(each)], none)

    def _is_read(self, target: Place) -> bool:
        """Whether the Lambda function reads there; a backend does not care."""
        return not self.trigger or target.prefix == self.settings.annotations_prefix

    def _storage(self, what: str, places: Sequence[Place], none: Finding) -> Iterator[Finding]:
        here = [each for each in places if each.bucket == self.settings.s3_bucket]
        if not here:
            yield none
        for place in here:
            uri = f"s3://{place.bucket}/{place.prefix}"
            if place.region not in {"", self.cloud.region}:
                todo = f"set Region Name to {self.cloud.region} in Settings > Cloud Storage"
                yield wrong(self._name(what), f"{uri}: Label Studio looks for it in {place.region}: {todo}")
            if place.status == "failed":
                yield wrong(self._name(what), f"{uri}: {place.problem or 'failed'} (Settings > Cloud Storage > Sync)")
            elif place.region in {"", self.cloud.region}:
                yield ok(self._name(what), f"{uri}: {place.status or 'there'}")

    def connection(self) -> Iterator[Finding]:
        """Whether Label Studio and this machine reach the backend, and wait long enough for it."""
        name, settings = self._name("ML backend"), self.settings
        mine = self._mine()
        if not mine and self.trigger:
            yield ok(name, "none: the Lambda function trains; predictions want a backend that runs")
        elif not mine:
            yield wrong(name, f"none is connected: {_AGAIN}")
        for each in mine:
            if each.connected:
                yield ok(name, f"{each.url}: connected")
            else:
                yield wrong(name, f"{each.url}: not connected ({each.problem or 'no reason given'}): {_AGAIN}")
            if each.timeout_s and each.timeout_s <= settings.predict_timeout_seconds:
                yield wrong(
                    name,
                    f"Label Studio waits {each.timeout_s:g} s for predictions and the backend takes up to "
                    f"{settings.predict_timeout_seconds:g}: set PREDICT_TIMEOUT_SECONDS lower",
                )
            yield from examined(self._name("health"), self._health_of(each))

    def _mine(self) -> list[Connection]:
        return [each for each in self.studio.connections(self.project.id) if is_ours(each, self.settings)]

    def _health_of(self, connection: Connection) -> Callable[[], Iterator[Finding]]:
        def health() -> Iterator[Finding]:
            answer = self.probe("GET", f"{connection.url.rstrip('/')}/health", auth=self.settings.basic_auth)
            yield health_finding(self._name("health"), connection, answer)
            # What the backend itself cannot reach, from where it runs.
            yield from (wrong(self._name("health"), f"{connection.url} tells: {each}") for each in answer.told)

        return health

    def webhook(self) -> Iterator[Finding]:
        """Whether Label Studio sends its events, with the password, to where they are wanted."""
        name = self._name("webhook")
        mine = self._mine()
        wanted = [self.trigger] if self.trigger else [f"{each.url.rstrip('/')}/webhook" for each in mine]
        hooks = self.studio.hooks(self.project.id)
        for url in wanted:
            hook = next((each for each in hooks if same_place(each.url, url)), None)
            if hook is None:
                yield wrong(name, f"none to {url}, so nothing trains: {_AGAIN}")
            elif fault := hook_fault(hook, self.settings):
                yield wrong(name, f"{hook.url}: {fault}")
            else:
                yield self._heard(name, hook)
        if self.trigger:
            yield self._reached(name)

    def _reached(self, name: str) -> Finding:
        """Whether Label Studio reaches the Lambda function's address, from where it runs."""
        if reason := self.studio.unreachable(self.project.id, self.trigger):
            todo = "let Label Studio's machine out to that address by HTTPS (port 443), or use --trigger backend"
            return wrong(name, f"Label Studio does not reach {self.trigger}: {reason}; {todo}")
        return ok(name, f"Label Studio reaches {self.trigger}")

    def _heard(self, name: str, hook: Hook) -> Finding:
        if self.settings.basic_auth:
            return ok(name, f"{hook.url}, with the password")
        if self.trigger:
            return unknown(name, f"{hook.url}: whether with the password, which is not known here")
        return ok(name, f"{hook.url}, without a password: the backend is to be reached by Label Studio alone")

    def endpoint(self) -> Iterator[Finding]:
        """Whether the project's model is served."""
        name, found = self._name("endpoint"), self.cloud.endpoint(self.project.id)
        if found is None:
            maker = "a backend, or the Lambda function with --endpoint," if self._alone() else "the backend"
            yield ok(name, f"none; {maker} makes one as soon as a model is approved")
        elif found.status == "Failed":
            yield wrong(name, f"failed: {found.failure or 'no reason given'}; the backend tries the next model")
        else:
            costs = "; it costs, and no backend of this project calls it" if self._alone() else ""
            yield ok(name, f"{found.status}, model {found.version or 'of somebody else'}{costs}")

    def _alone(self) -> bool:
        """Whether a Lambda function trains, and no backend predicts."""
        return bool(self.trigger) and not self._mine()


def health_finding(name: str, connection: Connection, answer: Answer) -> Finding:
    """What an answer to GET /health says."""
    if not answer.here:
        return unknown(name, f"{connection.url}: {answer.problem}")
    if answer.status is None:
        kind = unknown if connection.connected else wrong
        return kind(name, f"{connection.url} does not answer here: {answer.problem}; is it running?")
    if answer.status == 401:
        return wrong(name, f"{connection.url} refuses BASIC_AUTH_USER and BASIC_AUTH_PASS: set them as it has them")
    if answer.status != 200:
        return wrong(name, f"{connection.url}/health answers {answer.status}: is that this backend?")
    if answer.seconds > _HEALTH_S:
        told = f"{connection.url} took {answer.seconds:.1f} s; Label Studio waits {_HEALTH_S:g} (ML_TIMEOUT_HEALTH)"
        return wrong(name, told)
    return ok(name, f"{connection.url} answered in {answer.seconds * 1000:.0f} ms")


def hook_fault(hook: Hook, settings: Settings) -> str:
    """Why events do not come through a webhook; '' where they do."""
    try:
        backend_url(hook.url.removesuffix("/webhook"))
    except BackendError:
        host = urllib.parse.urlsplit(hook.url).hostname
        return f"Label Studio sends no events to {host!r}, a host name without a dot: connect it by a name with one"
    if not hook.active:
        return "switched off: switch it on (Settings > Webhooks)"
    if not hook.with_payload:
        return "sends no payload: switch that on (Settings > Webhooks)"
    if hook.actions is not None and (unheard := sorted(_ACTIONS - hook.actions)):
        return f"does not send {', '.join(unheard)}: let it send all actions (Settings > Webhooks)"
    if settings.basic_auth and hook.headers.get("Authorization") != basic_authorization(*settings.basic_auth):
        return f"its header Authorization is not the one of BASIC_AUTH_USER and BASIC_AUTH_PASS: {_AGAIN}"
    return ""


def is_ours(connection: Connection, settings: Settings) -> bool:
    """Whether an ML backend is this one, by what it calls itself."""
    return any(map(settings.is_model_version, connection.names))
