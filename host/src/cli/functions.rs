//! `roost functions`: prints the functions of a running host, one function with its revisions, or what each host of a
//! cluster runs; as tables, or as the admin listener answers.

use std::process::ExitCode;

use roost_core::time::Timestamp;
use serde_json::Value;

use super::args::FunctionsArgs;
use super::print::print;
use super::running_host::{self, RunningHost};

const COLUMNS: [&str; 9] =
    ["FUNCTION", "VERSION", "SOURCE", "DIGEST", "CANARY", "ROUTES", "PUBLICATIONS", "CALLS", "LIMITS"];
const REVISION_COLUMNS: [&str; 6] = ["REVISION", "VERSION", "DIGEST", "BYTES", "DEPLOYED AT", "STATE"];
const HOST_COLUMNS: [&str; 6] = ["HOST", "FUNCTION", "REVISION", "DIGEST", "CANARY", "PROBLEM"];
/// How many letters of a digest are shown.
const DIGEST_LETTERS: usize = 12;

pub(super) async fn run(args: &FunctionsArgs) -> anyhow::Result<ExitCode> {
    let config = running_host::config(&args.host.settings)?;
    let host = RunningHost::new(&config, args.host.to.as_ref())?;
    let query = if args.cluster { "?cluster=true" } else { "" };
    let path =
        args.name.as_ref().map_or_else(|| format!("/functions{query}"), |name| format!("/functions/{name}{query}"));
    let answer = host.request("GET", &path, b"").await?;
    let text = match (&args.name, args.host.json) {
        (_, true) => format!("{answer:#}"),
        (Some(_), false) => detail(&answer, args.cluster),
        (None, false) if args.cluster => hosts(&answer, None),
        (None, false) => functions(&list(&answer, "functions")),
    };
    print(&text)?;
    Ok(ExitCode::SUCCESS)
}

fn functions(functions: &[Value]) -> String {
    table(COLUMNS, functions.iter().map(cells))
}

/// One function, its canary beside the revision that serves the others, and its kept revisions.
fn detail(answer: &Value, with_hosts: bool) -> String {
    let mut parts = Vec::new();
    let serving = answer.get("serving").filter(|serving| !serving.is_null());
    match serving {
        Some(serving) => parts.push(functions(std::slice::from_ref(serving))),
        None => parts.push(format!("{} does not serve.", text(answer, "name"))),
    }
    if let Some(problem) = serving.and_then(|serving| serving.get("problem")).and_then(Value::as_str) {
        parts.push(format!("This host does not run what is desired: {problem}"));
    }
    if let Some(canary) = serving.and_then(|serving| serving.get("canary")).filter(|canary| !canary.is_null()) {
        parts.push(canary_calls(canary));
    }
    let revisions = list(answer, "revisions");
    if !revisions.is_empty() {
        let live = serving.and_then(|serving| serving.get("revision")).and_then(Value::as_u64);
        let canary = answer.pointer("/serving/canary/revision").and_then(Value::as_u64);
        parts.push(table(REVISION_COLUMNS, revisions.iter().map(|revision| revision_cells(revision, live, canary))));
    }
    if with_hosts {
        parts.push(hosts(answer, Some(&text(answer, "name"))));
    }
    parts.join("\n\n")
}

/// The calls of a canary and those of the revision beside it, one line each.
fn canary_calls(canary: &Value) -> String {
    let line = |who: String, calls: &Value| {
        let number = |key: &str| calls.get(key).and_then(Value::as_u64).unwrap_or_default();
        let failed = number("errors") + number("traps") + number("timeouts");
        let percent = if number("calls") == 0 { 0.0 } else { failed as f64 * 100.0 / number("calls") as f64 };
        [
            who,
            number("calls").to_string(),
            number("errors").to_string(),
            number("traps").to_string(),
            number("timeouts").to_string(),
            format!("{percent:.1} %"),
        ]
    };
    let none = Value::Null;
    let calls = |key: &str| canary.get(key).unwrap_or(&none);
    let revision = canary.get("revision").and_then(Value::as_u64).unwrap_or_default();
    let share = canary.get("percent").and_then(Value::as_u64).unwrap_or_default();
    let lines = [
        line(format!("canary: revision {revision}, {share} % of the users"), calls("canary_calls")),
        line("beside it".to_owned(), calls("stable_calls")),
    ];
    table(["SINCE THE CANARY BEGAN", "CALLS", "ERRORS", "TRAPS", "TIMEOUTS", "FAILED"], lines.into_iter())
}

