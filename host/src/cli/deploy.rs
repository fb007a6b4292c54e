//! The commands that change deployments: they ask a running host, and say what it did.

use std::process::ExitCode;

use anyhow::{Context, bail};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};

use super::args::{CanaryArgs, DeployArgs, HostArgs, PromoteArgs, RollbackArgs, UndeployArgs};
use super::print::print;
use super::running_host::{self, RunningHost};

/// The steps of a change, in their order.
const STEPS: [&str; 5] = ["prepared", "probed", "stored", "serving", "followed"];

pub(super) async fn deploy(args: &DeployArgs) -> anyhow::Result<ExitCode> {
    let config = running_host::config(&args.host.settings)?;
    let host = RunningHost::new(&config, args.host.to.as_ref())?;
    let shown = args.file.display();
    let bytes =
        std::fs::read(&args.file).with_context(|| format!("{shown} cannot be read; name the file of a component"))?;
    let path = format!("/functions?progress=true{}", query(args)?);
    let (mut outcome, mut refusal) = (None, None);
    let silent = args.host.json;
    if !silent {
        print(&format!("{shown}: {} bytes are sent", bytes.len()))?;
    }
    let on_line = |line: Value| match (line.get("stage"), line.get("outcome"), line.get("error")) {
        (Some(stage), ..) if !silent => drop(print(stage.as_str().unwrap_or_default())),
        (_, Some(done), _) => outcome = Some(done.clone()),
        (_, _, Some(problem)) => refusal = Some(problem.clone()),
        _ => {}
    };
    host.request_lines(("POST", &path, &bytes), on_line).await?;
    match (outcome, refusal) {
        (Some(outcome), _) => show(&outcome, &args.host),
        (None, Some(problem)) => Err(host.refused(&problem)),
        (None, None) => bail!("the host ended the connection before it said what it did; look at `roost functions`"),
    }
}

fn query(args: &DeployArgs) -> anyhow::Result<String> {
    let encode = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
    let source = args.file.file_name().unwrap_or_default().to_string_lossy();
    let mut query = format!("&source={}", encode(&source));
    if let Some(percent) = args.canary {
        query.push_str(&format!("&canary={percent}"));
    }
    if args.allow_removals {
        query.push_str("&allow_removals=true");
    }
    if let Some(grants) = &args.allow_grants {
        query.push_str(&format!("&allow_grants={}", encode(grants)));
    }
    if let Some(probe) = &args.probe {
        let text = match probe.strip_prefix('@') {
            Some(file) => std::fs::read_to_string(file).with_context(|| format!("the probe {file} cannot be read"))?,
            None => probe.clone(),
        };
        query.push_str(&format!("&probe={}", encode(&text)));
    }
    Ok(query)
}

pub(super) async fn roll_back(args: &RollbackArgs) -> anyhow::Result<ExitCode> {
    let body = args.revision.map_or_else(String::new, |revision| json!({ "revision": revision }).to_string());
    ask(&args.host, "POST", &format!("/functions/{}/rollback", args.name), &body).await
}

pub(super) async fn set_canary(args: &CanaryArgs) -> anyhow::Result<ExitCode> {
    let body = json!({ "percent": args.percent }).to_string();
    let query = removals_query(args.allow_removals);
    ask(&args.host, "PUT", &format!("/functions/{}/canary{query}", args.name), &body).await
}

pub(super) async fn promote(args: &PromoteArgs) -> anyhow::Result<ExitCode> {
    let query = removals_query(args.allow_removals);
    ask(&args.host, "POST", &format!("/functions/{}/promote{query}", args.name), "").await
}

pub(super) async fn undeploy(args: &UndeployArgs) -> anyhow::Result<ExitCode> {
    let query = removals_query(args.allow_removals);
    ask(&args.host, "DELETE", &format!("/functions/{}{query}", args.name), "").await
}

const fn removals_query(allow_removals: bool) -> &'static str {
    if allow_removals { "?allow_removals=true" } else { "" }
}

pub(super) async fn reload(args: &HostArgs) -> anyhow::Result<ExitCode> {
    let config = running_host::config(&args.settings)?;
    let answer = RunningHost::new(&config, args.to.as_ref())?.request("POST", "/reload", b"").await?;
    let names = |key: &str| {
        let names: Vec<&str> =
            answer.get(key).and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect();
        if names.is_empty() { "none".to_owned() } else { names.join(", ") }
    };
    let text = format!("added: {}; changed: {}; removed: {}", names("added"), names("changed"), names("removed"));
    print(&if args.json { format!("{answer:#}") } else { text })?;
    Ok(ExitCode::SUCCESS)
}

async fn ask(args: &HostArgs, method: &str, path: &str, body: &str) -> anyhow::Result<ExitCode> {
    let config = running_host::config(&args.settings)?;
    let host = RunningHost::new(&config, args.to.as_ref())?;
    let outcome = host.request(method, path, body.as_bytes()).await?;
    show(&outcome, args)
}

fn show(outcome: &Value, args: &HostArgs) -> anyhow::Result<ExitCode> {
    print(&if args.json { format!("{outcome:#}") } else { sentences(outcome) })?;
    Ok(ExitCode::SUCCESS)
}

