//! Which records an answer has.

use super::*;

fn record(kind: serde_json::Value) -> (LogRecord, serde_json::Value) {
    let level = kind.get("level").cloned();
    let kind_of = match level {
        Some(level) => RecordKind::line(serde_json::from_value(level).unwrap()),
        None => RecordKind::call(serde_json::from_value(kind["outcome"].clone()).unwrap()),
    };
    let at = roost_core::time::Timestamp(5_000);
    let record = LogRecord { sequence: 0, at, digest: "abcdef012345".into(), trace: "t".into(), kind: kind_of };
    (record, kind)
}

/// Of a call of each outcome and a line of each level, those that a filter accepts.
fn accepted(filter: &RecordFilter) -> String {
    let outcomes = ["ok", "refused", "failed", "trapped", "timeout"].map(|name| serde_json::json!({"outcome": name}));
    let levels = ["debug", "info", "warn", "error"].map(|name| serde_json::json!({"level": name}));
    let all = outcomes.into_iter().chain(levels).map(record);
    let accepted = all.filter(|(record, _)| filter.accepts(record));
    let names = accepted.filter_map(|(_, kind)| Some(kind.as_object()?.values().next()?.as_str()?.to_owned()));
    names.collect::<Vec<_>>().join(" ")
}

#[test]
fn a_filter_accepts_what_was_asked_for() {
    let all = "ok refused failed trapped timeout debug info warn error";
    assert_eq!(accepted(&RecordFilter::default()), all);
    let failed = RecordFilter { failed: true, ..RecordFilter::default() };
    assert_eq!(accepted(&failed), "refused failed trapped timeout error");
    let outcome = RecordFilter { outcome: Some(CallOutcome::Trapped), ..RecordFilter::default() };
    assert_eq!(accepted(&outcome), "trapped");
    let level = RecordFilter { level: Some(LineLevel::Warn), ..RecordFilter::default() };
    assert_eq!(accepted(&level), "ok refused failed trapped timeout warn error");
    for (digest, since_ms, expected) in [("abcdef", 0, all), ("abcdee", 0, ""), ("abcdef", 5_001, "")] {
        let filter = RecordFilter { digest: Some(digest.into()), since_ms, ..RecordFilter::default() };
        assert_eq!(accepted(&filter), expected);
    }
}

#[test]
fn lines_that_are_no_records_have_a_kind() {
    assert_eq!(line(&StreamLine::Lost { records: 3 }), "{\"kind\":\"lost\",\"records\":3}\n");
    assert_eq!(line(&StreamLine::End { reason: "x" }), "{\"kind\":\"end\",\"reason\":\"x\"}\n");
}
