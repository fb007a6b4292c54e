//! Converts the text of a setting to the type of its key. An error says what is wrong; the caller adds what is allowed.
//! No error repeats a secret, or a URL that may contain a password.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use roost_core::additions::AdditionPolicy;
use roost_core::key::Space;
use roost_core::port::Operation;
use roost_core::recipients::Recipients;
use sqlx::postgres::PgConnectOptions;

use super::key::{Allowed, ConfigKey, KEY_BYTES_MIN, SECRET_BYTES_MIN};
use super::redis::{self, RedisUrl};
use super::{LogFormat, Pooling, Secret};

/// The type of a key: one value, an optional one, or several.
pub(super) trait Value: Sized {
    fn parse_all(texts: &[String], key: &ConfigKey) -> Result<Self, String>;

    /// The value of a key that is unset. It also stands in for a wrong value, so that one pass finds every error.
    fn unset() -> Self;
}

/// A type with one text.
pub(super) trait SingleValue: Sized {
    fn parse(text: &str, key: &ConfigKey) -> Result<Self, String>;

    fn placeholder() -> Self;
}

impl<T: SingleValue> Value for T {
    fn parse_all(texts: &[String], key: &ConfigKey) -> Result<Self, String> {
        texts.first().map_or_else(|| Ok(T::placeholder()), |text| T::parse(text, key))
    }

    fn unset() -> Self {
        T::placeholder()
    }
}

impl<T: SingleValue> Value for Option<T> {
    fn parse_all(texts: &[String], key: &ConfigKey) -> Result<Self, String> {
        texts.first().map(|text| T::parse(text, key)).transpose()
    }

    fn unset() -> Self {
        None
    }
}

impl<T: SingleValue> Value for Vec<T> {
    fn parse_all(texts: &[String], key: &ConfigKey) -> Result<Self, String> {
        let (mut values, mut problems) = (Self::new(), Vec::new());
        for text in texts {
            match T::parse(text, key) {
                Ok(value) => values.push(value),
                Err(problem) => problems.push(problem),
            }
        }
        if problems.is_empty() { Ok(values) } else { Err(problems.join("; ")) }
    }

    fn unset() -> Self {
        Self::new()
    }
}

impl SingleValue for SocketAddr {
    fn parse(text: &str, _: &ConfigKey) -> Result<Self, String> {
        text.parse().map_err(|_| quoted(text, "not an address"))
    }

    fn placeholder() -> Self {
        Self::from(([127, 0, 0, 1], 0))
    }
}

impl SingleValue for PathBuf {
    fn parse(text: &str, key: &ConfigKey) -> Result<Self, String> {
        let text = non_empty(text)?;
        if matches!(key.allowed, Allowed::File | Allowed::Files) {
            std::fs::File::open(text).map_err(|error| quoted(text, &format!("not readable ({error})")))?;
        }
        Ok(text.into())
    }

    fn placeholder() -> Self {
        Self::new()
    }
}

impl SingleValue for String {
    fn parse(text: &str, key: &ConfigKey) -> Result<Self, String> {
        match key.allowed {
            Allowed::Prefix if redis::is_prefix(text) => Ok(text.to_owned()),
            Allowed::Prefix => Err(quoted(text, "not a prefix")),
            Allowed::LogFilter => log_filter(text),
            Allowed::CollectorUrl => collector_url(text).map(|()| text.to_owned()),
            Allowed::KeySetUrl => key_set_url(text).map(|()| text.to_owned()),
            Allowed::Origins => origin(text),
            Allowed::Spaces => known(text, &Space::ALL.map(Space::name), "not a key space"),
            Allowed::Operations => known(text, &Operation::ALL.map(Operation::name), "not a records operation"),
            _ => non_empty(text).map(str::to_owned),
        }
    }

    fn placeholder() -> Self {
        Self::new()
    }
}

impl SingleValue for bool {
    fn parse(text: &str, _: &ConfigKey) -> Result<Self, String> {
        text.parse().map_err(|_| quoted(text, "neither true nor false"))
    }

    fn placeholder() -> Self {
        false
    }
}

impl SingleValue for Recipients {
    fn parse(text: &str, _: &ConfigKey) -> Result<Self, String> {
        match text {
            "true" => Ok(Self::Anyone),
            "false" => Ok(Self::Nobody),
            name => Self::parse(name).ok_or_else(|| quoted(name, "none of those whom a function may publish to")),
        }
    }

    fn placeholder() -> Self {
        Self::default()
    }
}

impl SingleValue for u64 {
    fn parse(text: &str, key: &ConfigKey) -> Result<Self, String> {
        let Allowed::Whole { minimum, maximum, .. } = key.allowed else { return Ok(0) };
        let is_whole = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let number: Self = text.parse().map_err(|_| {
            // More digits than any key allows.
            if is_whole { format!("{text} is out of bounds") } else { quoted(text, "not a whole number") }
        })?;
        if (minimum..=maximum).contains(&number) { Ok(number) } else { Err(format!("{number} is out of bounds")) }
    }

