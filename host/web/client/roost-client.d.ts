/** The types of the Roost client. Objects of the host keep the names that they have on the wire. */

/** An id: a UUID in lower case. */
export type Id = string;
/** A time in UTC, RFC 3339. */
export type Timestamp = string;

export interface Message {
  id: Id;
  conversation: Id;
  /** The sequence number under which the message was sent. An edit keeps it. */
  seq: number;
  sender_id: Id;
  type: string;
  content: string;
  created_at: Timestamp;
  edited_at?: Timestamp;
  /** Only in the answer to a message that was sent again after it had been deleted. */
  deleted?: true;
  /** The message is stored; the members receive it when the store is available again. */
  delivery?: "delayed";
}

export interface Conversation {
  id: Id;
  /** The one conversation of two people. */
  direct: boolean;
  /** The first members in the order of their ids, at most 20. */
  members: Id[];
  member_count: number;
  /** Read positions by member, where there are at most 8. */
  reads: Record<Id, number>;
  last_message: Message | null;
  unread: number;
  /** The user's own read position. */
  read: number;
  /** Changes of the conversation up to this sequence number are included in `unread`. */
  seq: number;
  updated_at: Timestamp;
}

export interface PresenceState {
  user: Id;
  online: boolean;
  last_seen: Timestamp | null;
  /** The number of the last transition. */
  generation: number;
}

export interface UnreadCounters {
  total: number;
  /** Only conversations with something unread; all of them if there is no `next_cursor`. */
  conversations: Record<Id, number>;
  /** The user's read positions, and the changes that are included in the counters, of the same conversations. */
  reads: Record<Id, number>;
  seqs: Record<Id, number>;
  next_cursor?: string | null;
}

export interface Hello {
  connection: string;
  user: Id;
  epoch: string;
  offset: number;
  beat_interval_ms: number;
  presence: PresenceState[];
  unread: UnreadCounters;
}

export interface SyncAnswer {
  epoch: string;
  offset: number;
  presence?: PresenceState[];
  unread: UnreadCounters;
  conversations: Conversation[];
  next_cursor: string | null;
  /** With `since`: the missed events. */
  events?: HostEvent[];
  /** With `since`: the missed events are not known any more. */
  resync?: Resync;
  source?: "records";
}

export interface Resync {
  reason: "gap" | "interrupted" | "behind";
  epoch?: string;
  offset?: number;
}

export interface ReadAnswer {
  conversation: Id;
  unread: number;
  total: number;
  up_to: number;
}

/** Where an event stands in the feed of the user. */
export interface Position {
  epoch: string;
  offset: number;
}

export interface HostEvent {
  type: string;
  payload: unknown;
  epoch?: string;
  offset?: number;
}

/**
 * The events of the host. Functions of the operator may send others; those with the name of an event of the client, such as
 * `status`, are only shown by `event`.
 */
export interface HostEvents {
  "message.new": Message;
  "message.updated": Message;
  "message.deleted": { conversation: Id; id: Id; seq: number };
  "message.read_update": { conversation: Id; reader: Id; up_to: number };
  "unread.update": { conversation: Id; unread: number; total: number; read: number; seq: number };
  "conversation.added": Conversation;
  "conversation.members": { conversation: Id; added: Id[]; removed: Id[]; member_count: number };
  "conversation.removed": { conversation: Id; total: number };
  "contact.update": { user: Id; contact: boolean; blocked: boolean };
  "user.online": { user: Id; last_seen: Timestamp | null; generation: number };
  "user.offline": { user: Id; last_seen: Timestamp | null; generation: number };
  "user.erased": { user: Id };
  typing: { conversation: Id; user: Id };
  sync: SyncAnswer;
  resync: Resync;
  "server.draining": { close_in_ms: number };
}

export type Status = "idle" | "connecting" | "online" | "waiting" | "closed";

/** A change that the host has not acknowledged. */
export interface QueueEntry {
  key: string;
  type: "message.send" | "message.edit" | "message.delete" | "conversation.read";
  conversation: Id;
  id: Id | null;
  payload: Record<string, unknown>;
  /** Milliseconds since the Unix epoch. */
  created_at: number;
  user: Id | null;
  /** Why the host refused the message. It is kept until `retry` or `discard`. */
  failed: { code: string; message: string } | null;
}

