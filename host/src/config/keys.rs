//! Every configuration key, declared once: the name in the file, the type, the default, the allowed values and the
//! meaning. The typed structs, the flags of the command line, `check-config --keys` and the tables in
//! `docs/operations.md` come from these declarations. `reference` turns names into variables and lists.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use roost_core::additions::AdditionPolicy;
use roost_core::limits::{PAYLOAD_BYTES_MAX, PRESENCE_TTL_MS};
use roost_core::recipients::Recipients;

use super::built_in::UNBOUNDED;
use super::key::{Allowed, ConfigKey, bytes, count, milliseconds, section};
use super::redis::RedisUrl;
use super::value::{RecordsLocation, StoreLocation};
use super::{LogFormat, Pooling, RecordsUrl, Secret, SigningKeys, StoreUrl, TokenKey};

section! {
    /// A validated configuration.
    pub struct Config {
        given {
            /// Where the live state is stored.
            store: StoreUrl,
            /// Where messages are stored.
            records: RecordsUrl,
            /// Who may connect.
            auth: AuthConfig,
            /// Limits of sockets.
            socket: SocketConfig,
            /// Limits of HTTP requests.
            http: HttpConfig,
            /// Limits of deployments over the admin listener.
            deployments: DeploymentsConfig,
            /// Which users may be put into a conversation.
            conversations: ConversationsConfig,
            /// The limits of every function that has none of its own. `function_defaults.…`
            function_defaults: FunctionConfig,
            /// The built-in functions and those that the configuration names, by name. `function.<name>.…`
            functions: BTreeMap<String, FunctionConfig>,
            /// The functions that the configuration names, whether or not they are deployed.
            named_functions: BTreeSet<String>,
            /// How much one user may ask of a host.
            users: UsersConfig,
            /// How clients that connect are admitted.
            connects: ConnectsConfig,
        }
        /// The address of the public listener: HTTP, WebSockets and event streams. Port 0 takes a free port.
        "listen" => listen: SocketAddr = "127.0.0.1:8080", Allowed::Address, flag "ADDRESS";
        /// The address of the admin listener: health, metrics and functions.
        "admin_listen" => admin_listen: SocketAddr = "127.0.0.1:9090", Allowed::Address, flag "ADDRESS";
        /// A PEM file with the certificate of the admin listener and its chain; unset: the listener serves plain HTTP.
        "admin_tls_cert" => admin_tls_cert: Option<PathBuf> = "", Allowed::File;
        /// A PEM file with the private key of that certificate.
        "admin_tls_key" => admin_tls_key: Option<PathBuf> = "", Allowed::File;
        /// The folder for the SQLite database, for compiled functions and for deployments.
        "data_dir" => data_dir: PathBuf = ".roost", Allowed::Path, flag "FOLDER";
        /// The folder with the components to serve, `*.wasm`. `roost dev` uses target/functions.
        "functions_dir" => functions_dir: PathBuf = "functions.d", Allowed::Path, flag "FOLDER";
        /// The public keys, as `roost keygen` writes them, of those who may sign components. If any is set, only
        /// components that one of them has signed are loaded. Set two while you replace one.
        "signing_keys" => signing_keys: SigningKeys = "", Allowed::SigningKeys;
        /// Which log lines are written.
        "log" => log: String = "info", Allowed::LogFilter, flag "FILTER";
        /// The format of log lines: text for people, json for programs.
        "log_format" => log_format: LogFormat = "text", Allowed::LogFormat, flag "FORMAT";
        /// The OpenTelemetry collector that receives spans, by OTLP over HTTP, at `/v1/traces` below this URL; unset:
        /// there are no spans.
        "otlp_endpoint" => otlp_endpoint: Option<String> = "", Allowed::CollectorUrl;
        /// How long stopping may take after `drain_delay_ms`. Whatever is not finished by then is cut off.
        "shutdown_timeout_ms" => shutdown_timeout: Duration = "10000", milliseconds(100, 600_000);
        /// The time over which a stopping host spreads the closing of its connections.
        "drain_spread_ms" => drain_spread: Duration = "2000", milliseconds(1, 600_000);
        /// For how long a stopping host goes on accepting connections and requests while `/readyz` answers 503 already:
        /// longer than the load balancer takes to notice. `roost dev`: 0.
        "drain_delay_ms" => drain_delay: Duration = "5000", milliseconds(0, 600_000);
        /// A user who was not active for this long leaves nothing behind in the store: neither presence with its time
        /// of last seen, nor counters. What is left is rebuilt when the user comes back; unset: never.
        "store_idle_days" => store_idle_days: Option<u64> = "", Allowed::Whole { unit: "days", minimum: 1, maximum: 3_650 };
    }
}

