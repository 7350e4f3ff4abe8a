"""What ``/metrics`` tells, in Prometheus' text format."""

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

from backend.trainer import Decision

_SECONDS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 3.0, 10.0, 30.0, 100.0)


class Metrics:
    """The service's counters. Made once a process; with several workers gunicorn.conf.py has them summed up."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self.requests = Histogram(
            "http_request_duration_seconds",
            "Time to answer a request",
            ["route", "method", "status"],
            buckets=_SECONDS,
            registry=self._registry,
        )
        self.events = Counter("label_studio_events_total", "Webhooks heard", ["action"], registry=self._registry)
        self.predictions = Counter(
            "predictions_total", "Tasks asked for, by what came of them", ["outcome"], registry=self._registry
        )
        self.decisions = Counter(
            "training_decisions_total", "Looks at whether to train, by decision", ["action"], registry=self._registry
        )

    def observe_decision(self, decision: Decision) -> None:
        """Count a decision on training."""
        self.decisions.labels(decision.action.value).inc()

    def render(self) -> bytes:
        """All workers' numbers if they are shared (PROMETHEUS_MULTIPROC_DIR), else this one's."""
        try:
            registry = CollectorRegistry()
            MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
        except ValueError:  # prometheus-client's way to say that they are not shared
            registry = self._registry
        return generate_latest(registry)
