//! Reads single settings as what they are meant to be. A config_error is noted and answered with a placeholder, so that
//! one pass finds all of them; what was read is used only if there were none.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use roost_core::key::Space;
use roost_core::port::Operation;
use sqlx::postgres::PgConnectOptions;

use super::keys::{self, Allowed, KEY_BYTES_MIN, Key, SECRET_BYTES_MIN};
use super::layers::{Origin, Raw, Setting, Settings};
use super::redis::{self, RedisConfig, RedisUrl};
use super::{BackendConfig, LogFormat, PostgresConfig, RecordsUrl, Secret, SqliteLocation, StoreUrl};

pub(super) struct Reader {
    pub(super) settings: Settings,
    mistaken: BTreeSet<String>,
}

impl Reader {
    pub(super) const fn new(settings: Settings) -> Self {
        Self { settings, mistaken: BTreeSet::new() }
    }

    pub(super) fn address(&mut self, key: &str) -> SocketAddr {
        let read = self.one(key, |text, _| text.parse().map_err(|_| quoted(text, "no address")));
        read.unwrap_or_else(|| SocketAddr::from(([127, 0, 0, 1], 0)))
    }

    pub(super) fn path(&mut self, key: &str) -> PathBuf {
        self.one(key, |text, _| non_empty(text).map(PathBuf::from)).unwrap_or_default()
    }

    pub(super) fn text(&mut self, key: &str) -> Option<String> {
        self.one(key, |text, _| non_empty(text).map(str::to_owned))
    }

    pub(super) fn switch(&mut self, key: &str) -> bool {
        let read = self.one(key, |text, _| text.parse().map_err(|_| quoted(text, "neither on nor off")));
        read.unwrap_or_default()
    }

    pub(super) fn whole(&mut self, key: &str) -> u64 {
        self.one(key, whole).unwrap_or_default()
    }

    pub(super) fn size(&mut self, key: &str) -> usize {
        usize::try_from(self.whole(key)).unwrap_or(usize::MAX)
    }

    pub(super) fn duration(&mut self, key: &str) -> Duration {
        Duration::from_millis(self.whole(key))
    }

    pub(super) fn store(&mut self) -> StoreUrl {
        let read = self.one("store_url", |text, _| store(text)).flatten();
        let bytes_max = self.whole("store_memory_bytes_max");
        let config = RedisConfig {
            prefix: self.one("store_prefix", prefix).unwrap_or_default(),
            ca_file: self.files("store_ca_file").pop(),
            connect_timeout: self.duration("store_connect_timeout_ms"),
            response_timeout: self.duration("store_response_timeout_ms"),
            commands_max: u32::try_from(self.whole("store_commands_max")).unwrap_or(u32::MAX),
            url: match read {
                Some(url) => url,
                None => return StoreUrl::Memory { bytes_max },
            },
        };
        StoreUrl::Redis(config)
    }

    pub(super) fn records(&mut self, data_dir: &Path) -> RecordsUrl {
        let (postgres, backend) = (self.postgres(), self.backend());
        let read = self.one("records_url", |text, _| match text.split_once(':') {
            Some(("postgres" | "postgresql", _)) => postgres_url(text).map(&postgres).map(RecordsUrl::Postgres),
            Some(("http" | "https", _)) => backend_url(text).map(&backend).map(RecordsUrl::Http),
            _ => records(text, data_dir),
        });
        read.unwrap_or(RecordsUrl::Sqlite(SqliteLocation::Memory))
    }

    /// Reads how a database is used, wherever it is.
    fn postgres(&mut self) -> impl Fn(&str) -> PostgresConfig + use<> {
        let (acquire_timeout, statement_timeout) =
            (self.duration("postgres.acquire_timeout_ms"), self.duration("postgres.statement_timeout_ms"));
        let connections_max = u32::try_from(self.whole("postgres.connections_max")).unwrap_or(u32::MAX);
        move |url| PostgresConfig { url: Secret(url.to_owned()), connections_max, acquire_timeout, statement_timeout }
    }

    /// Reads how a backend is asked, wherever it is.
    fn backend(&mut self) -> impl Fn(reqwest::Url) -> BackendConfig + use<> {
        let (key, ca) = (self.secret("records_key"), self.files("records_ca"));
        let (timeout, calls_max) = (self.duration("records_timeout_ms"), self.size("records_calls_max"));
        move |url| BackendConfig { url, key: key.clone(), timeout, calls_max, ca: ca.clone() }
    }

    pub(super) fn log_format(&mut self) -> LogFormat {
        let read = self.one("log_format", |text, _| match text {
            "text" => Ok(LogFormat::Text),
            "json" => Ok(LogFormat::Json),
            other => Err(quoted(other, "no format")),
        });
        read.unwrap_or(LogFormat::Text)
    }

