//! Gathers the settings in layers: defaults, the file, the environment, flags. A later layer replaces an earlier one
//! key by key, and each value remembers where it was set. Nothing else in Roost reads the environment.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use super::config_error::{ConfigError, nearest};
use super::listing::Listing;
use super::reference::{self, VARIABLE_PREFIX};
use super::{Config, ConfigErrors, toml_file};

/// The file that is read if it exists and no other is named.
const DEFAULT_FILE: &str = "roost.toml";
/// The variable that names the file.
const FILE_VARIABLE: &str = "ROOST_CONFIG";
/// The name under which close names are looked up where the name of the function itself is not valid.
const SOME_FUNCTION: &str = "typing";

/// Where a configuration comes from.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// The defaults of a command that differ from the documented ones, by key.
    pub defaults: Vec<(&'static str, String)>,
    /// The file; `None`: `ROOST_CONFIG`, or `roost.toml` in the current directory if it exists.
    pub file: Option<PathBuf>,
    /// Environment variables; those that do not begin with `ROOST_` are ignored.
    pub environment: Vec<(String, String)>,
    /// The values on the command line.
    pub flags: Vec<Flag>,
    /// Whether the keys that serving needs must be configured: one that verifies users' tokens, and the admin key if
    /// other machines can reach the admin listener.
    pub needs_keys: bool,
}

/// One value from the command line.
#[derive(Clone, Debug)]
pub struct Flag {
    /// The flag as the user typed it, such as `--listen`.
    pub flag: String,
    /// The key that it sets.
    pub key: String,
    /// The value as text, not yet parsed.
    pub value: String,
}

impl Sources {
    /// The configuration, or every error in it.
    pub fn load(self) -> Result<Config, ConfigErrors> {
        self.load_with_listing().map(|(config, _)| config)
    }

    /// The configuration and its listing: every key with its value and where the value was set.
    pub(crate) fn load_with_listing(self) -> Result<(Config, Listing), ConfigErrors> {
        let needs_keys = self.needs_keys;
        Settings::gather(self).assemble(needs_keys)
    }
}

/// The variables of this process that concern Roost.
pub fn environment() -> Vec<(String, String)> {
    std::env::vars_os()
        .map(|(name, value)| (name.to_string_lossy().into_owned(), value.to_string_lossy().into_owned()))
        .filter(|(name, _)| name.starts_with(VARIABLE_PREFIX))
        .collect()
}

/// Where a value was set.
#[derive(Clone, Debug)]
pub(super) enum Origin {
    Default,
    /// A file that could not be read.
    UnreadFile(PathBuf),
    File {
        path: PathBuf,
        line: usize,
    },
    Environment(String),
    Flag(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::UnreadFile(path) => path.display().fmt(f),
            Self::File { path, line } => write!(f, "{}:{line}", path.display()),
            Self::Environment(name) => f.write_str(name),
            Self::Flag(flag) => f.write_str(flag),
        }
    }
}

/// A value before it is parsed.
#[derive(Clone, Debug)]
pub(super) enum RawValue {
    One(String),
    Many(Vec<String>),
}

/// A value and where it was set.
#[derive(Clone, Debug)]
pub(super) struct Setting {
    pub(super) raw: RawValue,
    pub(super) origin: Origin,
}

/// The settings by key, and the errors found so far.
#[derive(Debug, Default)]
pub(super) struct Settings {
    pub(super) values: BTreeMap<String, Setting>,
    pub(super) errors: Vec<ConfigError>,
}

impl Settings {
    fn gather(sources: Sources) -> Self {
        let mut settings = Self::default();
        for (key, value) in sources.defaults {
            settings.set(key.to_owned(), RawValue::One(value), Origin::Default);
        }
        let variable = sources.environment.iter().find(|(name, _)| name == FILE_VARIABLE);
        let named = sources.file.or_else(|| variable.map(|(_, path)| path.into()));
        settings.read_file(named);
        for (name, value) in sources.environment {
            settings.read_variable(name, value);
        }
        for Flag { flag, key, value } in sources.flags {
            settings.set(key, RawValue::One(value), Origin::Flag(flag));
        }
        settings
    }

    fn read_file(&mut self, named: Option<PathBuf>) {
        let is_required = named.is_some();
        let path = named.unwrap_or_else(|| DEFAULT_FILE.into());
        match std::fs::read_to_string(&path) {
            Ok(text) => toml_file::read(self, &path, &text),
            Err(error) if !is_required && error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => self.note_error(
                &Origin::UnreadFile(path),
                None,
                format!("cannot be read: {error}; name a readable file with --config or ROOST_CONFIG"),
            ),
        }
    }

    fn read_variable(&mut self, name: String, value: String) {
        if name == FILE_VARIABLE || !name.starts_with(VARIABLE_PREFIX) {
            return;
        }
        match reference::from_variable(&name) {
            Some(key) if reference::find(&key).is_some() => {
                self.set(key, RawValue::One(value), Origin::Environment(name));
            }
            key => {
                let names = reference::names(function_of(key.as_deref().unwrap_or_default()));
                let variables: Vec<String> = names.iter().map(|key| reference::variable(key)).collect();
                let problem = unknown("variable", &name, &variables);
                self.note_error(&Origin::Environment(name), None, problem);
            }
        }
    }

    pub(super) fn set(&mut self, key: String, raw: RawValue, origin: Origin) {
        if reference::find(&key).is_none() {
            let names = reference::names(function_of(&key));
            self.note_error(&origin, None, unknown("key", &key, &names));
            return;
        }
        self.values.insert(key, Setting { raw, origin });
    }

    pub(super) fn note_error(&mut self, origin: &Origin, key: Option<String>, problem: String) {
        let line = if let Origin::File { line, .. } = origin { Some(*line) } else { None };
        let origin = match (origin, &key) {
            // The problem is that none of the keys which it names is set.
            (Origin::Default, None) => "nothing set".to_owned(),
            _ => origin.to_string(),
        };
        self.errors.push(ConfigError { origin, key, problem, line });
    }
}

/// The function whose key this is, or was meant to be.
fn function_of(key: &str) -> &str {
    let named = key.strip_prefix("function.").and_then(|rest| rest.split('.').next());
    named.filter(|name| reference::is_function_name(name)).unwrap_or(SOME_FUNCTION)
}

fn unknown(kind: &str, name: &str, known: &[String]) -> String {
    match nearest(name, known.iter().map(String::as_str)) {
        Some(near) => format!("unknown {kind} `{name}`; did you mean `{near}`?"),
        None => format!("unknown {kind} `{name}`"),
    }
}
