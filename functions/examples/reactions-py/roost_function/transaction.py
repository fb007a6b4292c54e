"""Checks, changes and events for the keys of one owner's partition: all of it happens, or nothing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from wit_world.imports import key_value as wire

from .events import Event
from .ids import to_id

Key = wire.Key


def _bytes(value: str | bytes) -> bytes:
    return value.encode() if isinstance(value, str) else value


class Transaction:
    """One transaction. Each method adds a part and answers the transaction."""

    def __init__(self, owner: wire.Owner) -> None:
        self.wire = wire.Transaction(owner, [], [], [], [], [])

    def _check(self, check: wire.Check) -> Transaction:
        self.wire.checks.append(check)
        return self

    def _mutate(self, mutation: wire.Mutation) -> Transaction:
        self.wire.mutations.append(mutation)
        return self

    def absent(self, key: Key) -> Transaction:
        """The key does not exist."""
        return self._check(wire.Check_Absent(key))

    def present(self, key: Key) -> Transaction:
        """The key exists."""
        return self._check(wire.Check_Present(key))

    def equals(self, key: Key, value: str | bytes) -> Transaction:
        """The key holds exactly this text or these bytes; a counter compares as its decimal text."""
        return self._check(wire.Check_Equals(wire.Equals(key, _bytes(value))))

    def field_equals(self, key: Key, field: str, value: str | None) -> Transaction:
        """The field holds this text; `None`: it is missing."""
        return self._check(wire.Check_FieldEquals(wire.FieldEquals(key, field, value)))

    def field_below(self, key: Key, field: str, limit: int) -> Transaction:
        """The field is missing, or a number below the limit."""
        return self._check(wire.Check_FieldBelow(wire.FieldBelow(key, field, limit)))

    def score_equals(self, key: Key, member: str, score: int | None) -> Transaction:
        """The member has this score; `None`: it is not in the set."""
        return self._check(wire.Check_ScoreEquals(wire.ScoreEquals(key, member, score)))

    def set(self, key: Key, value: str | bytes, time_to_live_ms: int | None = None) -> Transaction:
        """Replaces the key by a text or by bytes."""
        return self._mutate(wire.Mutation_Set(wire.Set(key, _bytes(value), time_to_live_ms)))

    def delete(self, key: Key) -> Transaction:
        """Deletes the key."""
        return self._mutate(wire.Mutation_Delete(key))

    def add(self, key: Key, delta: int, floor: int | None = None) -> Transaction:
        """Adds to a counter. The new value, which is not below the floor, is a result of the commit."""
        return self._mutate(wire.Mutation_Add(wire.Add(key, delta, floor)))

    def set_fields(self, key: Key, fields: Mapping[str, str]) -> Transaction:
        """Sets fields of a hash."""
        return self._mutate(wire.Mutation_SetFields(wire.SetFields(key, list(fields.items()))))

    def delete_fields(self, key: Key, names: Iterable[str]) -> Transaction:
        """Deletes fields of a hash."""
        return self._mutate(wire.Mutation_DeleteFields(wire.DeleteFields(key, list(names))))

    def add_field(self, key: Key, field: str, delta: int) -> Transaction:
        """Adds to a number in a field. The new value is a result of the commit."""
        return self._mutate(wire.Mutation_AddField(wire.AddField(key, field, delta)))

    def expire(self, key: Key, time_to_live_ms: int) -> Transaction:
        """Sets the time to live."""
        return self._mutate(wire.Mutation_Expire(wire.Expire(key, time_to_live_ms)))

    def persist(self, key: Key) -> Transaction:
        """Removes the time to live."""
        return self._mutate(wire.Mutation_Persist(key))

    def ordered_put(self, key: Key, member: str, score: int) -> Transaction:
        """Puts a member into an ordered set."""
        return self._mutate(wire.Mutation_OrderedPut(wire.OrderedPut(key, member, score)))

    def ordered_remove(self, key: Key, member: str) -> Transaction:
        """Removes a member from an ordered set."""
        return self._mutate(wire.Mutation_OrderedRemove(wire.OrderedRemove(key, member)))

    def publish(self, event: Event, results: Mapping[str, int] | None = None) -> Transaction:
        """An event for the owner, who must be a user.

        `results` are members that the store adds to its payload, an object: each name with the place, from zero, among
        the results of `add` and `add_field` of this transaction.
        """
        publication = len(self.wire.publications)
        self.wire.publications.append(event.wire)
        for name, result in (results or {}).items():
            self.wire.published_results.append(wire.PublishedResult(publication, name, result))
        return self

    def publish_to(self, users: Iterable[str], event: Event) -> Transaction:
        """An event for these users, whoever the owner is: all of them receive it if the transaction is carried out."""
        self.wire.addressed.append(wire.AddressedEvent([to_id(user) for user in users], event.wire))
        return self
