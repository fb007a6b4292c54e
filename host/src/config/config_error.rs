//! Errors in a configuration, told so that the reader can correct them: where the value was set, what is wrong, and
//! what is allowed.

use std::fmt;

/// One error in a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// Where the value was set, such as `roost.toml:12` or `ROOST_LISTEN`.
    pub origin: String,
    /// The key, as the file names it; `None` where no key is concerned.
    pub key: Option<String>,
    /// What is wrong, and what is allowed.
    pub problem: String,
    /// The line in the file, so that errors can be told in the order of the file.
    pub(super) line: Option<usize>,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.key {
            Some(key) => write!(f, "{}: {key}: {}", self.origin, self.problem),
            None => write!(f, "{}: {}", self.origin, self.problem),
        }
    }
}

/// Every error in a configuration; never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigErrors(pub Vec<ConfigError>);

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.len() {
            1 => writeln!(f, "the configuration has an error:")?,
            count => writeln!(f, "the configuration has {count} errors:")?,
        }
        for error in &self.0 {
            writeln!(f, "  {error}")?;
        }
        f.write_str("`roost check-config --keys` lists every key with its default and its meaning")
    }
}

impl std::error::Error for ConfigErrors {}

/// The candidate that is closest to a misspelled name, if one is close.
pub(super) fn nearest<'a>(name: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let distance_max = 1 + name.len() / 5;
    candidates
        .map(|candidate| (strsim::damerau_levenshtein(name, candidate), candidate))
        .filter(|(distance, _)| *distance <= distance_max)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}
