"""Label Studio's ML-backend protocol over HTTP, and the place where the service is put together.

Run as ``gunicorn 'backend.app:create_app()'`` (settings of gunicorn itself: gunicorn.conf.py).
"""

import hmac
import logging
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from flask import Flask, Response, g, jsonify, request
from flask.typing import ResponseReturnValue
from werkzeug.exceptions import BadRequest, HTTPException, ServiceUnavailable, Unauthorized

from backend.aws import Aws
from backend.config import NO_MODEL, Settings
from backend.deployer import Deployer
from backend.downloads import Downloads
from backend.errors import BackendError, RequestError, SettingsError
from backend.events import KINDS, parse_project_id
from backend.images import Images
from backend.label_studio import LabelStudio, basic_authorization
from backend.metrics import Metrics
from backend.model import SageMakerSegmentation, Service
from backend.poller import Inline, Poller, Rounds
from backend.preannotator import Preannotator
from backend.predictor import Predictor
from backend.preflight import Preflight
from backend.state import Leadership, StateFile
from backend.trainer import Trainer

logger = logging.getLogger(__name__)
APP_LOAD_ERROR = 4  # tells gunicorn's master to stop instead of starting the worker again and again
OPEN_ROUTES = {"/livez"}


@dataclass(frozen=True, slots=True)
class Parts:
    """What an app is made of. *start* sets the background going, once, in the process that serves."""

    model: type[SageMakerSegmentation]
    service: Service
    metrics: Metrics
    problems: Callable[[], list[str]] = list
    start: Callable[[], None] | None = None


def build(settings: Settings) -> Parts:
    """The real parts. Makes clients and calls nothing yet."""
    metrics, cloud = Metrics(), Aws(settings)
    studio = _label_studio(settings)
    service, rounds = _assemble(settings, cloud, studio, metrics)
    preflight = Preflight(settings, cloud=cloud, studio=studio)
    poller = Poller(
        rounds,
        states=service.states,
        leadership=Leadership(settings.model_dir / "leader.lock"),
        interval=settings.poll_seconds,
        check=preflight,
    )
    service = replace(service, background=poller)
    return Parts(
        model=SageMakerSegmentation.bound(service),
        service=service,
        metrics=metrics,
        problems=lambda: preflight.problems,
        start=poller.start,
    )


def hosted_model(settings: Settings) -> type[SageMakerSegmentation]:
    """The model class for a server of the package label-studio-ml, which runs fit() in a process of its own.

    That package has to be imported before this module. Derive a class of your own from it: the server's processes
    find it by its name.
    """
    studio = _label_studio(settings)
    service, _ = _assemble(settings, Aws(settings), studio, Metrics())
    return SageMakerSegmentation.bound(service)


def _label_studio(settings: Settings) -> LabelStudio:
    return LabelStudio(
        settings.label_studio_url,
        settings.label_studio_api_key,
        basic_auth=settings.basic_auth,
        downloads=Downloads.by(settings),
    )


def _assemble(settings: Settings, cloud: Aws, studio: LabelStudio, metrics: Metrics) -> tuple[Service, Rounds]:
    images = Images(settings, store=cloud, files=studio)
    predictor = Predictor(settings, inference=cloud, images=images)
    states = StateFile(settings.model_dir / "projects.json")
    trainer = Trainer(settings, cloud=cloud, source=studio, images=images)
    preannotator = Preannotator(
        settings,
        studio=studio,
        predictor=predictor,
        states=states,
        authorization=basic_authorization(*settings.basic_auth) if settings.basic_auth else "",
    )
    deployer = Deployer(settings, cloud=cloud, states=states, preannotation=preannotator)
    rounds = Rounds(trainer=trainer, deployer=deployer, states=states, observe=metrics.observe_decision)
    return Service(settings, states, predictor, Inline(rounds), trainer.policy), rounds


def create_app(parts: Parts | None = None) -> Flask:
    """The WSGI application; without *parts* it is the real one, set up by the environment."""
    if parts is None:
        parts = _parts_or_exit()
    settings = parts.service.settings
    app = Flask("backend")
    app.config["MAX_CONTENT_LENGTH"] = settings.max_body_mb * 2**20
    _add_guards(app, parts)
    _add_errors(app)
    _add_open_routes(app, parts)
    _add_protocol(app, parts)
    if parts.start is not None:
        parts.start()
    return app


def _parts_or_exit() -> Parts:
    try:
        settings = Settings.from_env()
        _set_up_logging(settings)
        return build(settings)
    except SettingsError as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(APP_LOAD_ERROR)