section! {
    /// Which store is used, before the settings of that store are known.
    pub(super) struct StoreChoice {
        /// Where the live state is stored: in this process, or in Redis.
        "store_url" => url: StoreLocation = "memory:", Allowed::StoreUrl, flag "URL";
        /// The most memory of a store in this process. A full store accepts no changes: messages are still saved, and
        /// are announced later.
        "store_memory_bytes_max" => memory_bytes_max: u64 = "1073741824", bytes(16_777_216, 1_099_511_627_776);
    }
}

section! {
    /// A store in Redis.
    #[derive(PartialEq, Eq)]
    pub struct RedisConfig {
        given {
            /// The servers, the user and the database. `store_url`
            url: RedisUrl,
        }
        /// The text before every key and channel name in Redis.
        "store_prefix" => prefix: String = "", Allowed::Prefix;
        /// A PEM file with the authorities that are trusted for `rediss://`, and for sentinels over TLS, instead of
        /// those of the system.
        "store_ca_file" => ca_file: Option<PathBuf> = "", Allowed::File;
        /// The ACL user at the sentinels of Redis, which has nothing to do with the user in `store_url`; unset: their
        /// default user.
        "store_sentinel_username" => sentinel_username: Option<String> = "", Allowed::Text;
        /// The password of that user; unset: the sentinels need none.
        "store_sentinel_password" => sentinel_password: Option<Secret> = "", Allowed::Password;
        /// Whether connections to sentinels use TLS; unset: as connections to the servers, which `store_url` decides.
        "store_sentinel_tls" => sentinel_tls: Option<bool> = "", Allowed::Switch;
        /// How long opening a connection to Redis may take.
        "store_connect_timeout_ms" => connect_timeout: Duration = "2000", milliseconds(50, 60_000);
        /// How long Redis may take to answer.
        "store_response_timeout_ms" => response_timeout: Duration = "1000", milliseconds(10, 60_000);
        /// The most commands to Redis in flight. Further ones wait for a moment and are then answered with 503.
        "store_commands_max" => commands_max: u32 = "16384",
            Allowed::Whole { unit: "commands", minimum: 64, maximum: 1_000_000 };
    }
}

section! {
    /// Which records are used, before their settings are known.
    pub(super) struct RecordsChoice {
        /// Where messages are stored. A relative SQLite file is in `data_dir`.
        "records_url" => url: RecordsLocation = "sqlite:records.db", Allowed::RecordsUrl, flag "URL";
    }
}

section! {
    /// A records backend and how it is called.
    #[derive(PartialEq, Eq)]
    pub struct BackendConfig {
        given {
            /// The operations are below this URL: `records_url` with `/v1`. It contains no secret.
            url: reqwest::Url,
        }
        /// The bearer token that Roost sends to an HTTP records backend; unset: none is sent.
        "records_key" => key: Option<Secret> = "", Allowed::BearerKey;
        /// How long a call to an HTTP records backend may take, waiting included.
        "records_timeout_ms" => timeout: Duration = "2000", milliseconds(10, 60_000);
        /// The most calls in flight to an HTTP records backend. Further ones wait.
        "records_calls_max" => calls_max: usize = "64", count("calls", 1_024);
        /// PEM files with authorities that are trusted for an `https://` records backend, besides those of the system.
        "records_ca" => ca: Vec<PathBuf> = "", Allowed::Files;
    }
}

