"""The rules of reactions: what is kept for a message, how it changes, and which event the members receive. Nothing here reads
or writes.

Each message has one hash in the space `app`. A member's reaction is the field `by <user> <reaction>`; `count <reaction>` is how
many members chose it, `all` the sum of the counts, and `changes` grows with every change.
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from typing import Any

from roost_function import Decision, Event, Failure, Transaction, app
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


def change(reaction: Reaction, added: bool, before: dict[str, str], members: list[str]) -> Decision:
    """Adds a reaction or takes it back: from the hash that was read to what is committed, with the event for the members, and
    the reply. If another caller changes the hash in between, the transaction is refused and the rule is asked again.
    """
    hash = key(reaction.conversation, reaction.message)
    transaction = Transaction(hash.owner)
    if (reaction.by in before) == added:
        return Decision(transaction, summary(before, reaction.user))
    if added and number(before, "all") >= REACTIONS_MAX:
        raise Failure.invalid(f"a message has at most {REACTIONS_MAX} reactions; take one back first")
    difference = 1 if added else -1
    after = changed(reaction, added, before)
    (
        transaction.field_equals(hash, "changes", before.get("changes"))
        .add_field(hash, reaction.count, difference)
        .add_field(hash, "changes", 1)
        .add_field(hash, "all", difference)
        .expire(hash, KEPT_MS)
        .publish_to(members, event(reaction, added, after))
    )
    if added:
        transaction.set_fields(hash, {reaction.by: "1"})
    else:
        transaction.delete_fields(hash, [reaction.by])
    return Decision(transaction, summary(after, reaction.user))


def changed(reaction: Reaction, added: bool, before: dict[str, str]) -> dict[str, str]:
    """The hash after the change."""
    difference = 1 if added else -1
    numbers = {reaction.count: difference, "changes": 1, "all": difference}
    after = before | {name: str(number(before, name) + amount) for name, amount in numbers.items()}
    if added:
        after[reaction.by] = "1"
    else:
        del after[reaction.by]
    return after


def number(fields: dict[str, str], name: str) -> int:
    """A number of the hash; zero if it is missing."""
    return int(fields.get(name, 0))


def summary(fields: dict[str, str], user: str) -> dict[str, Any]:
    """What a member sees of a message's hash."""
    own = f"by {user} "
    counts = {name.removeprefix("count "): int(text) for name, text in fields.items() if name.startswith("count ")}
    mine = [name.removeprefix(own) for name in fields if name.startswith(own)]
    return {"counts": {name: count for name, count in counts.items() if count > 0}, "mine": mine}


def event(reaction: Reaction, added: bool, after: dict[str, str]) -> Event:
    """The event for every member.

    It has the count after the change and not the difference, so that a client which misses one shows the right number after
    the next one; of two events, the one with the greater `change` is newer.
    """
    payload = {
        "conversation": reaction.conversation,
        "message": reaction.message,
        "user": reaction.user,
        "reaction": reaction.reaction,
        "added": added,
        "count": number(after, reaction.count),
        "change": number(after, "changes"),
    }
    return Event.durable("reaction.changed", payload)


UUID = {"type": "string", "format": "uuid"}

# The JSON Schema of the event's payload.
CHANGED: dict[str, Any] = {
    "type": "object",
    "properties": {
        "conversation": UUID,
        "message": UUID,
        "user": {**UUID, "description": "Who has reacted, or has taken a reaction back."},
        "reaction": {"type": "string", "minLength": 1, "maxLength": REACTION_BYTES_MAX},
        "added": {"type": "boolean", "description": "Whether the reaction was added; otherwise it was taken back."},
        "count": {"type": "integer", "minimum": 0, "description": "How many users have reacted so now."},
        "change": {"type": "integer", "minimum": 1, "description": "Grows with every change of the message's reactions."},
    },
    "required": ["conversation", "message", "user", "reaction", "added", "count", "change"],
}


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
