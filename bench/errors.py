"""What ends a measurement."""


class BenchError(Exception):
    """What was to be measured did not work; the message says why."""