section! {
    /// A PostgreSQL database and how it is used.
    #[derive(PartialEq, Eq)]
    pub struct PostgresConfig {
        given {
            /// `records_url`; it may contain a password.
            url: Secret,
        }
        /// The most connections of this host to PostgreSQL.
        "postgres.connections_max" => connections_max: u32 = "16", count("connections", 1_000);
        /// How long a call waits for a free connection, and opening a connection may take.
        "postgres.acquire_timeout_ms" => acquire_timeout: Duration = "2000", milliseconds(10, 60_000);
        /// PostgreSQL cancels a statement that takes longer.
        "postgres.statement_timeout_ms" => statement_timeout: Duration = "5000", milliseconds(10, 600_000);
        /// What a pooler such as PgBouncer keeps for a connection: the session, or the transaction only. `auto` finds
        /// it out at the start; without a pooler it is `session`.
        "postgres.pooling" => pooling: Pooling = "auto", Allowed::Pooling;
    }
}

section! {
    /// The keys that verify users' tokens, by kind.
    pub(super) struct TokenKeySources {
        /// The secrets that verify users' HS256 tokens. Set two while you replace one.
        "token_secret" => secrets: Vec<Secret> = "", Allowed::Secrets;
        /// PEM files with the public keys that verify users' RS256, ES256 or EdDSA tokens. RSA keys need at
        /// least 2,048 bits.
        "token_public_key" => public_keys: Vec<PathBuf> = "", Allowed::Files;
        /// JWKS files with keys that verify users' tokens. They are read again when they change.
        "token_jwks" => jwks: Vec<PathBuf> = "", Allowed::Files;
        /// The URL of a JWKS document with keys that verify users' tokens. It is read at the start, again and again,
        /// and when a token names an unknown key.
        "token_jwks_url" => jwks_url: Option<String> = "", Allowed::KeySetUrl;
    }
}

section! {
    /// Who may connect.
    pub struct AuthConfig {
        given {
            /// The keys that verify users' tokens; at least one.
            keys: Vec<TokenKey>,
        }
        /// How often the document at `token_jwks_url` is read.
        "token_jwks_refresh_ms" => jwks_refresh: Duration = "300000", milliseconds(1_000, 86_400_000);
        /// The value that the `iss` of a token must have; unset: `iss` is not checked.
        "token_issuer" => issuer: Option<String> = "", Allowed::Text;
        /// The value that the `aud` of a token must contain; unset: `aud` is not checked.
        "token_audience" => audience: Option<String> = "", Allowed::Text;
        /// The clock difference that is tolerated in `exp` and `nbf`.
        "token_leeway_ms" => leeway: Duration = "5000", milliseconds(1, 300_000);
        /// The keys of backends; unset: no backend may connect.
        "service_key" => service_keys: Vec<Secret> = "", Allowed::BearerKeys;
        /// The bearer token for `/functions`, `/reload` and `/verify` of the admin listener; unset: they refuse every
        /// request.
        "admin_key" => admin_key: Option<Secret> = "", Allowed::BearerKey;
        /// The bearer token for `/metrics` of the admin listener, which `admin_key` opens too; unset: `/metrics` needs
        /// no key.
        "metrics_key" => metrics_key: Option<Secret> = "", Allowed::BearerKey;
        /// The origins whose pages may call: HTTP, event streams and sockets. Unset: pages of every origin may open
        /// sockets, and only pages of the listener's own origin may call over HTTP.
        "allowed_origins" => allowed_origins: Vec<String> = "", Allowed::Origins;
    }
}