    fn placeholder() -> Self {
        0
    }
}

impl SingleValue for u32 {
    fn parse(text: &str, key: &ConfigKey) -> Result<Self, String> {
        u64::parse(text, key).map(|number| Self::try_from(number).unwrap_or(Self::MAX))
    }

    fn placeholder() -> Self {
        0
    }
}

impl SingleValue for usize {
    fn parse(text: &str, key: &ConfigKey) -> Result<Self, String> {
        u64::parse(text, key).map(|number| Self::try_from(number).unwrap_or(Self::MAX))
    }

    fn placeholder() -> Self {
        0
    }
}

impl SingleValue for Duration {
    fn parse(text: &str, key: &ConfigKey) -> Result<Self, String> {
        u64::parse(text, key).map(Self::from_millis)
    }

    fn placeholder() -> Self {
        Self::ZERO
    }
}

impl SingleValue for LogFormat {
    fn parse(text: &str, _: &ConfigKey) -> Result<Self, String> {
        match text {
            "text" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            other => Err(quoted(other, "not a log format")),
        }
    }

    fn placeholder() -> Self {
        Self::Text
    }
}

impl SingleValue for Pooling {
    fn parse(text: &str, _: &ConfigKey) -> Result<Self, String> {
        match text {
            "auto" => Ok(Self::Auto),
            "session" => Ok(Self::Session),
            "transaction" => Ok(Self::Transaction),
            other => Err(quoted(other, "not a kind of pooling")),
        }
    }

    fn placeholder() -> Self {
        Self::Auto
    }
}

impl SingleValue for AdditionPolicy {
    fn parse(text: &str, _: &ConfigKey) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|(name, _)| *name == text);
        found.map(|(_, policy)| policy).ok_or_else(|| quoted(text, "not a rule for additions"))
    }

    fn placeholder() -> Self {
        Self::default()
    }
}

impl SingleValue for Secret {
    fn parse(text: &str, key: &ConfigKey) -> Result<Self, String> {
        let is_sent = !matches!(key.allowed, Allowed::Secrets);
        let bytes_min = if is_sent { KEY_BYTES_MIN } else { SECRET_BYTES_MIN };
        if text.starts_with(SAMPLE) {
            return Err(format!("{SAMPLE_REFUSED}; make a value of your own, such as with `openssl rand -hex 32`"));
        }
        if matches!(key.allowed, Allowed::Password) {
            return non_empty(text).map(|text| Self(text.to_owned()));
        }
        if text.len() < bytes_min {
            return Err(format!("has only {} bytes", text.len()));
        }
        if is_sent && !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err("contains characters that cannot be sent as a bearer token".to_owned());
        }
        Ok(Self(text.to_owned()))
    }

    fn placeholder() -> Self {
        Self(String::new())
    }
}

/// The secrets and passwords in `docs/deploy/roost.env` begin with this.
const SAMPLE: &str = "change-this";
const SAMPLE_REFUSED: &str = "is the published sample of docs/deploy/roost.env, which everybody knows";

fn refuse_sample_password(url: &str) -> Result<(), String> {
    if url.contains(&format!(":{SAMPLE}@")) {
        return Err(format!("the password {SAMPLE_REFUSED}; set the password of your server"));
    }
    Ok(())
}

/// Where the live state is stored.
#[derive(Clone, Debug)]
pub(super) enum StoreLocation {
    Memory,
    Redis(RedisUrl),
}

impl SingleValue for StoreLocation {
    fn parse(text: &str, _: &ConfigKey) -> Result<Self, String> {
        if text == "memory:" {
            return Ok(Self::Memory);
        }
        refuse_sample_password(text)?;
        let url = RedisUrl::parse(text)
            .unwrap_or_else(|| Err(unsupported(text, "the live state is stored in Redis or in this process")));
        url.map(Self::Redis)
    }

    fn placeholder() -> Self {
        Self::Memory
    }
}

/// Where messages are stored.
#[derive(Clone, Debug)]
pub(super) enum RecordsLocation {
    SqliteMemory,
    /// A path, possibly relative to the data directory.
    SqliteFile(PathBuf),
    Postgres(Secret),
    Http(reqwest::Url),
}

impl SingleValue for RecordsLocation {
    fn parse(text: &str, _: &ConfigKey) -> Result<Self, String> {
        match text.split_once(':') {
            Some(("postgres" | "postgresql", _)) => {
                refuse_sample_password(text)?;
                postgres_url(text).map(|url| Self::Postgres(Secret(url.to_owned())))
            }
            Some(("http" | "https", _)) => backend_url(text).map(Self::Http),
            Some(("sqlite", ":memory:")) => Ok(Self::SqliteMemory),
            Some(("sqlite", file)) if !file.trim_start_matches('/').is_empty() => {
                Ok(Self::SqliteFile(file.strip_prefix("//").unwrap_or(file).into()))
            }
            Some(("sqlite", _)) => Err(quoted(text, "without a file")),
            _ => Err(unsupported(text, "messages are stored in SQLite, in PostgreSQL or in a backend over HTTP")),
        }
    }

