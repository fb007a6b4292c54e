//! The metrics of a host, as a collector reads them.

use crate::client::Client;

/// A page of Prometheus text.
pub struct Metrics(String);

impl Metrics {
    /// The metrics of a host now; the client is one of its admin listener.
    pub async fn of(operator: &Client) -> Self {
        Self(operator.get("/metrics").await.text)
    }

    /// An empty page.
    pub const fn none() -> Self {
        Self(String::new())
    }

    /// The sum of all series with this name and all of these labels, written as `name="value"`.
    pub fn sum(&self, name: &str, labels: &[&str]) -> f64 {
        let series = self.0.lines().filter_map(|line| line.strip_prefix(name)?.rsplit_once(' '));
        let ours = series.filter(|(rest, _)| rest.is_empty() || rest.starts_with('{'));
        let meant = ours.filter(|(rest, _)| labels.iter().all(|label| rest.contains(label)));
        meant.filter_map(|(_, value)| value.parse::<f64>().ok()).sum()
    }

    /// The share of hits among the answers of a cache since an earlier page; `None` if the cache was not used.
    pub fn hit_rate(&self, cache: &str, since: &Self) -> Option<f64> {
        let (cache, hit) = (format!("cache=\"{cache}\""), "outcome=\"hit\"");
        let grown = |labels: &[&str]| {
            let name = "roost_function_cache_total";
            self.sum(name, labels) - since.sum(name, labels)
        };
        let all = grown(&[&cache]);
        (all > 0.0).then(|| grown(&[&cache, hit]) / all)
    }
}
