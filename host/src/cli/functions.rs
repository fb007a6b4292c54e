//! `roost functions`: prints the functions of a running host, as a table or as the admin listener answers.

use std::process::ExitCode;

use serde_json::Value;

use super::args::FunctionsArgs;
use super::print::print;
use super::running_host;

const COLUMNS: [&str; 6] = ["FUNCTION", "VERSION", "DIGEST", "ROUTES", "CALLS", "LIMITS"];

pub(super) async fn run(args: &FunctionsArgs) -> anyhow::Result<ExitCode> {
    let config = running_host::config(&args.settings)?;
    let answer = running_host::request(&config, "GET", "/functions", "").await?;
    print(&if args.json { format!("{answer:#}") } else { table(&answer) })?;
    Ok(ExitCode::SUCCESS)
}

/// A heading and one line for each function, with columns as wide as their longest cell.
fn table(answer: &Value) -> String {
    let functions = answer.get("functions").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let mut lines = vec![COLUMNS.map(str::to_owned)];
    lines.extend(functions.iter().map(cells));
    let width =
        |column: usize| lines.iter().filter_map(|cells| cells.get(column)).map(String::len).max().unwrap_or_default();
    let widths: Vec<usize> = (0..COLUMNS.len()).map(width).collect();
    let line = |cells: &[String; 6]| {
        let padded: String = cells.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}  ")).collect();
        padded.trim_end().to_owned()
    };
    lines.iter().map(line).collect::<Vec<_>>().join("\n")
}

fn cells(function: &Value) -> [String; 6] {
    let text = |key: &str| function.get(key).and_then(Value::as_str).unwrap_or("?").to_owned();
    let number = |value: &Value, key: &str| value.get(key).and_then(Value::as_u64).unwrap_or_default();
    let routes = function.get("routes").and_then(Value::as_array).map_or(0, Vec::len);
    let limits = function.get("limits").unwrap_or(&Value::Null);
    let memory_mib = number(limits, "memory_bytes_max") >> 20;
    let reuse = if limits.get("reuse").and_then(Value::as_bool) == Some(true) { "reused" } else { "fresh" };
    let deadline_ms = number(limits, "deadline_ms");
    [
        text("name"),
        text("version"),
        text("digest").chars().take(12).collect(),
        routes.to_string(),
        number(function, "calls").to_string(),
        format!("{memory_mib} MiB, {deadline_ms} ms, {} calls, {reuse}", number(limits, "concurrency_max")),
    ]
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_table_has_a_line_for_each_function() {
        let limits =
            json!({ "memory_bytes_max": 16_777_216, "deadline_ms": 5000, "concurrency_max": 64, "reuse": true });
        let answer = json!({ "functions": [
            { "name": "typing", "version": "0.1.0", "digest": "0123456789abcdef", "routes": [], "calls": 7, "limits": limits },
            { "name": "presence", "version": "0.1.0", "digest": "fedcba9876543210", "routes": ["GET /x"], "calls": 12, "limits": limits },
        ] });
        let expected = "\
FUNCTION  VERSION  DIGEST        ROUTES  CALLS  LIMITS
typing    0.1.0    0123456789ab  0       7      16 MiB, 5000 ms, 64 calls, reused
presence  0.1.0    fedcba987654  1       12     16 MiB, 5000 ms, 64 calls, reused";
        assert_eq!(table(&answer), expected);
    }
}
