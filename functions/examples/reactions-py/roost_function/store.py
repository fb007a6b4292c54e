"""The live state: reading, committing, and changing it without losing the change of another caller. It is lost with the store."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from wit_world.imports import key_value as wire

from .failure import Failure, store_errors, store_failure
from .query import Query
from .transaction import Transaction

T = TypeVar("T")

TRIES_MAX = 8
"""How often `update` reads and asks again after a lost race."""


@dataclass(frozen=True)
class Decision:
    """What the rule of an update makes of the values that were read."""

    transaction: Transaction
    reply: Any = None


@dataclass(frozen=True)
class Committed:
    """What became of a transaction: the results of `add` and `add_field`, or the index of the check that did not hold."""

    results: list[int] = field(default_factory=list)
    refused: int | None = None


def read(*queries: Query[Any]) -> list[Any]:
    """Answers queries in one round trip, in order."""
    with store_errors():
        values = wire.read([query.wire for query in queries])
    return [query.answer(value) for query, value in zip(queries, values)]


def read_one(query: Query[T]) -> T | None:
    """The answer to one query."""
    return read(query)[0]


def commit(transaction: Transaction) -> Committed:
    """Commits one transaction."""
    with store_errors():
        (outcome,) = wire.commit([transaction.wire])
    match outcome:
        case wire.Outcome_Committed(results):
            return Committed(results=results or [])
        case wire.Outcome_Refused(check):
            return Committed(refused=check)
        case wire.Outcome_Failed(error):
            raise store_failure(error)
    raise Failure.internal(f"an unknown outcome: {outcome!r}")


def update(queries: list[Query[Any]], rule: Callable[..., Decision]) -> tuple[Any, list[int]]:
    """Reads, asks the rule for a decision, and commits it.

    If a check of its transaction does not hold, because another caller was faster, it reads again and asks again. Answers the
    reply of the decision, and the results.
    """
    for _ in range(TRIES_MAX):
        decision = rule(*read(*queries))
        committed = commit(decision.transaction)
        if committed.refused is None:
            return decision.reply, committed.results
    raise Failure.contended()
