//! `roost logs`: prints the calls and log lines of a function on a running host, as a table or as JSON lines, and
//! follows them.
//!
//! A connection that is lost while following is opened again for a while, from the record on that was printed last.

use std::cell::{Cell, RefCell};
use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{anyhow, bail};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, sleep_until};

use super::args::LogsArgs;
use super::running_host::{self, RunningHost};

/// A stream from which nothing arrives for this long is lost: the host sends a line every 15 s.
const SILENCE_MAX: Duration = Duration::from_secs(45);
/// The pause before a lost connection is opened again.
const PAUSE: Duration = Duration::from_secs(1);
/// How often in a row that is tried.
const TRIES_MAX: u32 = 30;

pub(super) async fn run(args: &LogsArgs) -> anyhow::Result<ExitCode> {
    let config = running_host::config(&args.host.settings)?;
    let host = RunningHost::new(&config, args.host.to.as_ref())?;
    let printer = Printer::new(args.host.json);
    tokio::select! {
        printed = print_all(&host, args, &printer) => printed?,
        // Whoever follows ends the command with Ctrl-C, or by closing the pipe.
        _ = tokio::signal::ctrl_c(), if args.follow => {}
        () = printer.closed.notified() => {}
    }
    Ok(ExitCode::SUCCESS)
}

async fn print_all(host: &RunningHost<'_>, args: &LogsArgs, printer: &Printer) -> anyhow::Result<()> {
    let path = path(args);
    if !args.follow {
        return host.request_lines(("GET", &path, b""), |line| printer.take(&line)).await;
    }
    let mut tries = 0;
    loop {
        let after = printer.position.borrow().as_ref().map_or_else(String::new, |at| format!("&after={at}"));
        let before = printer.lines.get();
        let ended = follow(host, &format!("{path}{after}"), printer).await;
        let was_open = printer.lines.get() > before;
        tries = if was_open { 1 } else { tries + 1 };
        let lost = match ended {
            Ok(Some(refused)) => return Err(refused),
            Ok(None) => anyhow!("the host has ended the stream"),
            // The first connection must succeed.
            Err(error) if printer.lines.get() == 0 => {
                return Err(error.context(format!("the host at {} (--admin-listen) cannot be asked", host.authority())));
            }
            Err(error) => error,
        };
        if tries > TRIES_MAX {
            bail!("the connection to the host at {} is lost: {lost:#}", host.authority());
        }
        if tries == 1 {
            warn(&format!("the connection to the host at {} is lost ({lost:#}); trying again", host.authority()));
        }
        sleep(PAUSE).await;
    }
}

/// Prints a stream until it ends or is silent for too long.
async fn follow(host: &RunningHost<'_>, path: &str, printer: &Printer) -> anyhow::Result<Option<anyhow::Error>> {
    let heard = Cell::new(Instant::now());
    let lines = host.lines(("GET", path, b""), |line| {
        heard.set(Instant::now());
        printer.take(&line);
    });
    let silent = async {
        while heard.get().elapsed() < SILENCE_MAX {
            sleep_until(heard.get() + SILENCE_MAX).await;
        }
    };
    tokio::select! {
        ended = lines => ended,
        () = silent => bail!("nothing arrived for {} s", SILENCE_MAX.as_secs()),
    }
}

fn path(args: &LogsArgs) -> String {
    let encoded = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
    let mut path = format!("/functions/{}/logs?limit={}", encoded(&args.name), args.limit);
    if args.follow {
        path.push_str("&follow=true");
    }
    if args.failed {
        path.push_str("&failed=true");
    }
    let since = args.since.map(|span| span.as_millis().to_string());
    let texts =
        [("revision", &args.revision), ("outcome", &args.outcome), ("level", &args.level), ("since_ms", &since)];
    for (name, value) in texts {
        if let Some(value) = value {
            path.push_str(&format!("&{name}={}", encoded(value)));
        }
    }
    path
}