section! {
    /// Limits of sockets.
    pub struct SocketConfig {
        /// The most connections of this host.
        "socket.connections_max" => connections_max: usize = "10000", count("connections", 1_000_000);
        /// The most connections of one user to this host.
        "socket.connections_per_user_max" => connections_per_user_max: usize = "32", count("connections", 10_000);
        /// The largest frame that a client may send.
        "socket.frame_bytes_max" => frame_bytes_max: usize = "65536", bytes(1_024, 1_048_576);
        /// The most frames that wait for one client. A client that falls further behind is disconnected.
        "socket.outbox_frames_max" => outbox_frames_max: usize = "256", count("frames", 65_536);
        /// The most bytes that wait for one client. A client that falls further behind is disconnected.
        "socket.outbox_bytes_max" => outbox_bytes_max: usize = "1048576",
            bytes(2 * PAYLOAD_BYTES_MAX as u64, 67_108_864);
        /// The most calls of one socket in flight. Further frames wait.
        "socket.calls_max" => calls_max: usize = "8", count("calls", 256);
        /// The host sends a ping this often.
        "socket.ping_interval_ms" => ping_interval: Duration = "20000", milliseconds(100, 300_000);
        /// A socket from which nothing arrives for this long is closed.
        "socket.idle_timeout_ms" => idle_timeout: Duration = "60000", milliseconds(200, 900_000);
        /// How long a client that opened a socket without a token may take to send one, as its first frame.
        "socket.token_timeout_ms" => token_timeout: Duration = "5000", milliseconds(100, 60_000);
        /// The most sockets that wait for the token of their client. They count as connections.
        "socket.unauthenticated_max" => unauthenticated_max: usize = "500", count("sockets", 1_000_000);
        /// The interval of presence heartbeats. A device without a heartbeat is offline after 60 s.
        "socket.beat_interval_ms" => beat_interval: Duration = "25000", milliseconds(100, PRESENCE_TTL_MS / 2);
    }
}

section! {
    /// Limits of HTTP requests.
    pub struct HttpConfig {
        /// The largest request body.
        "http.body_bytes_max" => body_bytes_max: usize = "65536", bytes(1_024, 1_048_576);
        /// How long the head and the body of a request may take to arrive.
        "http.read_timeout_ms" => read_timeout: Duration = "10000", milliseconds(100, 300_000);
        /// The most requests in flight. Further ones are answered with 503.
        "http.requests_max" => requests_max: usize = "1024", count("requests", 100_000);
        /// How long a kept connection may wait for the first byte of its next request. Longer than the time for which
        /// proxies keep connections, which is often 60 s.
        "http.idle_timeout_ms" => idle_timeout: Duration = "75000", milliseconds(100, 3_600_000);
        /// How long a client may take to read an answer. A connection that takes longer is closed.
        "http.write_timeout_ms" => write_timeout: Duration = "30000", milliseconds(100, 3_600_000);
        /// The most connections to one listener, event streams included and sockets not. Beyond, idle ones are closed,
        /// and new ones are answered with 503.
        "http.connections_max" => connections_max: usize = "20000", count("connections", 1_000_000);
    }
}

section! {
    /// Limits of deployments over the admin listener.
    pub struct DeploymentsConfig {
        /// The name of this host in answers about the cluster; unset: the name of the machine with the port of
        /// `listen`. Two hosts of a cluster need different names.
        "deployments.host_name" => host_name: Option<String> = "", Allowed::Text;
        /// The most bytes of all kept components. The oldest revisions that do not serve are forgotten first.
        "deployments.bytes_max" => bytes_max: u64 = "268435456", bytes(1_048_576, 17_179_869_184);
        /// A canary with fewer calls than this is not judged.
        "deployments.canary_calls_min" => canary_calls_min: u64 = "50", count("calls", 1_000_000);
        /// A canary is taken back when its share of failed calls exceeds that of the revision beside it by more than
        /// this.
        "deployments.canary_margin_percent" => canary_margin_percent: u32 = "5",
            Allowed::Whole { unit: "percentage points", minimum: 0, maximum: 100 };
    }
}

