"""Ids: UUIDs as text for functions, four numbers of 32 bits for the host."""

from __future__ import annotations

import re

from wit_world.imports.types import Id

_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")


def parse_uuid(text: str) -> str | None:
    """The UUID in lower case; `None` if the text is none."""
    lower = text.lower()
    return lower if _UUID.fullmatch(lower) else None


def to_id(uuid: str) -> Id:
    """The id of the contract for a UUID."""
    text = parse_uuid(uuid)
    if text is None:
        raise ValueError(f"{uuid!r} is no UUID")
    digits = text.replace("-", "")
    first, second, third, fourth = (int(digits[start : start + 8], 16) for start in range(0, 32, 8))
    return Id(first, second, third, fourth)


def to_uuid(id: Id) -> str:
    """The UUID for an id of the contract."""
    digits = "".join(f"{part:08x}" for part in (id.first, id.second, id.third, id.fourth))
    return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))