def _set_up_logging(settings: Settings) -> None:
    logging.basicConfig(level=settings.log_level, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    for chatty in ("httpx", "httpcore", "botocore", "urllib3"):
        logging.getLogger(chatty).setLevel(logging.WARNING)  # their debug output shows headers and bodies


def _add_guards(app: Flask, parts: Parts) -> None:
    wanted = parts.service.settings.basic_auth

    @app.before_request
    def authenticate() -> None:
        g.started = time.perf_counter()
        if wanted is None or request.path in OPEN_ROUTES:
            return
        given = request.authorization
        user, password = (given.username or "", given.password or "") if given else ("", "")
        # Both are compared whatever the first one gives, each in constant time.
        if not _same(user, wanted[0]) & _same(password, wanted[1]):
            raise Unauthorized("wanted basic authentication with BASIC_AUTH_USER and BASIC_AUTH_PASS")

    @app.after_request
    def measure(response: Response) -> Response:
        route = request.url_rule.rule if request.url_rule else "unknown"
        seconds = time.perf_counter() - g.get("started", time.perf_counter())
        parts.metrics.requests.labels(route, request.method, response.status_code).observe(seconds)
        return response


def _same(given: str, wanted: str) -> bool:
    return hmac.compare_digest(given.encode(), wanted.encode())


def _add_errors(app: Flask) -> None:
    """One shape for every error: ``{"error": {"code": 400, "message": "..."}}``, and never a traceback."""

    @app.errorhandler(HTTPException)
    def http_error(error: HTTPException) -> ResponseReturnValue:
        response = _error(error.code or 500, error.description or error.name)
        if isinstance(error, Unauthorized):
            response.headers["WWW-Authenticate"] = 'Basic realm="ml-backend"'
        if isinstance(error, ServiceUnavailable):
            response.headers["Retry-After"] = "5"
        return response

    @app.errorhandler(RequestError)
    def request_error(error: RequestError) -> ResponseReturnValue:
        return _error(400, str(error))

    @app.errorhandler(BackendError)
    def backend_error(error: BackendError) -> ResponseReturnValue:
        logger.warning("%s: %s", request.path, error)
        return _error(503, str(error))

    @app.errorhandler(Exception)
    def unexpected(error: Exception) -> ResponseReturnValue:
        logger.error("unexpected error in %s", request.path, exc_info=error)
        return _error(500, "unexpected error; see the backend's log")


def _error(code: int, message: str) -> Response:
    response = jsonify({"error": {"code": code, "message": message}})
    response.status_code = code
    return response


def _add_open_routes(app: Flask, parts: Parts) -> None:
    states = parts.service.states

    @app.get("/livez")
    def livez() -> ResponseReturnValue:
        return jsonify({"status": "UP"})

    @app.get("/")
    @app.get("/health")
    def health() -> ResponseReturnValue:
        """From memory alone: Label Studio asks before nearly everything and waits a second."""
        problems = [*parts.problems(), *_project_problems(states)]
        return jsonify({"status": "UP", "model_class": parts.model.__name__, "problems": problems})

    @app.get("/versions")
    def versions() -> ResponseReturnValue:
        """Label Studio does not tell which project it asks for."""
        live = {states.get(project).live for project in states.projects()} - {""}
        return jsonify({"versions": sorted(live)})

    @app.get("/metrics")
    def metrics() -> ResponseReturnValue:
        return Response(parts.metrics.render(), content_type="text/plain; version=0.0.4; charset=utf-8")


def _project_problems(states: StateFile) -> Iterator[str]:
    for project in states.projects():
        state = states.get(project)
        yield from (f"project {project}: {problem}" for problem in (state.problem, state.serving_problem) if problem)


def _add_protocol(app: Flask, parts: Parts) -> None:
    # A slow endpoint must never take all threads: /health has a second to answer, /webhook too.
    free = threading.BoundedSemaphore(max(1, parts.service.settings.threads - 2))
    states, metrics = parts.service.states, parts.metrics

    @app.post("/setup")
    def setup() -> ResponseReturnValue:
        project = parse_project_id(_body().get("project"))
        url = request.base_url.removesuffix("/setup")
        state = states.update(project, url=url)
        return jsonify({"model_version": state.live or NO_MODEL})

    @app.post("/webhook")
    def webhook() -> ResponseReturnValue:
        body = _body()
        action = body.get("action")
        metrics.events.labels(action if isinstance(action, str) and action in KINDS else "other").inc()
        answer = parts.model().fit(action, body)  # type: ignore[arg-type]  # fit() checks what came
        return jsonify(answer), 201

    @app.post("/predict")
    def predict() -> ResponseReturnValue:
        body = _body()
        tasks, context = _tasks(body), (body.get("params") or {}).get("context")
        if not free.acquire(blocking=False):
            raise ServiceUnavailable("too many predictions at once; Label Studio asks again when the task is opened")
        try:
            model = parts.model(project_id=body.get("project"), label_config=str(body.get("label_config") or ""))
            items = model.predict(tasks, context=context)
        finally:
            free.release()
        for item in items:
            metrics.predictions.labels("predicted" if item else "none").inc()
        return jsonify({"results": items, "model_version": model.model_version})


def _body() -> dict[str, Any]:
    try:
        body = request.get_json(force=True)
    except (BadRequest, RecursionError) as error:
        raise RequestError("wanted a JSON object as the body, got something else") from error
    if not isinstance(body, dict):
        raise RequestError(f"wanted a JSON object as the body, got {type(body).__name__}")
    return body


def _tasks(body: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    tasks = body.get("tasks")
    if not isinstance(tasks, list) or not all(isinstance(task, dict) for task in tasks):
        raise RequestError('wanted "tasks", a list of task objects')
    if not isinstance(body.get("params") or {}, dict):
        raise RequestError('wanted "params" to be an object')
    return tasks
