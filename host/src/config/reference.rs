//! The catalogue of all keys: full names, variables, and the reference that is printed and written into
//! `docs/operations.md`.

use std::fmt::Write as _;
use std::sync::LazyLock;

use super::key::ConfigKey;
use super::keys::{FunctionConfig, GrantsConfig, SECTIONS};

/// The prefix of every variable that is a key.
pub(super) const VARIABLE_PREFIX: &str = "ROOST_";
/// The table with the defaults of all functions.
pub(super) const FUNCTION_DEFAULTS: &str = "function_defaults";

/// All keys that do not belong to functions.
pub(super) fn fixed() -> impl Iterator<Item = &'static ConfigKey> {
    SECTIONS.into_iter().flatten()
}

/// All keys that have a flag of their own.
pub(crate) fn flags() -> &'static [FlagKey] {
    static FLAGS: LazyLock<Vec<FlagKey>> = LazyLock::new(|| {
        let flag = |key: &'static ConfigKey| {
            let (name, placeholder) = (key.name, key.flag?);
            Some(FlagKey { name, flag: name.replace('_', "-"), placeholder, help: key.help() })
        };
        fixed().filter_map(flag).collect()
    });
    &FLAGS
}

/// A key with a flag on the command line.
pub(crate) struct FlagKey {
    /// The name of the key.
    pub(crate) name: &'static str,
    /// The name of the flag, without the dashes before it.
    pub(crate) flag: String,
    /// The placeholder of the value in the help.
    pub(crate) placeholder: &'static str,
    /// The meaning of the key.
    pub(crate) help: &'static str,
}

/// All keys under `function.<name>`, relative to it.
pub(super) fn of_function() -> impl Iterator<Item = &'static ConfigKey> {
    FunctionConfig::KEYS.iter().chain(GrantsConfig::KEYS)
}

/// The key of this full name.
pub(super) fn find(name: &str) -> Option<&'static ConfigKey> {
    if let Some(leaf) = name.strip_prefix(FUNCTION_DEFAULTS).and_then(|rest| rest.strip_prefix('.')) {
        return FunctionConfig::KEYS.iter().find(|key| key.name == leaf);
    }
    let Some(rest) = name.strip_prefix("function.") else { return fixed().find(|key| key.name == name) };
    let (function, leaf) = rest.split_once('.')?;
    of_function().find(|key| is_function_name(function) && key.name == leaf)
}

/// Whether a manifest may use this as the name of a function.
pub(super) fn is_function_name(name: &str) -> bool {
    let clean = name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    (1..=64).contains(&name.len()) && clean
}

/// Every full name; the keys of functions under `function_defaults` and `function.<function>`.
pub(super) fn names(function: &str) -> Vec<String> {
    let defaults = FunctionConfig::KEYS.iter().map(|key| format!("{FUNCTION_DEFAULTS}.{}", key.name));
    let single = of_function().map(|key| format!("function.{function}.{}", key.name));
    fixed().map(|key| key.name.to_owned()).chain(defaults).chain(single).collect()
}

/// The variable of a key: capitals, `__` for a dot, and `_` for the `-` in a function's name.
pub(super) fn variable(name: &str) -> String {
    format!("{VARIABLE_PREFIX}{}", name.replace('.', "__").replace('-', "_").to_ascii_uppercase())
}

/// The key of a variable. Only the name of a function may contain a `-`.
pub(super) fn from_variable(variable: &str) -> Option<String> {
    let name = variable.strip_prefix(VARIABLE_PREFIX)?;
    if name.bytes().any(|b| b.is_ascii_lowercase()) {
        return None;
    }
    let mut parts: Vec<String> = name.to_ascii_lowercase().split("__").map(str::to_owned).collect();
    if let [first, function, ..] = parts.as_mut_slice()
        && first == "function"
    {
        *function = function.replace('_', "-");
    }
    Some(parts.join("."))
}

/// Every key with its variable, meaning, default and allowed values, for the terminal.
pub fn reference() -> String {
    let mut text = String::new();
    let mut add = |name: String, key: &ConfigKey, default: &str| {
        let (variable, help) = (variable(&name), key.help());
        let _ =
            writeln!(text, "{name}\n    {variable}\n    {help}\n    default: {default}\n    allowed: {}", key.allowed);
    };
    for key in fixed() {
        add(key.name.to_owned(), key, default(key, "unset"));
    }
    for key in FunctionConfig::KEYS {
        add(format!("{FUNCTION_DEFAULTS}.{}", key.name), key, default(key, "unset"));
    }
    for key in of_function() {
        let inherited = if key.default.is_empty() { "unset" } else { "the value in function_defaults" };
        add(format!("function.<name>.{}", key.name), key, inherited);
    }
    text
}

const fn default(key: &ConfigKey, unset: &'static str) -> &'static str {
    if key.default.is_empty() { unset } else { key.default }
}

/// The three tables of `docs/operations.md`: keys of the host, of all functions, and of one function alone.
#[cfg(test)]
pub(super) fn markdown_tables() -> [String; 3] {
    let table = |keys: &mut dyn Iterator<Item = &'static ConfigKey>| {
        let mut text = String::from("| key | default | allowed | meaning |\n| --- | --- | --- | --- |\n");
        for key in keys {
            let default = if key.default.is_empty() { "unset".to_owned() } else { format!("`{}`", key.default) };
            let _ = writeln!(text, "| `{}` | {default} | {} | {} |", key.name, key.allowed, key.help());
        }
        text
    };
    [table(&mut fixed()), table(&mut FunctionConfig::KEYS.iter()), table(&mut GrantsConfig::KEYS.iter())]
}