    pub(super) fn log_filter(&mut self) -> String {
        let read = self.one("log", |text, _| match tracing_subscriber::EnvFilter::try_new(text) {
            Ok(_) => non_empty(text).map(str::to_owned),
            Err(error) => Err(quoted(text, &format!("no filter ({error})"))),
        });
        read.unwrap_or_default()
    }

    pub(super) fn secret(&mut self, key: &str) -> Option<Secret> {
        self.one(key, secret)
    }

    pub(super) fn secrets(&mut self, key: &str) -> Vec<Secret> {
        self.each(key, secret)
    }

    pub(super) fn files(&mut self, key: &str) -> Vec<PathBuf> {
        self.each(key, |text, _| match std::fs::File::open(text) {
            Ok(_) => Ok(PathBuf::from(text)),
            Err(error) => Err(quoted(text, &format!("not readable ({error})"))),
        })
    }

    pub(super) fn origins(&mut self, key: &str) -> Vec<String> {
        self.each(key, |text, _| match text.parse::<axum::http::Uri>() {
            Ok(uri) if is_origin(&uri) && !text.ends_with('/') => Ok(text.to_ascii_lowercase()),
            _ => Err(quoted(text, "no origin")),
        })
    }

    pub(super) fn spaces(&mut self, key: &str) -> Vec<String> {
        self.named(key, &Space::ALL.map(Space::name))
    }

    pub(super) fn operations(&mut self, key: &str) -> Vec<String> {
        self.named(key, &Operation::ALL.map(Operation::name))
    }

    /// Somebody said something about this key.
    pub(super) fn is_said(&self, key: &str) -> bool {
        self.settings.values.contains_key(key)
    }

    /// Notes a config_error in how keys fit together, unless one of them is mistaken on its own already.
    pub(super) fn require(&mut self, holds: bool, keys: &[&str], problem: &str) {
        if holds || keys.iter().any(|key| self.mistaken.contains(*key)) {
            return;
        }
        let said = keys.iter().filter_map(|key| Some((*key, self.settings.values.get(*key)?))).next();
        let (key, origin) = match said {
            Some((key, setting)) => (Some(key), setting.origin.clone()),
            None => (keys.first().copied(), Origin::Default),
        };
        self.settings.complain(&origin, key.map(str::to_owned), problem.to_owned());
    }

    fn named(&mut self, key: &str, allowed: &[&'static str]) -> Vec<String> {
        self.each(key, |text, _| match allowed.contains(&text) {
            true => Ok(text.to_owned()),
            false => Err(format!("\"{text}\" is none of {}", allowed.join(", "))),
        })
    }

    fn one<T>(&mut self, name: &str, parse: impl Fn(&str, &Key) -> Result<T, String>) -> Option<T> {
        let mut values = self.read(name, parse);
        values.pop()
    }

    fn each<T>(&mut self, name: &str, parse: impl Fn(&str, &Key) -> Result<T, String>) -> Vec<T> {
        self.read(name, parse)
    }

    fn read<T>(&mut self, name: &str, parse: impl Fn(&str, &Key) -> Result<T, String>) -> Vec<T> {
        let Some(key) = keys::find(name) else { return Vec::new() };
        let Some((texts, origin)) = self.texts(name, key) else { return Vec::new() };
        let mut values = Vec::new();
        let mut problem = None;
        match texts {
            Ok(texts) => {
                for text in &texts {
                    match parse(text, key) {
                        Ok(value) => values.push(value),
                        Err(found) => problem = Some(found),
                    }
                }
            }
            Err(found) => problem = Some(found.to_owned()),
        }
        if let Some(problem) = problem {
            // Several functions inherit one default: its config_error is told once.
            if self.mistaken.insert(name.to_owned()) {
                let problem = format!("{problem}; allowed: {}", key.allowed);
                self.settings.complain(&origin, Some(name.to_owned()), problem);
            }
        }
        values
    }

    /// The texts said about a key, or its default; `None`: neither.
    #[allow(clippy::type_complexity, reason = "used once, right above")]
    fn texts(&self, name: &str, key: &Key) -> Option<(Result<Vec<String>, &'static str>, Origin)> {
        let list = key.allowed.is_list();
        match self.settings.values.get(name) {
            None if key.default.is_empty() => None,
            None => Some((Ok(vec![key.default.to_owned()]), Origin::Default)),
            Some(Setting { raw, origin }) => {
                let texts = match raw {
                    Raw::One(text) if list => Ok(split(text)),
                    Raw::One(text) => Ok(vec![text.clone()]),
                    Raw::Many(texts) if list => Ok(texts.clone()),
                    Raw::Many(_) => Err("an array where one value is expected"),
                };
                Some((texts, origin.clone()))
            }
        }
    }
}

fn split(text: &str) -> Vec<String> {
    text.split(',').map(str::trim).filter(|part| !part.is_empty()).map(str::to_owned).collect()
}

fn quoted(text: &str, problem: &str) -> String {
    format!("\"{text}\" is {problem}")
}

fn non_empty(text: &str) -> Result<&str, String> {
    if text.trim().is_empty() { Err("is empty".to_owned()) } else { Ok(text) }
}

fn whole(text: &str, key: &Key) -> Result<u64, String> {
    let Allowed::Whole { minimum, maximum, .. } = key.allowed else { return Ok(0) };
    let number: u64 = text.parse().map_err(|_| quoted(text, "no whole number"))?;
    if (minimum..=maximum).contains(&number) { Ok(number) } else { Err(format!("{number} is out of bounds")) }
}

fn secret(text: &str, key: &Key) -> Result<Secret, String> {
    let is_sent = !matches!(key.allowed, Allowed::Secrets);
    let bytes_min = if is_sent { KEY_BYTES_MIN } else { SECRET_BYTES_MIN };
    if text.len() < bytes_min {
        return Err(format!("has {} bytes", text.len()));
    }
    if is_sent && !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err("holds what cannot be sent as a bearer token".to_owned());
    }
    Ok(Secret(text.to_owned()))
}