/// What a change did, for people.
fn sentences(outcome: &Value) -> String {
    let text = |pointer: &str| outcome.pointer(pointer).and_then(Value::as_str);
    let number = |pointer: &str| outcome.pointer(pointer).and_then(Value::as_u64);
    let name = text("/name").unwrap_or("?");
    let named = |version: &str, revision: Option<u64>| match revision {
        Some(revision) => format!("revision {revision} (version {version})"),
        None => format!("the component of the folder (version {version})"),
    };
    let mut lines = vec![match (text("/version"), number("/canary")) {
        (None, _) => format!("{name}: nothing serves any more"),
        (Some(version), Some(percent)) => {
            format!("{name}: {} serves {percent} % of the users", named(version, number("/revision")))
        }
        (Some(version), None) => format!("{name}: {} serves", named(version, number("/revision"))),
    }];
    if let Some(before) = text("/replaced/version") {
        lines.push(format!("before: {}", named(before, number("/replaced/revision"))));
    }
    if let Some(digest) = text("/digest") {
        lines.push(format!("digest: {digest}"));
    }
    if let Some(grants) = outcome.get("grants").filter(|grants| grants.is_object()) {
        let named = |key: &str| grants.get(key).map_or_else(|| "none".to_owned(), grant_names);
        lines.push(format!("grants asked: {}; given: {}", named("asked"), named("given")));
    }
    for (heading, pointer) in [("routes added", "/routes/added"), ("routes removed", "/routes/removed")] {
        let routes = outcome.pointer(pointer).and_then(Value::as_array).into_iter().flatten();
        let routes: Vec<&str> = routes.filter_map(Value::as_str).collect();
        if !routes.is_empty() {
            lines.push(format!("{heading}: {}", routes.join(", ")));
        }
    }
    for host in outcome.get("hosts").and_then(Value::as_array).into_iter().flatten() {
        let host_name = host.get("host").and_then(Value::as_str).unwrap_or("?");
        let is_done = host.get("done").and_then(Value::as_bool) == Some(true);
        let problem = host.get("problem").and_then(Value::as_str);
        lines.push(match (is_done, problem) {
            (true, _) => format!("host {host_name}: done"),
            (false, Some(problem)) => format!("host {host_name}: {problem}"),
            (false, None) => format!("host {host_name}: does not follow yet"),
        });
    }
    if let Some(total) = number("/timings_ms/total") {
        let steps = STEPS.iter().filter_map(|step| Some(format!("{step} {}", number(&format!("/timings_ms/{step}"))?)));
        let steps: Vec<String> = steps.collect();
        let steps = if steps.is_empty() { String::new() } else { format!(" ({})", steps.join(", ")) };
        lines.push(format!("took {total} ms{steps}"));
    }
    lines.join("\n")
}

/// The grants of a function, as `--allow-grants` takes them.
fn grant_names(grants: &Value) -> String {
    let listed = |key: &str| {
        let names = grants.get(key).and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
        names.map(|name| format!("{key}.{name}")).collect::<Vec<_>>()
    };
    let recipients = grants.get("publish").and_then(Value::as_str).filter(|recipients| *recipients != "nobody");
    let publish = recipients.map(|recipients| format!("publish.{recipients}"));
    let is_subscribed = grants.get("subscribe").and_then(Value::as_bool) == Some(true);
    let subscribe = is_subscribed.then(|| "subscribe".to_owned());
    let (read, write, records) = (listed("read"), listed("write"), listed("records"));
    let names: Vec<String> = read.into_iter().chain(write).chain(publish).chain(subscribe).chain(records).collect();
    if names.is_empty() { "none".to_owned() } else { names.join(",") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outcome_is_printed_as_sentences() {
        let outcome = json!({
            "name": "presence", "version": "0.2.0", "digest": "0123", "revision": 2, "canary": 10,
            "replaced": { "version": "0.1.0", "digest": "4567", "revision": null },
            "routes": { "added": ["GET /v1/x"], "removed": [] },
            "hosts": [
                { "host": "a:8080", "done": true, "problem": null },
                { "host": "b:8080", "done": false, "problem": "presence: it does not compile" },
                { "host": "c:8080", "done": false, "problem": null },
            ],
            "grants": {
                "asked": { "read": ["app"], "write": [], "publish": "members", "subscribe": false, "records": ["history"] },
                "given": { "read": [], "write": [], "publish": "nobody", "subscribe": false, "records": [] },
            },
            "timings_ms": { "followed": 3, "prepared": 40, "serving": 1, "stored": 4, "total": 48 },
        });
        let expected = "\
presence: revision 2 (version 0.2.0) serves 10 % of the users
before: the component of the folder (version 0.1.0)
digest: 0123
grants asked: read.app,publish.members,records.history; given: none
routes added: GET /v1/x
host a:8080: done
host b:8080: presence: it does not compile
host c:8080: does not follow yet
took 48 ms (prepared 40, stored 4, serving 1, followed 3)";
        assert_eq!(sentences(&outcome), expected);
        let nothing = json!({ "name": "presence", "version": null, "hosts": [] });
        assert_eq!(sentences(&nothing), "presence: nothing serves any more");
    }
}
