//! Every reason why a scenario file cannot be run is in `tests/golden/messages/scenarios.txt`. What a scenario that
//! runs reports is compared by `tests/tests/end_to_end/functions/function_tests.rs`.

use std::path::Path;

use super::file::ScenarioFile;
use crate::golden::Messages;

/// The refusal of a file with these lines after a `[given]` with two users and a conversation.
fn refusal(lines: &str) -> String {
    let given = "[given]\nusers = [\"ada\", \"ben\"]\nconversations = { pair = [\"ada\", \"ben\"] }\n";
    refusal_of(&format!("{given}{lines}"))
}

fn refusal_of(text: &str) -> String {
    ScenarioFile::parse(Path::new("scenario.toml"), text.to_owned()).unwrap_err().to_string()
}

/// A case with one step.
fn step(lines: &str) -> String {
    refusal(&format!("[[case]]\nname = \"a\"\n[[case.step]]\n{lines}\n"))
}

#[test]
fn every_refusal_of_a_scenario_file_is_in_the_golden_file() {
    let mut messages = Messages::new("Messages about scenario files");
    messages.group("The file");
    let missing = ScenarioFile::read(Path::new("/nowhere/scenario.toml")).unwrap_err();
    messages.add("It does not exist", missing);
    messages.add("It is too large", refusal_of(&"#".repeat((1 << 20) + 1)));
    messages.add("It is no TOML", refusal("[[case]\n"));
    messages.add("It has no case", refusal(""));
    messages.add("An unknown member", refusal("[[case]]\nname = \"a\"\nsteps = []\n"));
    messages.add("A case without steps", refusal("[[case]]\nname = \"a\"\nstep = []\n"));
    let case = "[[case]]\nname = \"a\"\n[[case.step]]\nwait = \"1s\"\n";
    messages.add("Two cases with one name", refusal(&format!("{case}{case}")));

    messages.group("What is given");
    for (situation, given) in [
        ("A name in capitals", "users = [\"Ada\"]"),
        ("A name with a meaning of its own", "users = [\"service\"]"),
        ("A name that is there twice", "users = [\"ada\"]\nconversations = { ada = [\"ada\"] }"),
        ("A member who is no user", "users = [\"ada\"]\nconversations = { pair = [\"ada\", \"ben\"] }"),
        ("A conversation without members", "conversations = { empty = [] }"),
    ] {
        messages.add(situation, refusal_of(&format!("[given]\n{given}\n{case}")));
    }

    messages.group("Steps");
    for (situation, lines) in [
        ("Two actions", "as = \"ada\"\nrequest = \"GET /v1/unread\"\nwait = \"1s\""),
        ("No action and no expectation", ""),
        ("A request without a caller", "request = \"GET /v1/unread\""),
        ("A request without a path", "as = \"ada\"\nrequest = \"GET\""),
        ("A member of another action", "wait = \"1s\"\nstatus = 200"),
        ("A member of other actions", "tick = \"sweep\"\nconnection = \"c\""),
        ("An unknown hook", "as = \"ada\"\nhook = \"beat\""),
        ("A span without a unit", "wait = \"5\""),
        (
            "A name to keep with a meaning of its own",
            "as = \"ada\"\nrequest = \"GET /v1/unread\"\nkeep = { any = \"/id\" }",
        ),
        ("A key with two values", "state = [{ owner = \"user ada\", item = \"a\", counter = 1, missing = true }]"),
        ("A document without an expectation", "documents = [{ owner = \"user ada\", name = \"a\" }]"),
        ("A misspelled member", "as = \"ada\"\nreqest = \"GET /v1/unread\""),
    ] {
        messages.add(situation, step(lines));
    }
    messages.check("scenarios");
}

#[test]
fn the_line_of_a_step_is_known() {
    let text = "[[case]]\nname = \"a\"\n\n[[case.step]]\nwait = \"1s\"\n\n[[case.step]]\nwait = \"2s\"\n";
    let file = ScenarioFile::parse(Path::new("scenario.toml"), text.to_owned()).unwrap();
    let steps = &file.cases[0].get_ref().steps;
    let lines: Vec<usize> = steps.iter().map(|step| file.line(step.span())).collect();
    assert_eq!(lines, [4, 7]);
}