section! {
    /// How much one user may ask of a host. Services are exempt, also when they act for a user.
    pub struct UsersConfig {
        /// The most HTTP requests a second of one user, in the long run. Further ones are answered with 429.
        "users.requests_per_second_max" => requests_per_second_max: u32 = "50", count("requests", 1_000_000);
        /// The most HTTP requests of one user that may come at once.
        "users.requests_burst_max" => requests_burst_max: u32 = "200", count("requests", 1_000_000);
        /// The most frames a second over all sockets of one user, in the long run. Further ones are answered with an
        /// error.
        "users.frames_per_second_max" => frames_per_second_max: u32 = "50", count("frames", 1_000_000);
        /// The most frames of one user that may come at once.
        "users.frames_burst_max" => frames_burst_max: u32 = "200", count("frames", 1_000_000);
        /// The most messages a second that one user sends, edits and deletes, in the long run.
        "users.sends_per_second_max" => sends_per_second_max: u32 = "10", count("messages", 1_000_000);
        /// The most messages that one user may send, edit and delete at once.
        "users.sends_burst_max" => sends_burst_max: u32 = "60", count("messages", 1_000_000);
        /// The most frames `typing` a second of one user, in the long run.
        "users.typing_per_second_max" => typing_per_second_max: u32 = "5", count("frames", 1_000_000);
        /// The most frames `typing` of one user that may come at once.
        "users.typing_burst_max" => typing_burst_max: u32 = "20", count("frames", 1_000_000);
        /// The most sockets and event streams a second that one user opens, in the long run.
        "users.connects_per_second_max" => connects_per_second_max: u32 = "1", count("connects", 1_000_000);
        /// The most sockets and event streams that one user may open at once.
        "users.connects_burst_max" => connects_burst_max: u32 = "40", count("connects", 1_000_000);
        /// The most requests and frames of one user that are worked on, until their answers are written. Further frames
        /// wait; of further requests, sixteen times as many wait, and the others are answered with 429.
        "users.calls_max" => calls_max: usize = "8", count("calls", 1_024);
        /// The most feeds of missed events that are read at once for one user. Further ones wait.
        "users.replays_max" => replays_max: usize = "1", count("replays", 64);
    }
}

section! {
    /// How clients that connect are admitted, and what they missed is read.
    pub struct ConnectsConfig {
        /// The most sockets and event streams that a host opens a second.
        "connects.per_second_max" => per_second_max: u32 = "250", count("connects", 1_000_000);
        /// The most sockets and event streams that are being opened at the same time. Each calls functions, so that
        /// this is their share of the calls of a function.
        "connects.at_once_max" => at_once_max: usize = "16", count("connects", 1_024);
        /// How long a client that connects may wait for its turn. Whoever would wait longer is told when to come back.
        "connects.wait_max_ms" => wait_max: Duration = "5000", milliseconds(1, 60_000);
        /// The most feeds of missed events that are read at the same time for all users. Further ones wait.
        "connects.replays_max" => replays_max: usize = "16", count("replays", 1_024);
        /// The most bytes of missed events that a client is sent. A client that missed more is sent a `resync`.
        "connects.replay_bytes_max" => replay_bytes_max: usize = "1048576", bytes(1_024, 67_108_864);
    }
}

section! {
    /// Which users may be put into a conversation.
    pub struct ConversationsConfig {
        /// Which users a user may put into a conversation, by creating it or by adding a member: anyone, only mutual
        /// contacts, or nobody, so that only backends (with a service key) create conversations and add members.
        /// Whatever this key says, nobody is put into a conversation with a user who blocked them.
        "conversations.add" => add: AdditionPolicy = "anyone", Allowed::Additions;
    }
}

