"""The manifest of a function, and its calls: routes, socket messages, hooks, schedules and publications."""

from __future__ import annotations

import json
import re
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from componentize_py_types import Err
from wit_world import exports
from wit_world.exports import handler as wire
from wit_world.imports.records import Operation

from .failure import Failure
from .ids import parse_uuid, to_uuid
from .keys import space
from .telemetry import log


@dataclass(frozen=True)
class Reply:
    """An answer with a status of its own."""

    status: int
    value: Any = None


class Call:
    """What every call has in common."""

    def __init__(self, invocation: wire.Invocation) -> None:
        caller = invocation.caller
        self.user_or_none = to_uuid(caller.value) if isinstance(caller, wire.Caller_User) else None
        self.is_service = isinstance(caller, wire.Caller_Service)
        self.trace = invocation.trace
        self.deadline = invocation.deadline
        # Of the socket that sent the frame; only for socket messages.
        self.connection: str | None = None

    @property
    def user(self) -> str:
        """The user who calls. Raises `user_required` if it is a service."""
        if self.user_or_none is None:
            raise Failure.user_required()
        return self.user_or_none


class HttpRequest(Call):
    """A request to one of the routes. Path parameters without a schema of their own are UUIDs."""

    def __init__(self, invocation: wire.Invocation, route: Route, request: wire.HttpRequest) -> None:
        super().__init__(invocation)
        self.body = request.body
        self.query = dict(request.query or [])
        self.parameters: dict[str, str] = {}
        for name, value in request.parameters or []:
            self.parameters[name] = value if name in route.parameters else _uuid_parameter(name, value)

    def json(self) -> Any:
        """The body as JSON."""
        try:
            return json.loads(self.body)
        except ValueError as error:
            raise Failure.invalid(f"the body is not JSON: {error}") from None


@dataclass(frozen=True)
class Route:
    """An HTTP route. `parameters` has the JSON schemas of path parameters that are no UUIDs."""

    method: str
    path: str
    access: str
    handle: Callable[[HttpRequest], Any]
    summary: str = ""
    parameters: Mapping[str, Any] = field(default_factory=dict)
    operation: Mapping[str, Any] = field(default_factory=dict)

    def wire(self) -> wire.Route:
        access = wire.Access[self.access.upper().replace("-", "_")]
        return wire.Route(self.method, self.path, access, self._operation())

    def _operation(self) -> str:
        uuid = {"type": "string", "format": "uuid"}
        parameters = [
            {"name": name, "in": "path", "required": True, "schema": self.parameters.get(name, uuid)}
            for name in re.findall(r"\{([^}]+)\}", self.path)
        ]
        return json.dumps({"summary": self.summary, "parameters": parameters, **self.operation})


@dataclass(frozen=True)
class Schedule:
    """Work that is repeated. `run` gets the shard and the call."""

    every_ms: int
    run: Callable[[int, Call], Any]
    shards: int = 1


@dataclass(frozen=True)
class Published:
    """A publication for which the function is called. `id` is the same whenever it is called for this publication."""

    id: str
    name: str
    payload: Any
    users: list[str]
    attempt: int


