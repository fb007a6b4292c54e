"""Events, which clients receive as {"type": name, "payload": payload}."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from wit_world.imports import pub_sub
from wit_world.imports import types as wire

from .failure import store_errors
from .ids import to_id

PUBLICATIONS_MAX = 1024


class Event:
    """An event for users."""

    def __init__(self, name: str, payload: Any, durable: bool) -> None:
        self.wire = wire.Event(name, json.dumps(payload, ensure_ascii=False), durable)

    @classmethod
    def durable(cls, name: str, payload: Any) -> Event:
        """Kept in the feed of each user, for clients that reconnect."""
        return cls(name, payload, True)

    @classmethod
    def ephemeral(cls, name: str, payload: Any) -> Event:
        """Reaches only the clients that are connected."""
        return cls(name, payload, False)


def publish(users: Iterable[str], event: Event) -> None:
    """Publishes an event to each of these users. It is a step of its own: `Transaction.publish` is atomic with a change."""
    publications = [pub_sub.Publication(to_id(user), event.wire) for user in users]
    for first in range(0, len(publications), PUBLICATIONS_MAX):
        with store_errors():
            pub_sub.publish(publications[first : first + PUBLICATIONS_MAX])
