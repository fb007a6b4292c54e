"""Questions about the live state. Each knows how its answer is read; `None` stands for a missing key."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from wit_world.imports import key_value as wire

from .keys import space

T = TypeVar("T")

RANGE_MAX = 1000


@dataclass(frozen=True)
class Query(Generic[T]):
    """A query of the contract, and how its answer is read."""

    wire: wire.Query
    read: Callable[[Any], T]

    def answer(self, value: wire.Value) -> T | None:
        return None if isinstance(value, wire.Value_Missing) else self.read(value.value)


def bytes(key: wire.Key) -> Query[Any]:
    """The bytes of a key."""
    return Query(wire.Query_Bytes(key), lambda found: found)


def text(key: wire.Key) -> Query[str]:
    """The bytes of a key as text."""
    return Query(wire.Query_Bytes(key), lambda found: found.decode())


def counter(key: wire.Key) -> Query[int]:
    """The number of a counter. A missing counter is not zero."""
    return Query(wire.Query_Counter(key), lambda number: number)


def fields(key: wire.Key) -> Query[dict[str, str]]:
    """All fields of a hash."""
    return Query(wire.Query_PlainFields(key), dict)


def named_fields(keys: list[wire.Key], names: list[str]) -> Query[list[list[str | None]]]:
    """The same fields of several hashes: a list for each key, with `None` for a field that is missing."""
    return Query(wire.Query_PlainNamedFields(wire.NamedFields(keys, names)), lambda found: found)


def time_to_live(key: wire.Key) -> Query[Any]:
    """The milliseconds that are left: a number, or "unlimited" for a key that does not expire."""
    return Query(wire.Query_TimeToLive(key), lambda left: "unlimited" if left is None else left)


def ordered_range(
    key: wire.Key, minimum: int, maximum: int, limit: int = RANGE_MAX
) -> Query[list[tuple[str, int]]]:
    """The members of an ordered set with their scores, lowest first."""
    return Query(wire.Query_OrderedRange(wire.OrderedRange(key, minimum, maximum, limit)), lambda members: members)


def presence(key: wire.Key) -> Query[bool]:
    """Whether the key exists."""
    return Query(wire.Query_Presence(key), lambda present: present)


def indexed_counters(index: wire.Key, space_name: str) -> Query[dict[str, int]]:
    """The counters of a space whose items are the fields of a hash."""
    return Query(wire.Query_PlainIndexedCounters(wire.IndexedCounters(index, space(space_name))), dict)
