//! Gathers what was said, in layers: defaults, the file, the environment, flags. A later layer replaces an earlier
//! one key by key, and each value remembers where it came from. Nothing else in Roost reads the environment.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};

use toml::de::{DeTable, DeValue};

use super::config_error::{ConfigError, nearest};
use super::keys;
use super::{Config, ConfigErrors};

/// Read when no file is named, if it is there.
const DEFAULT_FILE: &str = "roost.toml";
/// Names the file.
const FILE_VARIABLE: &str = "ROOST_CONFIG";

/// Where a configuration comes from.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// Defaults of a command that differ from the documented ones, by key.
    pub defaults: Vec<(&'static str, String)>,
    /// The file; `None`: `ROOST_CONFIG`, or `roost.toml` in the current directory if it is there.
    pub file: Option<PathBuf>,
    /// Variables; those that do not begin with `ROOST_` are ignored.
    pub environment: Vec<(String, String)>,
    /// What the command line says.
    pub flags: Vec<Flag>,
    /// Something that verifies users' tokens must be configured.
    pub needs_token_key: bool,
}

/// One value from the command line.
#[derive(Clone, Debug)]
pub struct Flag {
    /// As the user typed it, such as `--listen`.
    pub flag: String,
    /// The key.
    pub key: String,
    /// Its value.
    pub value: String,
}

impl Sources {
    /// The configuration, or every config_error in it.
    pub fn load(self) -> Result<Config, ConfigErrors> {
        let needs_token_key = self.needs_token_key;
        Settings::gather(self).assemble(needs_token_key)
    }
}

/// The variables of this process.
pub fn environment() -> Vec<(String, String)> {
    std::env::vars_os()
        .map(|(name, value)| (name.to_string_lossy().into_owned(), value.to_string_lossy().into_owned()))
        .filter(|(name, _)| name.starts_with("ROOST_"))
        .collect()
}

/// Where a value was said.
#[derive(Clone, Debug)]
pub(super) enum Origin {
    Default,
    /// A file as a whole.
    Unread(PathBuf),
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
            Self::Unread(path) => path.display().fmt(f),
            Self::File { path, line } => write!(f, "{}:{line}", path.display()),
            Self::Environment(name) => f.write_str(name),
            Self::Flag(flag) => f.write_str(flag),
        }
    }
}

/// A value before anybody looked at it.
#[derive(Clone, Debug)]
pub(super) enum Raw {
    One(String),
    Many(Vec<String>),
}

/// A value and where it was said.
#[derive(Clone, Debug)]
pub(super) struct Setting {
    pub(super) raw: Raw,
    pub(super) origin: Origin,
}

/// What was said, by key, and the mistakes made in saying it.
#[derive(Debug, Default)]
pub(super) struct Settings {
    pub(super) values: BTreeMap<String, Setting>,
    pub(super) mistakes: Vec<ConfigError>,
}

impl Settings {
    fn gather(sources: Sources) -> Self {
        let mut settings = Self::default();
        for (key, value) in sources.defaults {
            settings.say(key.to_owned(), Raw::One(value), Origin::Default);
        }
        let named = sources.environment.iter().find(|(name, _)| name == FILE_VARIABLE);
        let named = sources.file.or_else(|| named.map(|(_, path)| path.into()));
        settings.read_file(named);
        for (name, value) in sources.environment {
            settings.read_variable(name, value);
        }
        for Flag { flag, key, value } in sources.flags {
            settings.say(key, Raw::One(value), Origin::Flag(flag));
        }
        settings
    }

    fn read_file(&mut self, named: Option<PathBuf>) {
        let required = named.is_some();
        let path = named.unwrap_or_else(|| DEFAULT_FILE.into());
        match std::fs::read_to_string(&path) {
            Ok(text) => self.read_toml(&path, &text),
            Err(error) if !required && error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => self.complain(&Origin::Unread(path), None, format!("cannot be read: {error}")),
        }
    }

    fn read_toml(&mut self, path: &Path, text: &str) {
        let (table, errors) = DeTable::parse_recoverable(text);
        let mut file = TomlFile { path, text, torn: BTreeSet::new() };
        for error in errors {
            let line = file.line(&error.span().unwrap_or_default());
            let origin = Origin::File { path: path.to_owned(), line };
            self.complain(&origin, None, format!("is no TOML: {}", error.message()));
            file.torn.insert(line);
        }
        self.read_table(&file, "", table.get_ref());
    }