/** The listeners of a client, by event: those of the host, and its own. */
export type Listeners = { [Type in keyof HostEvents]: (payload: HostEvents[Type], position: Position | null) => void } & {
  /** Connected. `resumed`: everything that was missed follows as events. */
  hello: (hello: Hello, details: { resumed: boolean }) => void;
  /** Any event of the host but `hello`. */
  event: (event: { type: string; payload: any; position: Position | null }) => void;
  /** `error` and `waitMs` are there while the client waits for its next attempt. */
  status: (status: Status, details: { error?: RoostError; waitMs?: number }) => void;
  /** The client does not connect again: it was closed, or the host refuses it for good. */
  closed: (error: RoostError) => void;
  /** Something failed that the client gets over by itself. */
  error: (error: RoostError) => void;
  queue: (queue: QueueEntry[]) => void;
  acknowledged: (entry: QueueEntry, answer: any) => void;
  refused: (entry: QueueEntry, error: RoostError) => void;
};

export interface Clock {
  /** Milliseconds since the Unix epoch. */
  now(): number;
  /** A number from 0 to below 1. */
  random(): number;
  setTimeout(callback: () => void, ms: number): unknown;
  clearTimeout(timer: unknown): void;
}

/** Where the queue is kept. `open` resolves to the entries of a user, oldest first. */
export interface QueueStorage {
  open(user: Id): Promise<QueueEntry[]>;
  put(entry: QueueEntry): Promise<void>;
  remove(entry: QueueEntry): Promise<void>;
  close(): Promise<void>;
}

export interface RoostClientOptions {
  /** The address of the host, such as `https://chat.example`. */
  url: string | URL;
  /** A token, or a function that returns one: it is called at first, before the token ends, and after a refusal. */
  token: string | ((request: { reason: "first" | "expiring" }) => string | Promise<string>);
  /** `auto` (default) uses a socket, and an event stream where sockets do not work. */
  transport?: "auto" | "socket" | "events";
  /** How a socket shows the token: as its second subprotocol (default), or in its first frame. */
  authentication?: "subprotocol" | "first_frame";
  /** The WebSocket to use where there is no global one: `NodeSocket` in Node 20. */
  WebSocket?: unknown;
  fetch?: typeof fetch;
  /** Where the queue is kept: in memory by default. */
  storage?: QueueStorage;
  /** The user, if the client is to load the queue before it has a token or a connection. */
  user?: Id | null;
  /** The position of an earlier client, `<epoch>:<offset>`. */
  since?: string | null;
  /** How long the host may take to acknowledge a frame (10 s), or to answer over HTTP (20 s). */
  ackTimeoutMs?: number;
  httpTimeoutMs?: number;
  /** A socket on which nothing arrives for this long is probed (45 s). */
  idleMs?: number;
  /** The bound of the first wait between attempts (0.5 s) and of the longest one (30 s). */
  backoffFirstMs?: number;
  backoffLastMs?: number;
  /** How many changes may wait (500), and for how long (7 days). */
  queueMax?: number;
  queueAgeMsMax?: number;
  clock?: Clock;
}

export interface RoostErrorDetails {
  retry?: boolean;
  retryAfterMs?: number;
  status?: number;
  trace?: string;
  cause?: unknown;
}

/** An error with a stable code: one of the host's, or `timeout`, `connection_lost`, `closed`, `queue_full`, … */
export class RoostError extends Error {
  constructor(code: string, message: string, details?: RoostErrorDetails);
  readonly code: string;
  /** Whether the same may succeed later. */
  readonly retry: boolean;
  readonly retryAfterMs?: number;
  readonly status?: number;
  /** Finds the call in the operator's log. */
  readonly trace?: string;
  readonly cause?: unknown;
}

