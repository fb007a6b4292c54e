//! Reads the TOML file: its keys with their lines, and what is wrong where the text is not TOML.

use std::collections::BTreeSet;
use std::ops::Range;
use std::path::Path;

use toml::de::{DeTable, DeValue};

use super::key::ConfigKey;
use super::layers::{Origin, RawValue, Settings};
use super::reference;

/// Adds the settings of a file, and the errors in it.
pub(super) fn read(settings: &mut Settings, path: &Path, text: &str) {
    let (table, errors) = DeTable::parse_recoverable(text);
    let mut file = TomlFile { path, text, broken_lines: BTreeSet::new() };
    for error in errors {
        let line = file.line(&error.span().unwrap_or_default());
        // One mistake often makes the parser report several errors.
        if file.broken_lines.insert(line) {
            let (key, problem) = file.explain(line, error.message());
            settings.note_error(&file.origin(line), key, problem);
        }
    }
    file.read_table(settings, "", table.get_ref());
}

struct TomlFile<'a> {
    path: &'a Path,
    text: &'a str,
    /// Lines that are not TOML; what the parser recovers from them has no meaning.
    broken_lines: BTreeSet<usize>,
}

impl TomlFile<'_> {
    fn read_table(&self, settings: &mut Settings, prefix: &str, table: &DeTable<'_>) {
        for (name, value) in table {
            let key = format!("{prefix}{}", name.get_ref());
            let line = self.line(&name.span());
            if self.broken_lines.contains(&line) {
                continue;
            }
            match raw_value(value.get_ref()) {
                Ok(Some(raw)) => settings.set(key, raw, self.origin(line)),
                Ok(None) => {
                    if let DeValue::Table(inner) = value.get_ref() {
                        self.read_table(settings, &format!("{key}."), inner);
                    }
                }
                Err(kind) => {
                    let problem = match reference::find(&key) {
                        Some(known) => format!("is {kind}; allowed: {}", known.allowed),
                        None => format!("is {kind}, which no key allows"),
                    };
                    settings.note_error(&self.origin(line), Some(key), problem);
                }
            }
        }
    }

    fn origin(&self, line: usize) -> Origin {
        Origin::File { path: self.path.to_owned(), line }
    }

    fn line(&self, span: &Range<usize>) -> usize {
        1 + self.text.as_bytes().iter().take(span.start).filter(|byte| **byte == b'\n').count()
    }

    /// What is wrong with a line that is not TOML. Values are not repeated: they may be secrets.
    fn explain(&self, line: usize, message: &str) -> (Option<String>, String) {
        let Some((name, value)) = self.assignment(line) else {
            return (None, format!("is not valid TOML: {message}"));
        };
        let key = reference::find(&name);
        let problem = match key {
            _ if value.is_empty() => "has no value".to_owned(),
            _ if value.starts_with(['"', '\'', '[', '{']) => format!("is not valid TOML: {message}"),
            Some(key) if key.allowed.is_bare() => "is not valid TOML".to_owned(),
            _ => "is a text and needs quotes: write it as \"…\"".to_owned(),
        };
        let allowed = key.map(|key: &ConfigKey| format!("; allowed: {}", key.allowed)).unwrap_or_default();
        (Some(name), format!("{problem}{allowed}"))
    }

    /// The full name and the value on a line of the form `name = value`.
    fn assignment(&self, line: usize) -> Option<(String, &str)> {
        let (name, value) = self.text.lines().nth(line - 1)?.split_once('=')?;
        let is_bare = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
        let name = name.trim();
        if name.is_empty() || !name.chars().all(is_bare) {
            return None;
        }
        let headers = self.text.lines().take(line - 1).filter_map(|line| {
            let header = line.trim().strip_prefix('[')?.split(']').next()?;
            header.chars().all(is_bare).then_some(header)
        });
        let prefix = headers.last().map(|table| format!("{table}.")).unwrap_or_default();
        Some((format!("{prefix}{name}"), value.trim()))
    }
}

/// The text of a value; `None` for a table; otherwise the kind of value, which no key allows.
fn raw_value(value: &DeValue<'_>) -> Result<Option<RawValue>, &'static str> {
    match value {
        DeValue::Table(_) => Ok(None),
        DeValue::Float(_) => Err("a floating-point number"),
        DeValue::Datetime(_) => Err("a date or time"),
        DeValue::Array(items) => items
            .iter()
            .map(|item| match item.get_ref() {
                DeValue::String(text) => Ok(text.clone().into_owned()),
                _ => Err("an array of something other than texts"),
            })
            .collect::<Result<_, _>>()
            .map(|items| Some(RawValue::Many(items))),
        DeValue::String(text) => Ok(Some(RawValue::One(text.clone().into_owned()))),
        DeValue::Boolean(switch) => Ok(Some(RawValue::One(switch.to_string()))),
        DeValue::Integer(number) => {
            let decimal = i64::from_str_radix(number.as_str(), number.radix());
            Ok(Some(RawValue::One(decimal.map_or_else(|_| number.to_string(), |number| number.to_string()))))
        }
    }
}
