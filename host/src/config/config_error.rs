//! What is wrong with a configuration, said so that the reader can mend it: where, what, and what is allowed.

use std::fmt;

/// One config_error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// Where it was said, such as `roost.toml:12` or `ROOST_LISTEN`.
    pub origin: String,
    /// The key, as the file spells it; `None` where the text is no configuration at all.
    pub key: Option<String>,
    /// What is wrong, and what is allowed.
    pub problem: String,
    /// The file's line, so that mistakes can be told in the order in which they are mended.
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

/// Every config_error of a configuration; never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigErrors(pub Vec<ConfigError>);

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.len() {
            1 => writeln!(f, "the configuration has a config_error:")?,
            count => writeln!(f, "the configuration has {count} mistakes:")?,
        }
        for config_error in &self.0 {
            writeln!(f, "  {config_error}")?;
        }
        f.write_str("`roost check-config --keys` lists every key, its default and its meaning")
    }
}

impl std::error::Error for ConfigErrors {}

/// The candidate that differs least from a misspelt name, if any is near.
pub(super) fn nearest<'a>(name: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let near = 1 + name.len() / 5;
    candidates
        .map(|candidate| (distance(name, candidate), candidate))
        .filter(|(distance, _)| *distance <= near)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// How many letters must be added, dropped or changed to make one text of the other.
fn distance(left: &str, right: &str) -> usize {
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (done, letter) in left.bytes().enumerate() {
        let mut diagonal = done;
        let mut previous = done + 1;
        for (cell, other) in row.iter_mut().skip(1).zip(right.bytes()) {
            let changed = diagonal + usize::from(letter != other);
            diagonal = *cell;
            previous = changed.min(previous + 1).min(diagonal + 1);
            *cell = previous;
        }
        if let Some(first) = row.first_mut() {
            *first = done + 1;
        }
    }
    row.last().copied().unwrap_or_default()
}