export class RoostClient {
  constructor(options: RoostClientOptions);
  readonly status: Status;
  readonly user: Id | null;
  readonly hello: Hello | null;
  readonly position: string | null;
  readonly transport: "socket" | "events" | null;
  readonly queue: QueueEntry[];
  /** Connects, and connects again whenever the connection is lost. */
  connect(): Promise<Hello>;
  /** Closes the connection and ends every call, with the error `closed`. `connect` opens it again. */
  close(): Promise<void>;
  on<Type extends keyof Listeners>(type: Type, listener: Listeners[Type]): () => void;
  /** The events of the operator's functions. A name of `Listeners` is not accepted here: its listener has a type. */
  on<Type extends string>(
    type: Type extends keyof Listeners ? never : Type,
    listener: (payload: any, position: Position | null) => void,
  ): () => void;
  off(type: string, listener: (...values: any[]) => void): void;
  sendMessage(conversation: Id, content: string, options?: { id?: Id; type?: string }): Promise<Message>;
  editMessage(conversation: Id, id: Id, content: string): Promise<Message>;
  deleteMessage(conversation: Id, id: Id): Promise<unknown>;
  /** Resolves to `null` if a later position replaced this one before it was sent. */
  markRead(conversation: Id, upTo: number): Promise<ReadAnswer | null>;
  retry(id: Id): boolean;
  discard(id: Id): boolean;
  typing(conversation: Id): void;
  sync(options?: { since?: string }): Promise<SyncAnswer>;
  /**
   * Sends a frame of any type; resolves to the payload of the answer. `timeoutMs` replaces `ackTimeoutMs` on a socket; over
   * HTTP, `httpTimeoutMs` counts.
   */
  call(type: string, payload?: object, options?: { timeoutMs?: number }): Promise<any>;
  /** Calls a route; resolves to its JSON, or to `null`. */
  http(method: string, path: string, request?: HttpRequest): Promise<any>;
}

export interface HttpRequest {
  query?: Record<string, string | number | undefined>;
  body?: object;
  /** How often it is attempted: 4 times for GET, PUT and DELETE, otherwise once. */
  attempts?: number;
  signal?: AbortSignal;
}

export interface ConversationView extends Conversation {
  /** Who is typing. */
  typing: Id[];
  /** How many messages are on their way, and how many were refused. */
  sending: number;
  failed: number;
}

export interface MessageView extends Omit<Message, "seq"> {
  /** `null` for a message that is on its way. */
  seq: number | null;
  /** `read`: by all other members. */
  status: "sending" | "failed" | "sent" | "read";
  /** For the user's own messages: who has read them, as far as that is known. */
  read_by: Id[];
  error?: { code: string; message: string } | null;
}

export interface TimelineView {
  /** Oldest first; at the end those on their way. */
  messages: MessageView[];
  /** The message below the line of new messages. */
  first_new: Id | null;
  has_older: boolean;
  /** The window has left the newest messages: `showNewest` returns to them. */
  has_newer: boolean;
  loading: boolean;
  loaded: boolean;
}

export interface Snapshot {
  status: Status;
  user: Id | null;
  /** The state was loaded at least once. */
  ready: boolean;
  /**
   * All unread messages. With more than 1,400 unread conversations, it is what the host has sent last, and the messages
   * since.
   */
  total: number;
  /** Newest activity first. */
  conversations: ConversationView[];
  has_more: boolean;
  presence: Record<Id, PresenceState>;
  contacts: Id[];
  /** The users that the user has blocked. */
  blocked: Id[];
  /** The open conversations. */
  open: Record<Id, TimelineView>;
}

export interface RoostStoreOptions {
  /** How many conversations are kept (1,000), messages of an open one (500), and open ones (20). */
  conversationsMax?: number;
  messagesMax?: number;
  openMax?: number;
  /** How many conversations or messages are loaded at a time (50, at most 100). */
  pageSize?: number;
  clock?: Clock;
}

export class RoostStore {
  constructor(client: RoostClient, options?: RoostStoreOptions);
  subscribe: (listener: () => void) => () => void;
  getSnapshot: () => Snapshot;
  open(conversation: Id): Promise<void>;
  close(conversation: Id): void;
  loadOlder(conversation: Id): Promise<boolean>;
  showNewest(conversation: Id): Promise<void>;
  loadMore(): Promise<boolean>;
  send(conversation: Id, content: string, options?: { id?: Id; type?: string }): Promise<Message>;
  read(conversation: Id, upTo?: number): void;
  clearNewLine(conversation: Id): void;
  destroy(): void;
}

export interface IndexedDbOptions {
  /** The name of the database: `roost-client` by default. */
  name?: string;
  /** The `IDBFactory` and the `LockManager` to use instead of those of the browser. */
  indexedDB?: unknown;
  locks?: unknown;
}

/** A storage that ends with the page. */
export function memoryStorage(): QueueStorage;
/** A storage in IndexedDB, which survives a reload. */
export function indexedDbStorage(options?: IndexedDbOptions): QueueStorage;
/** A random UUID. */
export function newId(): Id;
