"""Keys of the live state, and what they are about."""

from __future__ import annotations

from wit_world.imports.key_value import (
    Key,
    MessageOwner,
    Owner,
    Owner_Conversation,
    Owner_Message,
    Owner_Shard,
    Owner_User,
    Space,
)

from .ids import to_id


def user(id: str) -> Owner:
    """What is about a user."""
    return Owner_User(to_id(id))


def conversation(id: str) -> Owner:
    """What is about a conversation."""
    return Owner_Conversation(to_id(id))


def message(conversation_id: str, id: str) -> Owner:
    """What is about a message. It is in the partition of the conversation."""
    return Owner_Message(MessageOwner(to_id(conversation_id), to_id(id)))


def shard(number: int) -> Owner:
    """What is about neither."""
    return Owner_Shard(number)


def space(name: str) -> Space:
    """The key space with this name, such as `app` or `unread-total`."""
    return Space[name.upper().replace("-", "_")]


def key(space_name: str, owner: Owner, item: str | None = None) -> Key:
    """A key of any space; only the spaces `app` and `unread-conversation` have items."""
    return Key(space(space_name), owner, item)


def app(owner: Owner, item: str) -> Key:
    """A key of the function's own, which is lost with the store. The item is any text of 1 to 128 bytes."""
    return key("app", owner, item)