    fn placeholder() -> Self {
        Self::SqliteMemory
    }
}

/// What the URL of a PostgreSQL database may set besides the location. Everything else has a key of its own, or is
/// refused by poolers between hosts and servers.
const POSTGRES_PARAMETERS: [&str; 4] = ["sslmode", "sslrootcert", "sslcert", "sslkey"];

/// The error repeats nothing of the URL: any part of it may be a piece of a password.
fn postgres_url(text: &str) -> Result<&str, String> {
    let (location, query) = text.split_once('?').unwrap_or((text, ""));
    let is_known = |parameter: &str| POSTGRES_PARAMETERS.contains(&parameter.split('=').next().unwrap_or_default());
    if !query.split('&').filter(|parameter| !parameter.is_empty()).all(is_known) {
        return Err(format!("has a parameter that is none of {}", POSTGRES_PARAMETERS.join(", ")));
    }
    if location.parse::<PgConnectOptions>().is_err() {
        return Err("is not a URL; write special characters of a password as %40 and the like".to_owned());
    }
    text.parse::<PgConnectOptions>().map(|_| text).map_err(|_| "has a parameter with a wrong value".to_owned())
}

fn backend_url(text: &str) -> Result<reqwest::Url, String> {
    let mut url = base_url(text, "set records_key instead")?;
    let path = format!("{}/v1", url.path().trim_end_matches('/'));
    url.set_path(&path);
    Ok(url)
}

fn collector_url(text: &str) -> Result<(), String> {
    match base_url(text, "Roost sends none to a collector")?.scheme() {
        "http" | "https" => Ok(()),
        _ => Err(unsupported(text, "spans are sent over HTTP")),
    }
}

/// Whoever could change the answer could sign tokens, so that plain HTTP is for this machine alone.
fn key_set_url(text: &str) -> Result<(), String> {
    let url = reqwest::Url::parse(text).map_err(|error| format!("is not a URL: {error}"))?;
    if !url.username().is_empty() || url.password().is_some() || url.fragment().is_some() {
        return Err("contains a user name, a password or a fragment; Roost sends none of them".to_owned());
    }
    match url.scheme() {
        "https" => Ok(()),
        "http" if is_this_machine(&url) => Ok(()),
        "http" => Err("is plain HTTP to another machine, where everybody on the way could replace the keys".to_owned()),
        _ => Err(unsupported(text, "keys are read over HTTPS")),
    }
}

fn is_this_machine(url: &reqwest::Url) -> bool {
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// A URL that gets a path appended. The error repeats nothing of the URL: it may contain a password.
fn base_url(text: &str, credentials_hint: &str) -> Result<reqwest::Url, String> {
    let url = reqwest::Url::parse(text).map_err(|error| format!("is not a URL: {error}"))?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err(format!("contains a user name or a password; {credentials_hint}"));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err("contains a query or a fragment".to_owned());
    }
    Ok(url)
}

fn origin(text: &str) -> Result<String, String> {
    let is_origin = |uri: &axum::http::Uri| {
        let no_path = matches!(uri.path(), "" | "/") && uri.query().is_none();
        uri.scheme().is_some() && uri.host().is_some() && no_path && !text.ends_with('/')
    };
    let lower_case = text.to_ascii_lowercase();
    match lower_case.parse::<axum::http::Uri>() {
        Ok(uri) if is_origin(&uri) && names_default_port(&uri) => {
            Err(quoted(text, "not what browsers send: they leave out the default port"))
        }
        Ok(uri) if is_origin(&uri) => Ok(lower_case),
        _ => Err(quoted(text, "not an origin")),
    }
}

fn names_default_port(uri: &axum::http::Uri) -> bool {
    matches!((uri.scheme_str(), uri.port_u16()), (Some("https"), Some(443)) | (Some("http"), Some(80)))
}

/// Levels and targets. `Targets` reads the syntax of filters by span and field too, but does not look at spans.
fn log_filter(text: &str) -> Result<String, String> {
    if text.contains(['[', '{']) {
        return Err(quoted(text, "a filter by span or field, which Roost does not support"));
    }
    if let Err(error) = text.parse::<tracing_subscriber::filter::Targets>() {
        return Err(quoted(text, &format!("not a filter ({error})")));
    }
    non_empty(text).map(str::to_owned)
}

fn known(text: &str, names: &[&str], problem: &str) -> Result<String, String> {
    if names.contains(&text) { Ok(text.to_owned()) } else { Err(quoted(text, problem)) }
}

pub(super) fn quoted(text: &str, problem: &str) -> String {
    format!("\"{text}\" is {problem}")
}

fn non_empty(text: &str) -> Result<&str, String> {
    if text.trim().is_empty() { Err("is empty".to_owned()) } else { Ok(text) }
}

/// Repeats the scheme alone: what follows may contain a password.
fn unsupported(url: &str, supported: &str) -> String {
    match url.split_once(':') {
        Some((scheme, _)) => format!("`{scheme}:` is not supported; {supported}"),
        None => "is not a URL".to_owned(),
    }
}
