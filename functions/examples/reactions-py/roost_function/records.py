"""The system of record, with UUIDs as text: what most functions need.

The other operations are in `wit_world.imports.records`, with ids as in `ids.py`.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from componentize_py_types import Err
from wit_world.imports import key_value
from wit_world.imports import records as wire

from .failure import Failure, records_errors, records_failure
from .ids import to_id, to_uuid
from .store import TRIES_MAX


@dataclass(frozen=True)
class Message:
    """A message."""

    id: str
    conversation: str
    sequence: int
    sender: str
    kind: str
    content: str
    created_at: int
    edited_at: int | None
    deleted: bool


@dataclass(frozen=True)
class Membership:
    """A conversation as one of its members may see it."""

    joined: int
    members: list[str]
    blocked: bool


@dataclass(frozen=True)
class Document:
    """A document of this function."""

    version: int
    value: Any


def messages(user: str, conversation: str, ids: list[str]) -> list[Message | None]:
    """Messages by id, as one member may see them; `None` for one that the member may not see."""
    query = wire.MessagesQuery(to_id(user), to_id(conversation), [to_id(id) for id in ids])
    with records_errors():
        found = wire.messages(query)
    return [None if message is None else _message(message) for message in found]


def membership(conversation: str, user: str) -> Membership:
    """The members of a conversation, and whether two members block each other. Raises `not_a_member` for other users."""
    with records_errors():
        view = wire.membership(to_id(conversation), to_id(user))
    return Membership(view.joined, [to_uuid(member) for member in view.members], view.blocked)


def document(owner: key_value.Owner, name: str) -> Document | None:
    """A document of this function."""
    with records_errors():
        (found,) = wire.read_documents([wire.DocumentKey(owner, name)])
    return None if found is None else Document(found.version, json.loads(found.json))


def put_document(owner: key_value.Owner, name: str, value: Any, expected: int | None) -> int:
    """Puts a document that has this version now, or does not exist (`None`). Answers the new version."""
    with records_errors():
        return wire.put_document(_put(owner, name, value, expected))


def delete_document(owner: key_value.Owner, name: str, expected: int) -> None:
    """Deletes a document of this version."""
    with records_errors():
        wire.delete_document(wire.DocumentKey(owner, name), expected)


def document_names(owner: key_value.Owner) -> list[str]:
    """The names of all documents of this function for an owner."""
    with records_errors():
        return wire.document_names(owner)


def update_document(owner: key_value.Owner, name: str, change: Callable[[Any], Any]) -> Document:
    """Reads a document, and puts what `change` makes of its value, again if another caller was faster."""
    for _ in range(TRIES_MAX):
        present = document(owner, name)
        value = change(None if present is None else present.value)
        expected = None if present is None else present.version
        try:
            return Document(wire.put_document(_put(owner, name, value, expected)), value)
        except Err as error:
            if not isinstance(error.value, wire.Error_VersionMismatch):
                raise records_failure(error.value)
    raise Failure.contended()


def _put(owner: key_value.Owner, name: str, value: Any, expected: int | None) -> wire.DocumentPut:
    return wire.DocumentPut(wire.DocumentKey(owner, name), json.dumps(value, ensure_ascii=False), expected)


def _message(of: wire.Message) -> Message:
    id, conversation, sender = to_uuid(of.id), to_uuid(of.conversation), to_uuid(of.sender)
    times = (of.created_at, of.edited_at)
    return Message(id, conversation, of.sequence, sender, of.kind, of.content, *times, of.deleted)
