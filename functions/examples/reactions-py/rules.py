"""The rules of reactions: what is kept for a message, how it changes, and what is told to whom. Nothing here reads or writes.

Each message has one hash in the space `app`. A member's reaction is the field `by <user> <reaction>`; `count <reaction>` is how
many members chose it, `all` the sum of the counts, and `changes` grows with every change.
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from typing import Any

from roost_function import Event, Failure, Transaction, app
from roost_function import message as message_owner

REACTION_BYTES_MAX = 32
ALLOWED_BY_DEFAULT = ["👍", "❤️", "😂", "😮", "😢"]
ALLOWED_MAX = 20
REACTIONS_MAX = 1000
KEPT_MS = 30 * 86_400_000


@dataclass(frozen=True)
class Reaction:
    """One member's reaction to a message."""

    conversation: str
    message: str
    user: str
    reaction: str

    @property
    def by(self) -> str:
        return f"by {self.user} {self.reaction}"

    @property
    def count(self) -> str:
        return f"count {self.reaction}"


def key(conversation: str, message: str) -> Any:
    """The key of a message's hash. Another layout of the hash would get another name."""
    return app(message_owner(conversation, message), "v1")


def add(reaction: Reaction) -> Transaction:
    """Adds a reaction, on the condition that it is not there."""
    hash = key(reaction.conversation, reaction.message)
    return (
        Transaction(hash.owner)
        .field_equals(hash, reaction.by, None)
        .field_below(hash, "all", REACTIONS_MAX)
        .add_field(hash, reaction.count, 1)
        .add_field(hash, "changes", 1)
        .add_field(hash, "all", 1)
        .set_fields(hash, {reaction.by: "1"})
        .expire(hash, KEPT_MS)
    )


def remove(reaction: Reaction) -> Transaction:
    """Takes a reaction back, on the condition that it is there."""
    hash = key(reaction.conversation, reaction.message)
    return (
        Transaction(hash.owner)
        .field_equals(hash, reaction.by, "1")
        .add_field(hash, reaction.count, -1)
        .add_field(hash, "changes", 1)
        .add_field(hash, "all", -1)
        .delete_fields(hash, [reaction.by])
        .expire(hash, KEPT_MS)
    )


def too_many() -> Failure:
    return Failure.invalid(f"a message has at most {REACTIONS_MAX} reactions; take one back first")


def summary(fields: dict[str, str], user: str) -> dict[str, Any]:
    """What a member sees of a message's hash."""
    own = f"by {user} "
    counts = {name.removeprefix("count "): int(text) for name, text in fields.items() if name.startswith("count ")}
    mine = [name.removeprefix(own) for name in fields if name.startswith(own)]
    return {"counts": {name: count for name, count in counts.items() if count > 0}, "mine": mine}


def changed(reaction: Reaction, added: bool, fields: dict[str, str]) -> Event:
    """The event for every member.

    It has the count after the change and not the difference, so that a client which gets it twice, or misses one, shows the
    right number; of two events, the one with the greater `change` is newer.
    """
    payload = {
        "conversation": reaction.conversation,
        "message": reaction.message,
        "user": reaction.user,
        "reaction": reaction.reaction,
        "added": added,
        "count": int(fields.get(reaction.count, 0)),
        "change": int(fields.get("changes", 0)),
    }
    return Event.durable("reaction.changed", payload)


def check_allowed(name: str, chosen: list[str] | None) -> None:
    """Refuses a reaction that the conversation does not allow."""
    allowed = chosen or ALLOWED_BY_DEFAULT
    if name not in allowed:
        raise Failure.invalid(f"this conversation allows only {' '.join(allowed)}")


def allowed_body(body: Any) -> list[str]:
    """Checks the body with which a backend chooses reactions."""
    if not isinstance(body, dict) or list(body) != ["allowed"] or not isinstance(body["allowed"], list):
        raise Failure.invalid('the body must be {"allowed": [reactions]}')
    allowed = body["allowed"]
    if not 1 <= len(allowed) <= ALLOWED_MAX:
        raise Failure.invalid(f"a conversation allows 1 to {ALLOWED_MAX} reactions, not {len(allowed)}")
    for name in allowed:
        if not is_reaction(name):
            raise Failure.invalid(
                f"{name!r} is no reaction: it has 1 to {REACTION_BYTES_MAX} bytes without control characters and no space "
                "around them"
            )
    return allowed


def is_reaction(name: Any) -> bool:
    if not isinstance(name, str) or name.strip() != name or any(unicodedata.category(c) in ("Cc", "Cs") for c in name):
        return False
    return 1 <= len(name.encode()) <= REACTION_BYTES_MAX