section! {
    /// The limits of one function. The keys are relative to `function_defaults` and to `function.<name>`.
    #[derive(PartialEq, Eq)]
    pub struct FunctionConfig {
        given {
            /// What the function is allowed; `None`: neither the configuration nor the defaults name it, so it is
            /// allowed nothing.
            grants: Option<GrantsConfig>,
        }
        /// The most memory of one instance.
        "memory_bytes_max" => memory_bytes_max: usize = "16777216", bytes(1_048_576, 67_108_864);
        /// How long a call may take.
        "deadline_ms" => deadline: Duration = "5000", milliseconds(10, 60_000);
        /// The most calls in flight. At most a quarter of them is about one conversation, and while more than half of
        /// them are taken, at most a quarter more is of one user. Calls of functions that come with Roost do not count
        /// while they wait for another call; at most as many again do so.
        "concurrency_max" => concurrency_max: usize = "64", count("calls", 1_024);
        /// The most calls that wait for one in flight to end. Further ones are answered with 503.
        "queue_max" => queue_max: usize = "256", count("calls", 65_536);
        /// The largest reply.
        "reply_bytes_max" => reply_bytes_max: usize = "1048576", bytes(1_024, 16_777_216);
        /// The most calls a second to this host, as a token bucket that holds one second's calls. Further ones are
        /// answered with 503 and `Retry-After`. Calls of the host itself, for hooks, schedules and publications, do not
        /// count. No bound for built-in functions.
        "calls_per_second_max" => calls_per_second_max: u32 = "2000", count("calls", 1_000_000);
        /// The most queries and transactions of one call. No bound for built-in functions.
        "store_operations_max" => store_operations_max: u64 = "10000", count("operations", UNBOUNDED);
        /// The most bytes that one call reads from the store. No bound for built-in functions.
        "store_read_bytes_max" => store_read_bytes_max: u64 = "16777216", bytes(1_024, UNBOUNDED);
        /// The most bytes that one call sends to the store: values, names and events. No bound for built-in functions.
        "store_written_bytes_max" => store_written_bytes_max: u64 = "16777216", bytes(1_024, UNBOUNDED);
        /// The most operations of the records of one call. No bound for built-in functions.
        "records_operations_max" => records_operations_max: u64 = "1000", count("operations", UNBOUNDED);
        /// The most events that one call publishes. No bound for built-in functions.
        "publications_max" => publications_max: u64 = "10000", count("events", UNBOUNDED);
        /// The most bytes of log lines of one call. Further lines are dropped and counted.
        "log_bytes_max" => log_bytes_max: u64 = "65536", bytes(1_024, 1_048_576);
        /// The most successful calls a second of one revision that are kept in the log of the function. Failed and
        /// refused calls are always kept. 0: no successful call.
        "recorded_calls_per_second_max" => recorded_calls_per_second_max: u32 = "10",
            Allowed::Whole { unit: "calls", minimum: 0, maximum: 1_000 };
        /// The most bytes that the function keeps in the key space `app`, over all owners. An item counts 512 bytes and
        /// its content. It is live state, which is lost with the store.
        "app_bytes_max" => app_bytes_max: u64 = "67108864", bytes(65_536, UNBOUNDED);
        /// The most bytes that the function keeps in documents of the records, over all owners. A document counts 512
        /// bytes, its name and its content.
        "documents_bytes_max" => documents_bytes_max: u64 = "1073741824", bytes(65_536, UNBOUNDED);
        /// Whether an instance serves several calls, one after the other. `true` for built-in functions.
        "reuse" => reuse: bool = "false", Allowed::Switch;
        /// A reused instance is dropped after this many calls.
        "reuse_calls_max" => reuse_calls_max: u32 = "1000", count("calls", 1_000_000);
        /// A reused instance is dropped at this age.
        "reuse_age_ms" => reuse_age: Duration = "60000", milliseconds(10, 3_600_000);
    }
}

section! {
    /// What an operator allows a function. The keys are relative to `function.<name>`. Without any of them a built-in
    /// function is allowed what it needs, and every other function nothing. Setting any of them replaces that default:
    /// what is not set is not allowed.
    #[derive(Default, PartialEq, Eq)]
    pub struct GrantsConfig {
        /// Whether the function is allowed everything that its manifest asks for, now and in later versions. No other
        /// grant may be set beside it.
        "grants.all" => all: bool = "", Allowed::Switch;
        /// The key spaces that the function may read.
        "grants.read" => read: Vec<String> = "", Allowed::Spaces;
        /// The key spaces that the function may write.
        "grants.write" => write: Vec<String> = "", Allowed::Spaces;
        /// To whom the function may publish events: nobody, the users of the call, also the members of conversations of
        /// these users that it has read in the call, or every user.
        "grants.publish" => publish: Recipients = "", Allowed::Recipients;
        /// Whether the function may be called for the events that others publish, messages with their content among
        /// them.
        "grants.subscribe" => subscribe: bool = "", Allowed::Switch;
        /// The records operations that the function may use.
        "grants.records" => records: Vec<String> = "", Allowed::Operations;
    }
}

/// The keys that do not belong to functions, in the order of the reference.
pub(super) const SECTIONS: [&[ConfigKey]; 14] = [
    Config::KEYS,
    StoreChoice::KEYS,
    RedisConfig::KEYS,
    RecordsChoice::KEYS,
    BackendConfig::KEYS,
    PostgresConfig::KEYS,
    TokenKeySources::KEYS,
    AuthConfig::KEYS,
    SocketConfig::KEYS,
    HttpConfig::KEYS,
    DeploymentsConfig::KEYS,
    UsersConfig::KEYS,
    ConnectsConfig::KEYS,
    ConversationsConfig::KEYS,
];
