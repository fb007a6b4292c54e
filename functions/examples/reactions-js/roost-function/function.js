// The manifest of a function, and its calls: routes, socket messages, hooks, schedules and publications.

import { Failure } from "./failure.js";
import { parseUuid, toUuid } from "./ids.js";
import { decode } from "./utf8.js";

/** An answer with a status of its own. */
export class Reply {
  constructor(status, value) {
    this.status = status;
    this.value = value;
  }
}

/** What the parts of a request have in common. */
class Call {
  constructor({ caller, trace, deadline }) {
    this.caller = caller.tag;
    this.userOrNull = caller.tag === "user" ? toUuid(caller.val) : null;
    this.trace = trace;
    this.deadline = deadline;
  }

  /** The user who calls. Throws `user_required` if it is a service. */
  get user() {
    if (this.userOrNull === null) throw Failure.userRequired();
    return this.userOrNull;
  }
}

class HttpRequest extends Call {
  constructor(invocation, route, request) {
    super(invocation);
    this.bytes = request.body;
    this.query = new Map(request.query ?? []);
    this.parameters = {};
    for (const [name, value] of request.parameters ?? []) {
      this.parameters[name] = route.parameters?.[name] ? value : uuidParameter(name, value);
    }
  }

  /** The body as JSON. */
  json() {
    try {
      return JSON.parse(decode(this.bytes));
    } catch (error) {
      throw Failure.invalid(`the body is not JSON: ${error.message}`);
    }
  }
}

function uuidParameter(name, value) {
  const uuid = parseUuid(value);
  if (uuid === null) throw Failure.invalid(`${name} must be a UUID, not ${JSON.stringify(value)}`);
  return uuid;
}

/** The OpenAPI operation of a route: its summary, its path parameters, and what the route adds. */
function operation(route) {
  const names = Array.from(route.path.matchAll(/\{([^}]+)\}/g), ([, name]) => name);
  const schema = (name) => route.parameters?.[name] ?? { type: "string", format: "uuid" };
  const parameters = names.map((name) => ({ name, in: "path", required: true, schema: schema(name) }));
  return JSON.stringify({ summary: route.summary, parameters, ...route.operation });
}

function manifest(definition) {
  const { name, version, routes = [], messages = {}, socket = {} } = definition;
  const { hooks = {}, schedules = {}, publications = {}, grants = {} } = definition;
  return {
    name,
    version,
    routes: routes.map((route) => ({
      method: route.method,
      path: route.path,
      access: route.access,
      operation: operation(route),
    })),
    messages: Object.keys(messages),
    socket: JSON.stringify(socket),
    hooks: Object.keys(hooks),
    schedules: Object.entries(schedules).map(([name, { everyMs, shards = 1 }]) => ({ name, everyMs, shards })),
    publications: Object.keys(publications),
    grants: { read: [], write: [], publish: "nobody", records: [], ...grants },
  };
}

function connection({ user, id }) {
  return { user: toUuid(user), id };
}

function dispatch({ routes = [], messages = {}, hooks = {}, schedules = {}, publications = {} }, invocation) {
  const { tag, val } = invocation.request;
  const call = new Call(invocation);
  switch (tag) {
    case "http": {
      const route = routes[val.route];
      return route.handle(new HttpRequest(invocation, route, val));
    }
    case "message":
      return messages[val.name](JSON.parse(val.payload), Object.assign(call, { connection: val.connection }));
    case "heartbeat":
      return hooks.heartbeat(val.map(connection), call);
    case "sync":
      return hooks.sync({ user: toUuid(val.user), conversations: val.conversations?.map(toUuid) ?? null }, call);
    case "tick":
      return schedules[val.schedule].run(val.shard, call);
    case "publication":
      return publications[val.name]({ ...val, payload: JSON.parse(val.payload), users: val.users.map(toUuid) }, call);
    default:
      return hooks[tag](connection(val), call);
  }
}

function reply(answer) {
  const { status, value } = answer instanceof Reply ? answer : new Reply(answer === undefined ? 204 : 200, answer);
  return { status, body: value === undefined ? "" : JSON.stringify(value) };
}

/** The exported interface `handler`. `logError` gets what the caller is not told. */
export function componentOf(definition, logError) {
  const described = manifest(definition);
  return {
    describe: () => described,
    handle(invocation) {
      try {
        return reply(dispatch(definition, invocation));
      } catch (error) {
        const failure = error instanceof Failure ? error : Failure.internal(`${error}\n${error?.stack ?? ""}`);
        if (failure.cause) logError(String(failure.cause), { code: failure.code });
        throw failure.wire();
      }
    },
  };
}
