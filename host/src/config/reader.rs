//! Reads single settings as the types of their keys. Every error is noted and answered with a placeholder, so that one
//! pass finds all of them; what was read is used only if there were none.

use std::collections::BTreeSet;

use super::built_in;
use super::key::ConfigKey;
use super::layers::{Origin, RawValue, Settings};
use super::reference::{self, FUNCTION_DEFAULTS};
use super::value::Value;

/// The table whose keys are read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum KeyTable {
    /// Keys with full names.
    Root,
    /// Keys relative to `function_defaults`.
    FunctionDefaults,
    /// Keys relative to `function.<name>`; what is not set there is taken from `function_defaults`.
    Function(String),
}

pub(super) struct Reader {
    pub(super) settings: Settings,
    table: KeyTable,
    /// The full names of keys with a wrong value.
    wrong: BTreeSet<String>,
}

impl Reader {
    pub(super) const fn new(settings: Settings) -> Self {
        Self { settings, table: KeyTable::Root, wrong: BTreeSet::new() }
    }

    /// Reads with names relative to a table.
    pub(super) fn within<T>(&mut self, table: KeyTable, read: impl FnOnce(&mut Self) -> T) -> T {
        let outer = std::mem::replace(&mut self.table, table);
        let value = read(self);
        self.table = outer;
        value
    }

    pub(super) fn value<T: Value>(&mut self, name: &str) -> T {
        let name = self.full_name(name);
        let Some(key) = reference::find(&name) else { return T::unset() };
        let parsed = self.texts(&name, key).and_then(|texts| T::parse_all(&texts, key));
        parsed.unwrap_or_else(|problem| {
            self.note_wrong_value(name, key, &problem);
            T::unset()
        })
    }

    /// The full name of the key whose value counts.
    pub(super) fn full_name(&self, name: &str) -> String {
        let default = format!("{FUNCTION_DEFAULTS}.{name}");
        match &self.table {
            KeyTable::Root => name.to_owned(),
            KeyTable::FunctionDefaults => default,
            KeyTable::Function(function) => {
                let own = format!("function.{function}.{name}");
                if self.is_set(&own) || reference::find(&default).is_none() { own } else { default }
            }
        }
    }

    /// Whether this full name has a value from the file, the environment or the command line.
    pub(super) fn is_set(&self, name: &str) -> bool {
        self.settings.values.contains_key(name)
    }

    /// Notes that the values of keys contradict each other, unless one of them is wrong on its own.
    pub(super) fn note_conflict(&mut self, names: &[&str], problem: String) {
        let is_noted = self.settings.errors.iter().any(|error| error.problem == problem);
        if is_noted || names.iter().any(|name| self.wrong.contains(*name)) {
            return;
        }
        let setting = names.iter().find_map(|name| self.settings.values.get(*name));
        let origin = setting.map_or(Origin::Default, |setting| setting.origin.clone());
        // The problem names the keys itself.
        self.settings.note_error(&origin, None, problem);
    }

    fn note_wrong_value(&mut self, name: String, key: &ConfigKey, problem: &str) {
        // Several functions inherit one default: its error is told once.
        if self.wrong.insert(name.clone()) {
            let origin = self.settings.values.get(&name).map_or(Origin::Default, |setting| setting.origin.clone());
            self.settings.note_error(&origin, Some(name), format!("{problem}; allowed: {}", key.allowed));
        }
    }

    /// The default of a key in the present table; `None`: the key stays unset.
    fn default(&self, key: &ConfigKey) -> Option<&'static str> {
        let own = match &self.table {
            KeyTable::Function(function) => built_in::default_of(function, key.name),
            KeyTable::Root | KeyTable::FunctionDefaults => None,
        };
        own.or_else(|| Some(key.default).filter(|default| !default.is_empty()))
    }

    /// The texts of a key: those that were set, or its default.
    fn texts(&self, name: &str, key: &ConfigKey) -> Result<Vec<String>, String> {
        let is_list = key.allowed.is_list();
        match self.settings.values.get(name).map(|setting| &setting.raw) {
            None => Ok(self.default(key).map(str::to_owned).into_iter().collect()),
            Some(RawValue::One(text)) if is_list => Ok(split(text)),
            Some(RawValue::One(text)) => Ok(vec![text.clone()]),
            Some(RawValue::Many(texts)) if is_list => Ok(texts.clone()),
            Some(RawValue::Many(_)) => Err("is an array, but the key takes one value".to_owned()),
        }
    }
}

/// The parts of a list outside the file, where commas separate them.
pub(super) fn split(text: &str) -> Vec<String> {
    text.split(',').map(str::trim).filter(|part| !part.is_empty()).map(str::to_owned).collect()
}