/// Notes for the user go to standard error, so that standard output has records only.
fn warn(text: &str) {
    // There is nobody else to be told.
    let _ = writeln!(std::io::stderr(), "roost: {text}");
}

/// Prints the lines of an answer.
struct Printer {
    json: bool,
    /// How many lines arrived.
    lines: Cell<u64>,
    /// Where to read on: the epoch of the host and a sequence number.
    position: RefCell<Option<String>>,
    /// Notified when the reader of standard output has gone.
    closed: Notify,
}

impl Printer {
    fn new(json: bool) -> Self {
        Self { json, lines: Cell::new(0), position: RefCell::default(), closed: Notify::new() }
    }

    fn take(&self, line: &Value) {
        // A refusal is reported by whoever sent the request.
        let Some(kind) = line.get("kind").and_then(Value::as_str) else { return };
        let is_first = self.lines.replace(self.lines.get() + 1) == 0;
        self.note_position(kind, line);
        match kind {
            "log" if is_first => self.begin(line),
            "log" | "alive" => {}
            "lost" => {
                let lost = line.get("records").and_then(Value::as_u64).unwrap_or_default();
                warn(&format!("{lost} records were displaced before they could be sent"));
                self.print_json(line);
            }
            "end" => warn(&format!("the stream ends: {}", text(line, "reason"))),
            _ if self.json => self.print_json(line),
            _ => self.print(&record(line)),
        }
    }

    fn note_position(&self, kind: &str, line: &Value) {
        let next = match kind {
            "log" | "alive" => line.get("next").and_then(Value::as_u64),
            _ => line.get("sequence").and_then(Value::as_u64).map(|sequence| sequence + 1),
        };
        let Some(next) = next else { return };
        let mut position = self.position.borrow_mut();
        let epoch = match line.get("epoch").and_then(Value::as_str) {
            Some(epoch) => Some(epoch.to_owned()),
            None => position.as_ref().and_then(|at| Some(at.split_once(':')?.0.to_owned())),
        };
        *position = epoch.map(|epoch| format!("{epoch}:{next}"));
    }

    fn begin(&self, head: &Value) {
        let others = if head.get("cluster").and_then(Value::as_bool) == Some(true) {
            "; the other hosts of the cluster have their own records, ask them with --to"
        } else {
            ""
        };
        warn(&format!("records of {} on the host {}{others}", text(head, "function"), text(head, "host")));
        if !self.json {
            self.print(HEADING);
        }
    }

    fn print_json(&self, line: &Value) {
        if self.json {
            self.print(&line.to_string());
        }
    }

    fn print(&self, text: &str) {
        if writeln!(std::io::stdout(), "{text}").is_err() {
            self.closed.notify_one();
        }
    }
}

const HEADING: &str = "AT                        REVISION  OUTCOME         TOOK        STORE  RECORDS  MEMORY      CALLER, TRIGGER, TRACE";

/// A record as lines: the columns, and below them what is known about a failure.
fn record(record: &Value) -> String {
    let revision = record.get("revision").and_then(Value::as_u64);
    let revision = revision.map_or_else(|| short(&text(record, "digest")), |number| number.to_string());
    let trace = text(record, "trace");
    if record.get("kind").and_then(Value::as_str) == Some("line") {
        let fields = text(record, "fields");
        let message = [text(record, "message"), fields].join(" ");
        let level = text(record, "level");
        return format!("{:<24}  {revision:<8}  {level:<14}  {}  {trace}", text(record, "at"), message.trim_end());
    }
    let number = |key: &str| record.get(key).and_then(Value::as_u64).unwrap_or_default();
    let caller = match record.get("user").and_then(Value::as_str) {
        Some(user) => format!("{} {user}", text(record, "caller")),
        None => text(record, "caller"),
    };
    let columns = format!(
        "{:<24}  {revision:<8}  {:<14}  {:<10}  {:<5}  {:<7}  {:<10}  {caller}, {} {}, {trace}",
        text(record, "at"),
        text(record, "outcome"),
        took(number("took_us")),
        number("store_round_trips"),
        number("records_operations"),
        format!("{} KiB", number("memory_bytes") >> 10),
        text(record, "trigger"),
        text(record, "trigger_name"),
    );
    std::iter::once(columns).chain(details(record)).collect::<Vec<_>>().join("\n    ")
}

