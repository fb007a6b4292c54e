// The types of the package, for editors and type checkers.

export type Uuid = string;

/** What a key is about. Made by `user`, `conversation`, `message` and `shard`. */
export type Owner =
  | { tag: "user" | "conversation"; val: Id }
  | { tag: "message"; val: { conversation: Id; message: Id } }
  | { tag: "shard"; val: number };

/** An id of the contract, whose parts have 32 bits. */
export interface Id {
  first: number;
  second: number;
  third: number;
  fourth: number;
}

export type Space =
  | "online"
  | "presence"
  | "devices"
  | "presence-due"
  | "presence-sweep"
  | "unread-total"
  | "unread-conversation"
  | "unread-sequence"
  | "unread-read"
  | "unread-lease"
  | "last-message"
  | "followed"
  | "read-receipt"
  | "app";

export interface Key {
  space: Space;
  owner: Owner;
  item: string | null;
}

export function user(id: Uuid): Owner;
export function conversation(id: Uuid): Owner;
export function message(conversation: Uuid, id: Uuid): Owner;
export function shard(number: number): Owner;
export function key(space: Space, owner: Owner, item?: string | null): Key;
/** A key of the function's own, with any text of 1 to 128 bytes. It is live state, which is lost with the store. */
export function app(owner: Owner, item: string): Key;

/** A question about the live state whose answer is a T, or `null` for a missing key. */
export interface Query<T> {
  wire: unknown;
  read(value: unknown): T | null;
}

export namespace query {
  function bytes(key: Key): Query<Uint8Array>;
  function text(key: Key): Query<string>;
  function counter(key: Key): Query<number>;
  function fields(key: Key): Query<Map<string, string>>;
  function namedFields(keys: Key[], names: string[]): Query<(string | null)[][]>;
  function timeToLive(key: Key): Query<number | "unlimited">;
  function orderedRange(
    key: Key,
    range: { minimum: number; maximum: number; limit?: number },
  ): Query<[string, number][]>;
  function presence(key: Key): Query<boolean>;
  function indexedCounters(index: Key, space: Space): Query<Map<string, number>>;
}

export class Event {
  constructor(name: string, payload: unknown, durable: boolean);
  static durable(name: string, payload: unknown): Event;
  static ephemeral(name: string, payload: unknown): Event;
  readonly name: string;
  /** JSON text. */
  readonly payload: string;
  readonly durable: boolean;
}

export class Transaction {
  constructor(owner: Owner);
  absent(key: Key): this;
  present(key: Key): this;
  equals(key: Key, value: string | Uint8Array): this;
  fieldEquals(key: Key, field: string, value: string | null): this;
  fieldBelow(key: Key, field: string, limit: number): this;
  scoreEquals(key: Key, member: string, score: number | null): this;
  set(key: Key, value: string | Uint8Array, timeToLiveMs?: number | null): this;
  delete(key: Key): this;
  add(key: Key, delta: number, floor?: number | null): this;
  setFields(key: Key, fields: Record<string, string> | Iterable<[string, string]>): this;
  deleteFields(key: Key, names: string[]): this;
  addField(key: Key, field: string, delta: number): this;
  expire(key: Key, timeToLiveMs: number): this;
  persist(key: Key): this;
  orderedPut(key: Key, member: string, score: number): this;
  orderedRemove(key: Key, member: string): this;
  /** `results`: members of the payload, and the places of their numbers among the results of `add` and `addField`. */
  publish(event: Event, results?: Record<string, number>): this;
  /** For at most 1,000 users in one transaction. */
  publishTo(users: Uuid[], event: Event): this;
}

export class Decision<T = unknown> {
  constructor(transaction: Transaction, reply?: T);
  readonly transaction: Transaction;
  readonly reply: T;
}

export type Committed = { results: number[]; refused?: undefined } | { refused: number; results?: undefined };

export const store: {
  read(...queries: Query<unknown>[]): unknown[];
  readOne<T>(query: Query<T>): T | null;
  commit(transaction: Transaction): Committed;
  update<T>(
    queries: Query<unknown>[],
    rule: (...values: any[]) => Decision<T>,
  ): { reply: T; results: number[] };
};

export interface Message {
  id: Uuid;
  conversation: Uuid;
  sequence: number;
  sender: Uuid;
  kind: string;
  content: string;
  createdAt: number;
  editedAt: number | null;
  deleted: boolean;
}