/// `None`: in this process.
fn store(text: &str) -> Result<Option<RedisUrl>, String> {
    if text == "memory:" {
        return Ok(None);
    }
    let url = RedisUrl::parse(text)
        .unwrap_or_else(|| Err(unsupported(text, "the live state is kept in Redis or in this process")));
    url.map(Some)
}

fn prefix(text: &str, _: &Key) -> Result<String, String> {
    if redis::is_prefix(text) { Ok(text.to_owned()) } else { Err(quoted(text, "no prefix")) }
}

fn records(text: &str, data_dir: &Path) -> Result<RecordsUrl, String> {
    match text.strip_prefix("sqlite:") {
        Some(":memory:") => Ok(RecordsUrl::Sqlite(SqliteLocation::Memory)),
        Some(file) if !file.trim_start_matches('/').is_empty() => {
            let file = file.strip_prefix("//").unwrap_or(file);
            Ok(RecordsUrl::Sqlite(SqliteLocation::File(data_dir.join(file))))
        }
        Some(_) => Err(quoted(text, "without a file")),
        None => Err(unsupported(text, "messages are kept in SQLite, in PostgreSQL or behind HTTP")),
    }
}

/// What a URL may say beside the place; everything else has a key, or is refused by pools between hosts and servers.
const POSTGRES_PARAMETERS: [&str; 4] = ["sslmode", "sslrootcert", "sslcert", "sslkey"];

/// Says what is wrong without a word of the URL: any part of it may be a piece of a password.
fn postgres_url(text: &str) -> Result<&str, String> {
    let query = text.split_once('?').map_or("", |(_, query)| query);
    let known = |parameter: &str| POSTGRES_PARAMETERS.contains(&parameter.split('=').next().unwrap_or_default());
    if !query.split('&').filter(|parameter| !parameter.is_empty()).all(known) {
        return Err(format!("has a parameter that is none of {}", POSTGRES_PARAMETERS.join(", ")));
    }
    let (place, parameters_wrong) = (text.split('?').next().unwrap_or_default(), "has a parameter of a wrong value");
    if place.parse::<PgConnectOptions>().is_err() {
        return Err("is no URL; special characters of a password are spelled %40 and the like".to_owned());
    }
    text.parse::<PgConnectOptions>().map(|_| text).map_err(|_| parameters_wrong.to_owned())
}

/// Without a word of the URL in what is wrong: it may hold a password.
fn backend_url(text: &str) -> Result<reqwest::Url, String> {
    let mut url = reqwest::Url::parse(text).map_err(|error| format!("is no URL: {error}"))?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err("holds a name or a password, which belong into records_key".to_owned());
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err("holds a query or a fragment".to_owned());
    }
    let path = format!("{}/v1", url.path().trim_end_matches('/'));
    url.set_path(&path);
    Ok(url)
}

/// Shows the scheme alone: what follows may hold a password.
fn unsupported(url: &str, today: &str) -> String {
    match url.split_once(':') {
        Some((scheme, _)) => format!("`{scheme}:` is not supported by this version, {today}"),
        None => "is no URL".to_owned(),
    }
}

fn is_origin(uri: &axum::http::Uri) -> bool {
    let path = matches!(uri.path(), "" | "/") && uri.query().is_none();
    uri.scheme().is_some() && uri.host().is_some() && path
}