/// What is known about a call besides the columns.
fn details(record: &Value) -> Vec<String> {
    let mut details = Vec::new();
    let labelled = [("code", "code"), ("message", "reason"), ("panic", "panic"), ("quota", "quota")];
    for (key, label) in labelled {
        if let Some(value) = record.get(key).and_then(Value::as_str) {
            details.push(format!("{label}: {value}"));
        }
    }
    let frames = record.get("backtrace").and_then(Value::as_array).into_iter().flatten();
    details.extend(frames.filter_map(|frame| Some(format!("at {}", frame.as_str()?))));
    if let Some(left_out) = record.get("left_out").and_then(Value::as_u64) {
        details.push(format!("{left_out} calls like this one before it were not recorded"));
    }
    details
}

fn took(microseconds: u64) -> String {
    if microseconds < 1_000 { format!("{microseconds} us") } else { format!("{:.1} ms", microseconds as f64 / 1_000.0) }
}

fn short(digest: &str) -> String {
    digest.chars().take(8).collect()
}

fn text(value: &Value, key: &str) -> String {
    value.get(key).and_then(Value::as_str).unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_call_is_one_line_and_what_is_known_about_its_failure() {
        let call = json!({
            "kind": "call", "at": "2026-09-21T14:13:20.123Z", "revision": 3, "digest": "abcdef012345", "trace": "t-1",
            "trigger": "http", "trigger_name": "GET /v1/polls", "caller": "user", "user": "u-1", "outcome": "trapped",
            "message": "wasm trap: unreachable", "panic": "it gave up", "backtrace": ["polls::a", "polls::b"],
            "took_us": 1_250, "store_round_trips": 2, "records_operations": 1, "memory_bytes": 1_048_576, "left_out": 7,
        });
        let expected = [
            "2026-09-21T14:13:20.123Z  3         trapped         1.2 ms      2      1        1024 KiB    user u-1, http GET /v1/polls, t-1",
            "    reason: wasm trap: unreachable",
            "    panic: it gave up",
            "    at polls::a",
            "    at polls::b",
            "    7 calls like this one before it were not recorded",
        ];
        assert_eq!(record(&call), expected.join("\n"));
        let begin = |word: &str| HEADING.find(word).unwrap();
        let first = expected[0];
        for (word, value) in [("REVISION", "3  "), ("OUTCOME", "trapped"), ("TOOK", "1.2"), ("MEMORY", "1024")] {
            assert!(first[begin(word)..].starts_with(value), "{word}");
        }
    }

    #[test]
    fn a_line_has_its_level_message_and_fields() {
        let line = json!({
            "kind": "line", "at": "2026-09-21T14:13:20Z", "revision": null, "digest": "abcdef012345", "trace": "t-1",
            "level": "warn", "message": "no room", "fields": "room=\"a\"",
        });
        assert_eq!(record(&line), "2026-09-21T14:13:20Z      abcdef01  warn            no room room=\"a\"  t-1");
    }

    #[test]
    fn a_lost_stream_goes_on_after_the_last_record() {
        let printer = Printer::new(true);
        assert_eq!(*printer.position.borrow(), None);
        for (line, expected) in [
            (json!({"kind": "log", "epoch": "e1", "next": 4}), "e1:4"),
            (json!({"kind": "call", "sequence": 7}), "e1:8"),
            (json!({"kind": "alive", "next": 12}), "e1:12"),
            (json!({"kind": "lost", "records": 2}), "e1:12"),
            (json!({"kind": "log", "epoch": "e2", "next": 0}), "e2:0"),
        ] {
            let kind = line["kind"].as_str().unwrap().to_owned();
            printer.note_position(&kind, &line);
            assert_eq!(printer.position.borrow().as_deref(), Some(expected));
        }
    }
}
