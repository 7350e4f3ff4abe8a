"""What /metrics tells."""

from backend.metrics import Metrics
from backend.trainer import Action, Decision


def test_decisions_are_counted_by_what_was_decided():
    metrics = Metrics()
    for action in (Action.WAIT, Action.WAIT, Action.START):
        metrics.observe_decision(Decision(action, 16, 16, ""))

    lines = metrics.render().decode().splitlines()

    assert 'training_decisions_total{action="waiting"} 2.0' in lines
    assert 'training_decisions_total{action="started"} 1.0' in lines


def test_two_apps_in_a_process_count_apart():
    first, second = Metrics(), Metrics()
    first.events.labels("START_TRAINING").inc()

    assert b'label_studio_events_total{action="START_TRAINING"} 1.0' in first.render()
    assert b"START_TRAINING" not in second.render()
