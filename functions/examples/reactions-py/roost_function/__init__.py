"""Functions for Roost in Python: keys, reading, committing, failures and the manifest.

The modules `wit_world` and `componentize_py_types` are made from the contract by componentize-py. This package adds names and
checks to them; what it does not have can be taken from them.
"""

from . import query, records, store
from .events import Event, publish
from .failure import Failure
from .function import Call, HttpRequest, Published, Reply, Route, Schedule, define_function
from .keys import app, conversation, key, message, shard, user
from .store import Decision
from .telemetry import count, log, now
from .transaction import Transaction

__all__ = [
    "Call",
    "Decision",
    "Event",
    "Failure",
    "HttpRequest",
    "Published",
    "Reply",
    "Route",
    "Schedule",
    "Transaction",
    "app",
    "conversation",
    "count",
    "define_function",
    "key",
    "log",
    "message",
    "now",
    "publish",
    "query",
    "records",
    "shard",
    "store",
    "user",
]