export const records: {
  messages(user: Uuid, conversation: Uuid, ids: Uuid[]): (Message | null)[];
  membership(conversation: Uuid, user: Uuid): { joined: number; members: Uuid[]; blocked: boolean };
  document(owner: Owner, name: string): { version: number; value: any } | null;
  putDocument(owner: Owner, name: string, value: unknown, expected: number | null): number;
  deleteDocument(owner: Owner, name: string, expected: number): void;
  documentNames(owner: Owner): string[];
  updateDocument<T>(owner: Owner, name: string, change: (present: any) => T): { version: number; value: T };
};

export function publish(users: Uuid[], event: Event): void;
export function now(): number;
export function log(level: "debug" | "info" | "warn" | "error", message: string, fields?: Record<string, string>): void;
export function count(name: string, labels?: Record<string, string>, amount?: number): void;

export type FailureKind =
  | "invalid"
  | "forbidden"
  | "not-found"
  | "conflict"
  | "too-large"
  | "rate-limited"
  | "unavailable"
  | "internal";

export class Failure extends Error {
  constructor(
    kind: FailureKind,
    code: string,
    message: string,
    options?: { retryAfterMs?: number | null; cause?: unknown },
  );
  static invalid(message: string): Failure;
  static userRequired(): Failure;
  static contended(): Failure;
  static internal(cause: string, code?: string): Failure;
  readonly kind: FailureKind;
  readonly code: string;
  readonly retry: boolean;
  readonly retryAfterMs: number | null;
}

/** An answer with a status of its own, 200 to 299. */
export class Reply {
  constructor(status: number, value?: unknown);
}

export interface Call {
  readonly caller: "user" | "service" | "anonymous" | "host";
  /** The user who calls; throws `user_required` if it is a service. */
  readonly user: Uuid;
  readonly userOrNull: Uuid | null;
  readonly trace: string;
  readonly deadline: number;
}

export interface HttpRequest extends Call {
  /** The path parameters. Those without a schema in the route are UUIDs. */
  readonly parameters: Record<string, string>;
  readonly query: Map<string, string>;
  readonly bytes: Uint8Array;
  json(): any;
}

export interface Route {
  method: "GET" | "POST" | "PUT" | "PATCH" | "DELETE";
  path: string;
  access: "user" | "service-or-user" | "service" | "public";
  summary?: string;
  /** The JSON schemas of path parameters that are no UUIDs. */
  parameters?: Record<string, object>;
  /** Further members of the OpenAPI operation. */
  operation?: object;
  /** Its value becomes the reply as JSON; `undefined` is an answer without a body. */
  handle(request: HttpRequest): unknown;
}

export interface Connection {
  user: Uuid;
  id: string;
}

/** A publication for which the function is called. */
export interface Published {
  /** The same whenever the function is called for this publication. */
  id: string;
  name: string;
  payload: any;
  users: Uuid[];
  /** The number of this attempt, from 1. */
  attempt: number;
}

/** Those to whom a function publishes. Each has more users than the one before. */
export type Recipients = "nobody" | "caller" | "members" | "anyone";

export interface Definition {
  name: string;
  version: string;
  routes?: Route[];
  messages?: Record<string, (payload: any, call: Call & { connection: string }) => unknown>;
  /** Describes the messages and events for `/v1/asyncapi.json`, with JSON Schemas as values. */
  socket?: {
    messages?: Record<string, { summary?: string; payload?: object; answer?: object }>;
    events?: Record<string, { summary?: string; durable?: boolean; payload?: object }>;
    hello?: object;
    sync?: object;
  };
  hooks?: {
    connected?(connection: Connection, call: Call): unknown;
    heartbeat?(connections: Connection[], call: Call): unknown;
    disconnected?(connection: Connection, call: Call): unknown;
    sync?(request: { user: Uuid; conversations: Uuid[] | null }, call: Call): unknown;
  };
  schedules?: Record<string, { everyMs: number; shards?: number; run(shard: number, call: Call): unknown }>;
  /** By the type of the event. */
  publications?: Record<string, (published: Published, call: Call) => unknown>;
  grants?: { read?: Space[]; write?: Space[]; publish?: Recipients; records?: string[] };
}

export function defineFunction(definition: Definition): { describe(): unknown; handle(invocation: unknown): unknown };
