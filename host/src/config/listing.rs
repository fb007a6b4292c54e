//! The effective configuration as TOML: every key with its value and where the value was set. Secrets are masked, so
//! the text can be shown to others.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Write as _};

use super::built_in::{self, BUILT_IN};
use super::key::{Allowed, ConfigKey};
use super::keys::{FunctionConfig, GrantsConfig};
use super::layers::{Origin, RawValue, Setting};
use super::reader::split;
use super::reference::{self, FUNCTION_DEFAULTS};

/// Shown in place of a secret.
const MASK: &str = "***";
/// The column of the comment after a value.
const COMMENT_COLUMN: usize = 44;

/// The effective configuration, to be displayed.
#[derive(Clone, Debug)]
pub struct Listing(String);

impl fmt::Display for Listing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Listing {
    pub(super) fn new(values: &BTreeMap<String, Setting>, named: &BTreeSet<String>) -> Self {
        let mut writer = Writer { values, text: String::new() };
        for key in reference::fixed().filter(|key| !key.name.contains('.')) {
            writer.write(key, "", key.name);
        }
        let tables: BTreeSet<&str> = reference::fixed().filter_map(|key| Some(key.name.split_once('.')?.0)).collect();
        for table in tables {
            let _ = write!(writer.text, "\n[{table}]\n");
            for (key, leaf) in reference::fixed().filter_map(|key| Some((key, key.name.split_once('.')?))) {
                if leaf.0 == table {
                    writer.write(key, &format!("{table}."), leaf.1);
                }
            }
        }
        let _ = write!(writer.text, "\n[{FUNCTION_DEFAULTS}]\n");
        for key in FunctionConfig::KEYS {
            writer.write(key, &format!("{FUNCTION_DEFAULTS}."), key.name);
        }
        writer.text.push_str("\n# A function has the values of [function_defaults], except for these:\n");
        let names: BTreeSet<&str> = named.iter().map(String::as_str).chain(BUILT_IN).collect();
        for name in names {
            writer.write_function(name);
        }
        Self(writer.text.trim_end().to_owned())
    }
}

struct Writer<'a> {
    values: &'a BTreeMap<String, Setting>,
    text: String,
}

impl Writer<'_> {
    /// A key with the value that was set, or its default.
    fn write(&mut self, key: &ConfigKey, prefix: &str, leaf: &str) {
        match self.values.get(&format!("{prefix}{leaf}")) {
            Some(setting) => self.line(leaf, &formatted(key, &setting.raw), &setting.origin),
            None if key.default.is_empty() => {
                let _ = writeln!(self.text, "# {leaf} is not set");
            }
            None => self.line(leaf, &formatted(key, &RawValue::One(key.default.to_owned())), &Origin::Default),
        }
    }

    /// The keys that differ from `function_defaults`.
    fn write_function(&mut self, name: &str) {
        let prefix = format!("function.{name}.");
        let is_set = |key: &&ConfigKey| self.values.contains_key(&format!("{prefix}{}", key.name));
        let own: Vec<&ConfigKey> = FunctionConfig::KEYS.iter().filter(is_set).collect();
        let has_grants = GrantsConfig::KEYS.iter().any(|key| is_set(&key));
        let is_unset =
            |key: &str| ![&prefix, "function_defaults."].iter().any(|p| self.values.contains_key(&format!("{p}{key}")));
        let defaults = built_in::DEFAULTS.iter().filter(|(key, _)| BUILT_IN.contains(&name) && is_unset(key));
        let defaults: Vec<_> = defaults.collect();
        if own.is_empty() && !has_grants && defaults.is_empty() {
            return;
        }
        let _ = write!(self.text, "\n[function.{name}]\n");
        own.into_iter().for_each(|key| self.write(key, &prefix, key.name));
        for (key, value) in defaults {
            self.line(key, value, &"default of built-in functions");
        }
        if has_grants {
            GrantsConfig::KEYS.iter().for_each(|key| self.write(key, &prefix, key.name));
        }
    }

    fn line(&mut self, leaf: &str, value: &str, origin: &dyn fmt::Display) {
        let assignment = format!("{leaf} = {value}");
        let _ = writeln!(self.text, "{assignment:<COMMENT_COLUMN$} # {origin}");
    }
}

/// A value as TOML writes it.
fn formatted(key: &ConfigKey, raw: &RawValue) -> String {
    let texts = match raw {
        RawValue::One(text) if key.allowed.is_list() => split(text),
        RawValue::One(text) => vec![text.clone()],
        RawValue::Many(texts) => texts.clone(),
    };
    let show = |text: &String| match key.allowed {
        allowed if allowed.is_bare() => text.clone(),
        allowed if allowed.is_secret() => quoted(MASK),
        Allowed::StoreUrl | Allowed::RecordsUrl => quoted(&without_password(text)),
        _ => quoted(text),
    };
    let shown: Vec<String> = texts.iter().map(show).collect();
    if key.allowed.is_list() { format!("[{}]", shown.join(", ")) } else { shown.concat() }
}

fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

/// A URL whose user name stays and whose password is masked.
fn without_password(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
    // The last `@` ends the user and the password, even where a password holds a `/` that should have been escaped.
    let Some((user, location)) = rest.rsplit_once('@') else { return url.to_owned() };
    match user.split_once(':') {
        Some((user, _)) => format!("{scheme}://{user}:{MASK}@{location}"),
        None => format!("{scheme}://{user}@{location}"),
    }
}