/// What each host runs; of one function only, if it is named.
fn hosts(answer: &Value, only: Option<&str>) -> String {
    let mut rows = Vec::new();
    for host in list(answer, "hosts") {
        let reported = host.get("functions").and_then(Value::as_object).cloned().unwrap_or_default();
        for (name, function) in reported.iter().filter(|(name, _)| only.is_none_or(|only| *name == only)) {
            let number = |pointer: &str| function.pointer(pointer).and_then(Value::as_u64);
            let canary = number("/canary/revision").zip(number("/canary/percent"));
            rows.push([
                text(&host, "host"),
                name.clone(),
                number("/revision").map_or_else(|| "file".to_owned(), |revision| revision.to_string()),
                short(&text(function, "digest")),
                canary.map_or_else(|| "-".to_owned(), |(revision, percent)| format!("{revision}: {percent} %")),
                function.get("problem").and_then(Value::as_str).unwrap_or("-").to_owned(),
            ]);
        }
    }
    table(HOST_COLUMNS, rows.into_iter())
}

fn list(value: &Value, key: &str) -> Vec<Value> {
    value.get(key).and_then(Value::as_array).cloned().unwrap_or_default()
}

fn text(value: &Value, key: &str) -> String {
    value.get(key).and_then(Value::as_str).unwrap_or("?").to_owned()
}

fn short(digest: &str) -> String {
    digest.chars().take(DIGEST_LETTERS).collect()
}

/// A heading and one line for each row, with columns as wide as their longest cell.
fn table<const COLUMNS: usize>(heading: [&str; COLUMNS], rows: impl Iterator<Item = [String; COLUMNS]>) -> String {
    let lines: Vec<[String; COLUMNS]> = std::iter::once(heading.map(str::to_owned)).chain(rows).collect();
    let width = |column: usize| {
        lines.iter().filter_map(|cells| cells.get(column)).map(|cell| cell.chars().count()).max().unwrap_or_default()
    };
    let widths: Vec<usize> = (0..COLUMNS).map(width).collect();
    let line = |cells: &[String; COLUMNS]| {
        let padded: String = cells.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}  ")).collect();
        padded.trim_end().to_owned()
    };
    lines.iter().map(line).collect::<Vec<_>>().join("\n")
}

fn revision_cells(revision: &Value, live: Option<u64>, canary: Option<u64>) -> [String; 6] {
    let number = |key: &str| revision.get(key).and_then(Value::as_u64).unwrap_or_default();
    let own = Some(number("revision"));
    let withdrawn = revision.get("withdrawn").and_then(Value::as_str);
    let state = match withdrawn {
        // Also one that was taken back, and that an operator has returned to.
        _ if own == live => "serves".to_owned(),
        _ if own == canary => "canary".to_owned(),
        Some(reason) => format!("taken back: {reason}"),
        None => "kept".to_owned(),
    };
    let at = Timestamp(number("deployed_at_ms")).to_string();
    [
        number("revision").to_string(),
        text(revision, "version"),
        short(&text(revision, "digest")),
        number("bytes").to_string(),
        at,
        state,
    ]
}