@dataclass(frozen=True)
class Definition:
    """What a function offers and asks for."""

    name: str
    version: str
    routes: Sequence[Route]
    messages: Mapping[str, Callable[..., Any]]
    socket: Mapping[str, Any]
    hooks: Mapping[str, Callable[..., Any]]
    schedules: Mapping[str, Schedule]
    publications: Mapping[str, Callable[[Published, Call], Any]]
    grants: Mapping[str, Any]

    def manifest(self) -> wire.Manifest:
        asked = self.grants
        grants = wire.Grants(
            [space(name) for name in asked.get("read", [])],
            [space(name) for name in asked.get("write", [])],
            wire.Recipients[asked.get("publish", "nobody").upper()],
            [Operation[name.upper().replace("-", "_")] for name in asked.get("records", [])],
        )
        schedules = [wire.Schedule(name, each.every_ms, each.shards) for name, each in self.schedules.items()]
        hooks = [wire.Hook[name.upper()] for name in self.hooks]
        routes = [route.wire() for route in self.routes]
        messages, publications = list(self.messages), list(self.publications)
        socket = json.dumps(self.socket)
        return wire.Manifest(self.name, self.version, routes, messages, socket, hooks, schedules, publications, grants)

    def dispatch(self, invocation: wire.Invocation) -> Any:
        call = Call(invocation)
        match invocation.request:
            case wire.Request_Http(request):
                route = self.routes[request.route]
                return route.handle(HttpRequest(invocation, route, request))
            case wire.Request_Message(message):
                call.connection = message.connection
                return self.messages[message.name](json.loads(message.payload), call)
            case wire.Request_Connected(connection):
                return self.hooks["connected"]((to_uuid(connection.user), connection.id), call)
            case wire.Request_Heartbeat(connections):
                pairs = [(to_uuid(connection.user), connection.id) for connection in connections]
                return self.hooks["heartbeat"](pairs, call)
            case wire.Request_Disconnected(connection):
                return self.hooks["disconnected"]((to_uuid(connection.user), connection.id), call)
            case wire.Request_Sync(sync):
                conversations = None if sync.conversations is None else [to_uuid(id) for id in sync.conversations]
                return self.hooks["sync"](to_uuid(sync.user), conversations, call)
            case wire.Request_Tick(tick):
                return self.schedules[tick.schedule].run(tick.shard, call)
            case wire.Request_Publication(one):
                users = [to_uuid(user) for user in one.users]
                published = Published(one.id, one.name, json.loads(one.payload), users, one.attempt)
                return self.publications[one.name](published, call)
        raise Failure.internal(f"an unknown request: {invocation.request!r}")


def define_function(
    *,
    name: str,
    version: str,
    routes: Sequence[Route] = (),
    messages: Mapping[str, Callable[..., Any]] | None = None,
    socket: Mapping[str, Any] | None = None,
    hooks: Mapping[str, Callable[..., Any]] | None = None,
    schedules: Mapping[str, Schedule] | None = None,
    publications: Mapping[str, Callable[[Published, Call], Any]] | None = None,
    grants: Mapping[str, Any] | None = None,
) -> type[exports.Handler]:
    """Makes what a function's module exports as `Handler`.

    `socket` describes the frames and events for `/v1/asyncapi.json`, as the field `socket` of a manifest does.
    """
    definition = Definition(
        name,
        version,
        routes,
        messages or {},
        socket or {},
        hooks or {},
        schedules or {},
        publications or {},
        grants or {},
    )

    class Handler(exports.Handler):
        """The exported interface `handler`."""

        def describe(self) -> wire.Manifest:
            return definition.manifest()

        def handle(self, invocation: wire.Invocation) -> wire.Reply:
            try:
                return _reply(definition.dispatch(invocation))
            except Failure as failure:
                raise _refusal(failure) from None
            except Exception:
                raise _refusal(Failure.internal(traceback.format_exc())) from None

    return Handler


def _refusal(failure: Failure) -> Err[wire.Failure]:
    if failure.reason is not None:
        log("error", failure.reason, code=failure.code)
    return Err(failure.wire())


def _reply(answer: Any) -> wire.Reply:
    if not isinstance(answer, Reply):
        answer = Reply(204 if answer is None else 200, answer)
    body = "" if answer.value is None else json.dumps(answer.value, ensure_ascii=False)
    return wire.Reply(answer.status, body)


def _uuid_parameter(name: str, value: str) -> str:
    uuid = parse_uuid(value)
    if uuid is None:
        raise Failure.invalid(f"{name} must be a UUID, not {json.dumps(value, ensure_ascii=False)}")
    return uuid
