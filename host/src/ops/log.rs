//! Log lines: where they go and how they look. They go to standard error, so that standard output holds nothing but the
//! answer of a command.

use std::io::IsTerminal;
use std::time::Duration;

use tracing::{Subscriber, level_filters::LevelFilter, subscriber};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::{Registry, fmt};

use crate::config::{Config, LogFormat};
use crate::ops::otlp::{self, SpanExport};
use crate::ops::trace::SPAN_TARGET;

/// The target of the log lines about requests to the admin listener.
pub(crate) const ADMIN_ACTIONS: &str = "roost::admin_actions";

/// Logs what the host did to its functions without a request to the admin listener, beside the requests: why, and how
/// it ended.
pub(crate) fn log_own_action(cause: &str, code: &str, detail: &str) {
    tracing::info!(target: ADMIN_ACTIONS, key = "host", cause, code, detail, "action of the host");
}

/// Begins logging as configured, and the export of spans if `otlp_endpoint` is set; the value returned ends the export.
/// Only the first call in a process has an effect. To be called within the runtime of the process.
pub(crate) fn init(config: &Config) -> anyhow::Result<Option<SpanExport>> {
    let lines = Registry::default().with(log_lines(config));
    let Some(endpoint) = &config.otlp_endpoint else {
        install(lines);
        return Ok(None);
    };
    let (tracer, export) = otlp::start(endpoint)?;
    // Nothing but the fields of the spans is exported: no source lines, threads or log lines.
    let spans = tracing_opentelemetry::layer()
        .with_tracer(tracer)
        .with_context_activation(false)
        .with_location(false)
        .with_target(false)
        .with_threads(false)
        .with_tracked_inactivity(false);
    install(lines.with(spans.with_filter(Targets::new().with_target(SPAN_TARGET, LevelFilter::INFO))));
    Ok(Some(export))
}

fn install(subscriber: impl Subscriber + Send + Sync) {
    // It fails if the process has a subscriber already, which happens in tests.
    let _ = subscriber::set_global_default(subscriber);
}

/// Writes log lines as configured. Spans are not for the log, so this layer alone leaves them disabled.
fn log_lines<S: Subscriber + for<'a> LookupSpan<'a>>(config: &Config) -> impl Layer<S> {
    let lines = fmt::layer().with_writer(std::io::stderr);
    let lines = match config.log_format {
        LogFormat::Text => lines.with_ansi(std::io::stderr().is_terminal()).boxed(),
        LogFormat::Json => lines.json().flatten_event(true).boxed(),
    };
    lines.with_filter(filter(&config.log))
}

/// The configured filter. Requests to the admin listener are logged whatever the general level is, unless the filter
/// names their target.
fn filter(configured: &str) -> Targets {
    let directives = format!("{ADMIN_ACTIONS}=info,{configured},{SPAN_TARGET}=off");
    // The filter was checked when the configuration was read.
    directives.parse().unwrap_or_else(|_| Targets::new().with_default(LevelFilter::ERROR))
}

/// A duration as a number for a log line. Numbers of 128 bits, as [`Duration::as_millis`] returns them, become text in
/// JSON.
pub(crate) fn milliseconds(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

/// As [`milliseconds`], for what takes less.
pub(crate) fn microseconds(span: Duration) -> u64 {
    u64::try_from(span.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Sources;
    use crate::ops::trace;

    #[test]
    fn without_a_collector_there_are_no_spans_even_if_everything_is_logged() {
        let defaults = vec![("log", "trace,roost=trace".to_owned())];
        let config = Sources { defaults, ..Sources::default() }.load().unwrap();
        subscriber::with_default(Registry::default().with(log_lines(&config)), || {
            assert!(tracing::enabled!(tracing::Level::TRACE), "the log is not at its finest level");
            let spans = [
                trace::request_span(&axum::http::HeaderMap::new(), "GET", "a-trace"),
                trace::call_span("probe", "1", "a-trace"),
                trace::store_span("read"),
                trace::records_span("append-message"),
            ];
            assert!(spans.iter().all(tracing::Span::is_disabled), "{spans:?}");
        });
    }

    #[test]
    fn requests_to_the_admin_listener_are_logged_unless_the_filter_names_them() {
        for (configured, level) in
            [("error", "info"), ("warn,roost=debug", "info"), ("roost::admin_actions=off", "off")]
        {
            let filter = filter(configured).to_string();
            let lines: Vec<_> = filter.split(',').filter(|directive| directive.starts_with(ADMIN_ACTIONS)).collect();
            assert_eq!(lines, [format!("{ADMIN_ACTIONS}={level}")], "{configured}");
        }
    }
}