fn cells(function: &Value) -> [String; 9] {
    let number = |value: &Value, key: &str| value.get(key).and_then(Value::as_u64).unwrap_or_default();
    let limits = function.get("limits").unwrap_or(&Value::Null);
    let memory_mib = number(limits, "memory_bytes_max") >> 20;
    let reuse = if limits.get("reuse").and_then(Value::as_bool) == Some(true) { "reused" } else { "fresh" };
    let deadline_ms = number(limits, "deadline_ms");
    let source = match function.get("revision").and_then(Value::as_u64) {
        Some(revision) => format!("revision {revision}"),
        None => text(function, "source"),
    };
    let canary = function.get("canary").filter(|canary| !canary.is_null());
    // The types of events for whose publication the function is called.
    let publications: Vec<String> =
        list(function, "publications").iter().filter_map(|name| Some(name.as_str()?.to_owned())).collect();
    [
        text(function, "name"),
        text(function, "version"),
        source,
        short(&text(function, "digest")),
        canary.map_or_else(
            || "-".to_owned(),
            |canary| format!("{}: {} %", number(canary, "revision"), number(canary, "percent")),
        ),
        list(function, "routes").len().to_string(),
        if publications.is_empty() { "-".to_owned() } else { publications.join(",") },
        number(function, "calls").to_string(),
        format!("{memory_mib} MiB, {deadline_ms} ms, {} calls, {reuse}", number(limits, "concurrency_max")),
    ]
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn function(name: &str, calls: u64) -> Value {
        let limits =
            json!({ "memory_bytes_max": 16_777_216, "deadline_ms": 5000, "concurrency_max": 64, "reuse": true });
        json!({ "name": name, "version": "0.1.0", "digest": "0123456789abcdef", "routes": ["GET /x"], "calls": calls,
            "limits": limits, "source": "file" })
    }

    #[test]
    fn the_table_has_a_line_for_each_function() {
        let mut deployed = function("presence", 12);
        deployed["revision"] = json!(3);
        deployed["canary"] = json!({ "revision": 4, "percent": 10 });
        deployed["publications"] = json!(["message.new", "poll.vote"]);
        let expected = "\
FUNCTION  VERSION  SOURCE      DIGEST        CANARY   ROUTES  PUBLICATIONS           CALLS  LIMITS
typing    0.1.0    file        0123456789ab  -        1       -                      7      16 MiB, 5000 ms, 64 calls, reused
presence  0.1.0    revision 3  0123456789ab  4: 10 %  1       message.new,poll.vote  12     16 MiB, 5000 ms, 64 calls, reused";
        assert_eq!(functions(&[function("typing", 7), deployed]), expected);
    }

    #[test]
    fn a_function_is_shown_with_its_canary_and_its_revisions() {
        let mut serving = function("presence", 12);
        serving["revision"] = json!(1);
        serving["canary"] = json!({
            "revision": 2, "percent": 10,
            "canary_calls": { "calls": 50, "refused": 0, "errors": 1, "traps": 1, "timeouts": 0 },
            "stable_calls": { "calls": 450, "refused": 0, "errors": 0, "traps": 0, "timeouts": 0 },
        });
        let revision = |number: u64| json!({ "revision": number, "version": "0.1.0", "digest": "0123456789abcdef", "bytes": 1000, "deployed_at_ms": 0 });
        let [mut withdrawn, mut returned] = [revision(0), revision(1)];
        for taken_back in [&mut withdrawn, &mut returned] {
            taken_back["withdrawn"] = json!("it trapped");
        }
        let answer = json!({ "name": "presence", "serving": serving, "revisions": [withdrawn, returned, revision(2)] });
        let text = detail(&answer, false);
        for line in [
            "canary: revision 2, 10 % of the users  50     1       1      0         4.0 %",
            "beside it                              450    0       0      0         0.0 %",
            "0         0.1.0    0123456789ab  1000   1970-01-01T00:00:00Z  taken back: it trapped",
            "1         0.1.0    0123456789ab  1000   1970-01-01T00:00:00Z  serves",
            "2         0.1.0    0123456789ab  1000   1970-01-01T00:00:00Z  canary",
        ] {
            assert!(text.lines().any(|shown| shown == line), "{line} is missing in\n{text}");
        }
    }

    #[test]
    fn what_each_host_runs_is_a_line_for_each_function() {
        let report = |host: &str, problem: Value| {
            let presence = json!({ "digest": "0123456789abcdef", "revision": 2, "canary": null, "problem": problem });
            json!({ "host": host, "version": 3, "functions": { "presence": presence } })
        };
        let answer =
            json!({ "hosts": [report("a:8080", Value::Null), report("b:8080", json!("it does not compile"))] });
        let expected = "\
HOST    FUNCTION  REVISION  DIGEST        CANARY  PROBLEM
a:8080  presence  2         0123456789ab  -       -
b:8080  presence  2         0123456789ab  -       it does not compile";
        assert_eq!(hosts(&answer, None), expected);
        assert_eq!(hosts(&answer, Some("typing")), "HOST  FUNCTION  REVISION  DIGEST  CANARY  PROBLEM");
    }
}