    fn read_table(&mut self, file: &TomlFile<'_>, prefix: &str, table: &DeTable<'_>) {
        for (name, value) in table {
            let key = format!("{prefix}{}", name.get_ref());
            let line = file.line(&name.span());
            if file.torn.contains(&line) {
                continue;
            }
            let origin = Origin::File { path: file.path.to_owned(), line };
            match scalar(value.get_ref()) {
                Ok(Some(raw)) => self.say(key, raw, origin),
                Ok(None) => {
                    if let DeValue::Table(inner) = value.get_ref() {
                        self.read_table(file, &format!("{key}."), inner);
                    }
                }
                Err(kind) => {
                    let allowed = keys::find(&key).map_or_else(|| "nothing".to_owned(), |key| key.allowed.to_string());
                    self.complain(&origin, Some(key), format!("is {kind}; allowed: {allowed}"));
                }
            }
        }
    }

    fn read_variable(&mut self, name: String, value: String) {
        if name == FILE_VARIABLE || !name.starts_with("ROOST_") {
            return;
        }
        match keys::from_variable(&name) {
            Some(key) if keys::find(&key).is_some() => self.say(key, Raw::One(value), Origin::Environment(name)),
            key => {
                let known: Vec<String> = keys::names(function_of(key.as_deref().unwrap_or_default()))
                    .iter()
                    .map(|key| keys::variable(key))
                    .collect();
                let problem = unknown("variable", &name, &known);
                self.complain(&Origin::Environment(name), None, problem);
            }
        }
    }

    fn say(&mut self, key: String, raw: Raw, origin: Origin) {
        if keys::find(&key).is_none() {
            let known = keys::names(function_of(&key));
            self.complain(&origin, None, unknown("key", &key, &known));
            return;
        }
        self.values.insert(key, Setting { raw, origin });
    }

    pub(super) fn complain(&mut self, origin: &Origin, key: Option<String>, problem: String) {
        let line = if let Origin::File { line, .. } = origin { Some(*line) } else { None };
        self.mistakes.push(ConfigError { origin: origin.to_string(), key, problem, line });
    }
}

/// The function whose key this is, or was meant to be.
fn function_of(key: &str) -> &str {
    let named = key.strip_prefix("function.").and_then(|rest| rest.split('.').next());
    named.filter(|name| keys::is_function_name(name)).unwrap_or("typing")
}

fn unknown(what: &str, name: &str, known: &[String]) -> String {
    match nearest(name, known.iter().map(String::as_str)) {
        Some(near) => format!("unknown {what} `{name}`; did you mean `{near}`?"),
        None => format!("unknown {what} `{name}`"),
    }
}

/// A value's text; `None` for a table; otherwise what is not allowed anywhere.
fn scalar(value: &DeValue<'_>) -> Result<Option<Raw>, &'static str> {
    match value {
        DeValue::Table(_) => Ok(None),
        DeValue::Float(_) => Err("a floating point number"),
        DeValue::Datetime(_) => Err("a date or time"),
        DeValue::Array(items) => items
            .iter()
            .map(|item| match item.get_ref() {
                DeValue::String(text) => Ok(text.clone().into_owned()),
                _ => Err("an array of anything but texts"),
            })
            .collect::<Result<_, _>>()
            .map(|items| Some(Raw::Many(items))),
        DeValue::String(text) => Ok(Some(Raw::One(text.clone().into_owned()))),
        DeValue::Boolean(switch) => Ok(Some(Raw::One(switch.to_string()))),
        DeValue::Integer(number) => {
            let decimal = i64::from_str_radix(number.as_str(), number.radix());
            Ok(Some(Raw::One(decimal.map_or_else(|_| number.to_string(), |number| number.to_string()))))
        }
    }
}

/// A file's name and text, to turn places into lines.
struct TomlFile<'a> {
    path: &'a Path,
    text: &'a str,
    /// Lines that are no TOML; what was recovered from them means nothing.
    torn: BTreeSet<usize>,
}

impl TomlFile<'_> {
    fn line(&self, span: &Range<usize>) -> usize {
        1 + self.text.as_bytes().iter().take(span.start).filter(|byte| **byte == b'\n').count()
    }
}
