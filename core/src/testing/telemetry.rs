//! A fake of the telemetry port, whose counts and lines a test can read.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::port::Telemetry;

/// Records every count and every line. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct FakeTelemetry {
    counts: Arc<Mutex<BTreeMap<String, u64>>>,
    lines: Arc<Mutex<Vec<String>>>,
}

impl FakeTelemetry {
    /// Creates a fake without any counts.
    pub fn new() -> Self {
        Self::default()
    }

    /// The sum of all series with this name.
    pub fn total(&self, name: &str) -> u64 {
        let labelled = format!("{name}{{");
        self.lock()
            .iter()
            .filter(|(series, _)| *series == name || series.starts_with(&labelled))
            .map(|(_, amount)| amount)
            .sum()
    }

    /// The count of one series, written as `name` or `name{label=value,…}`.
    pub fn series(&self, series: &str) -> u64 {
        self.lock().get(series).copied().unwrap_or(0)
    }

    /// Every line with its fields, oldest first.
    pub fn lines(&self) -> Vec<String> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// All counts by series.
    pub fn all(&self) -> BTreeMap<String, u64> {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, u64>> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Telemetry for FakeTelemetry {
    fn count(&self, name: &'static str, labels: &[(&'static str, &str)], amount: u64) {
        let mut series = name.to_owned();
        for (index, (label, value)) in labels.iter().enumerate() {
            let opening = if index == 0 { '{' } else { ',' };
            let _ = write!(series, "{opening}{label}={value}");
        }
        if !labels.is_empty() {
            series.push('}');
        }
        *self.lock().entry(series).or_default() += amount;
    }

    fn warn(&self, message: &str, fields: &[(&str, &str)]) {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner).push(format!("{message} {fields:?}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_add_up_by_series_and_by_name() {
        let telemetry = FakeTelemetry::new();
        telemetry.count("cache", &[("result", "hit")], 2);
        telemetry.count("cache", &[("result", "miss")], 1);
        telemetry.count("cache_fill", &[], 5);
        assert_eq!(telemetry.series("cache{result=hit}"), 2);
        assert_eq!(telemetry.total("cache"), 3);
        assert_eq!(telemetry.total("cache_fill"), 5);
    }
}
