"""Log lines and counters for the operator, and the clock of the store."""

from __future__ import annotations

from wit_world.imports import clock, telemetry


def now() -> int:
    """Milliseconds since the Unix epoch."""
    return clock.now()


def log(level: str, message: str, **fields: str) -> None:
    """Writes a line to the operator's log: `debug`, `info`, `warn` or `error`."""
    telemetry.log(telemetry.Level[level.upper()], message, list(fields.items()))


def count(name: str, amount: int = 1, **labels: str) -> None:
    """Adds to the counter `roost_function_<name>_total`."""
    telemetry.count(name, list(labels.items()), amount)
