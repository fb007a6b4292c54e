"""Reactions to messages: counts them, tells the members of the conversation, and lets a backend choose which reactions a
conversation allows. The same function in Rust is ../reactions, in JavaScript ../reactions-js.
"""

from typing import Any

import rules
from roost_function import Failure, HttpRequest, Route, conversation, define_function, query, records, store

BASE = "/v1/conversations/{conversation}"
MESSAGE = f"{BASE}/messages/{{message}}/reactions-py"
REACTION = {"reaction": {"type": "string", "minLength": 1, "maxLength": rules.REACTION_BYTES_MAX}}


def list_reactions(request: HttpRequest) -> dict[str, Any]:
    require_message(request)
    return rules.summary(read(request), request.user)


def add(request: HttpRequest) -> dict[str, Any]:
    chosen = records.document(conversation(request.parameters["conversation"]), "allowed")
    rules.check_allowed(request.parameters["reaction"], chosen and chosen.value)
    return change(request, True)


def remove(request: HttpRequest) -> dict[str, Any]:
    return change(request, False)


def allow(request: HttpRequest) -> None:
    allowed = rules.allowed_body(request.json())
    records.update_document(conversation(request.parameters["conversation"]), "allowed", lambda _: allowed)


def change(request: HttpRequest, added: bool) -> dict[str, Any]:
    reaction = rules.Reaction(**request.parameters, user=request.user)
    require_message(request)
    membership = records.membership(reaction.conversation, reaction.user)
    if membership.blocked:
        raise Failure("forbidden", "blocked", "one of the two users has blocked the other")
    # The members are read before the hash, so that a lost race does not read them again.
    hash = query.fields(rules.key(reaction.conversation, reaction.message))
    reply, _ = store.update([hash], lambda before: rules.change(reaction, added, before or {}, membership.members))
    return reply


def read(request: HttpRequest) -> dict[str, str]:
    parameters = request.parameters
    return store.read_one(query.fields(rules.key(parameters["conversation"], parameters["message"]))) or {}


def require_message(request: HttpRequest) -> None:
    parameters = request.parameters
    (found,) = records.messages(request.user, parameters["conversation"], [parameters["message"]])
    if found is None:
        raise Failure("not-found", "not_found", "no such message")


Handler = define_function(
    name="reactions-py",
    version="0.1.0",
    routes=[
        Route("GET", MESSAGE, "user", list_reactions, "The reactions to a message."),
        Route(
            "PUT",
            MESSAGE + "/{reaction}",
            "user",
            add,
            "Reacts to a message. Doing so again changes nothing.",
            REACTION,
        ),
        Route("DELETE", MESSAGE + "/{reaction}", "user", remove, "Takes a reaction back.", REACTION),
        Route("PUT", f"{BASE}/reactions-py", "service", allow, "Chooses which reactions a conversation allows."),
    ],
    socket={
        "events": {
            "reaction.changed": {
                "summary": "To every member: somebody has reacted, or taken it back.",
                "durable": True,
                "payload": rules.CHANGED,
            },
        },
    },
    grants={
        "read": ["app"],
        "write": ["app"],
        "publish": "members",
        "records": ["messages", "membership", "read-documents", "put-document"],
    },
)
