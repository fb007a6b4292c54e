//! `docs/functions.md` and `docs/testing.md` show what is there: every piece of code in them and in `docs/languages.md`
//! is in the file that it names, the numbers are those of the limits, and the tables name every query, check, mutation
//! and member of a scenario. So do the function and the limits in the README.

use std::fs;

use roost_core::limits::{
    ADDRESSED_BYTES_MAX, ADDRESSEES_MAX, CALL_ITEMS_MAX, CONTACTS_MAX, CONTENT_BYTES_MAX, CONVERSATIONS_MAX,
    DOCUMENT_BYTES_MAX, DOCUMENTS_MAX, FEED_BYTES_MAX, FEED_EVENTS_MAX, LIST_MAX, MEMBERS_MAX, NAME_BYTES_MAX,
    PAGE_MAX, PAYLOAD_BYTES_MAX, TRANSACTION_ITEMS_MAX, VALUE_BYTES_MAX,
};
use roost_tests::sources::root;

/// The guide for writers of functions: its first part and what it says of tests.
fn guide() -> String {
    let page = |name: &str| fs::read_to_string(root().join("docs").join(name)).unwrap();
    [page("functions.md"), page("testing.md")].concat()
}

/// The files that pieces of code name, and the pieces.
fn pieces(guide: &str) -> Vec<(String, String)> {
    let mut pieces = Vec::new();
    let mut rest = guide;
    while let Some((_, after)) = rest.split_once("<!-- ") {
        let (file, after) = after.split_once(" -->\n```").unwrap();
        let (_, after) = after.split_once('\n').unwrap();
        let (piece, after) = after.split_once("```\n").unwrap();
        pieces.push((file.to_owned(), piece.to_owned()));
        rest = after;
    }
    pieces
}

#[test]
fn every_piece_of_code_is_in_the_file_that_it_names() {
    let other_languages = fs::read_to_string(root().join("docs/languages.md")).unwrap();
    let pieces = [pieces(&guide()), pieces(&other_languages)].concat();
    assert!(pieces.len() > 11, "the pieces were not found");
    for (file, piece) in pieces {
        let text = fs::read_to_string(root().join(&file)).unwrap_or_else(|error| panic!("{file}: {error}"));
        assert!(text.contains(&piece), "{file} does not contain\n{piece}");
    }
}

fn kib(bytes: usize) -> String {
    format!("{} KiB", bytes / 1024)
}

/// A number from a thousand on, as the documents write it.
fn grouped(number: usize) -> String {
    format!("{},{:03}", number / 1_000, number % 1_000)
}

#[test]
fn the_numbers_are_those_of_the_limits() {
    let guide = guide();
    for row in [
        format!("| one call of the store | {} queries or transactions", grouped(CALL_ITEMS_MAX)),
        format!("| a transaction | {} checks", grouped(TRANSACTION_ITEMS_MAX)),
        format!("| {} · {NAME_BYTES_MAX} bytes |", kib(VALUE_BYTES_MAX)),
        format!("| {} · {} |", grouped(ADDRESSEES_MAX), kib(ADDRESSED_BYTES_MAX)),
        format!("| an event's payload | {} |", kib(PAYLOAD_BYTES_MAX)),
        format!("| {} · {DOCUMENTS_MAX} |", kib(DOCUMENT_BYTES_MAX)),
        format!("| {PAGE_MAX} · {PAGE_MAX} · {LIST_MAX} |"),
    ] {
        assert!(guide.contains(&row), "the guide does not show {row}");
    }
}

#[test]
fn the_readme_shows_the_limits_and_the_smallest_function_as_they_are() {
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    assert_eq!(MEMBERS_MAX, CONTACTS_MAX, "they have one row");
    for row in [
        format!("| a message's content | {} |", kib(CONTENT_BYTES_MAX)),
        format!("| members of a conversation; contacts of a user | {} |", grouped(MEMBERS_MAX)),
        format!("| conversations of a user | {} |", grouped(CONVERSATIONS_MAX)),
        format!("| any list in a request; any page | {LIST_MAX}; {PAGE_MAX} |"),
        format!("| {DOCUMENTS_MAX}; {} of JSON, a name of {NAME_BYTES_MAX} bytes |", kib(DOCUMENT_BYTES_MAX)),
        format!("| a feed | the newest {FEED_EVENTS_MAX} durable events and {},", kib(FEED_BYTES_MAX)),
        format!("| one call of the store | {} transactions,", grouped(CALL_ITEMS_MAX)),
        format!("| {} users, {} |", grouped(ADDRESSEES_MAX), kib(ADDRESSED_BYTES_MAX)),
    ] {
        assert!(readme.contains(&row), "the README does not show {row}");
    }
    let function = fs::read_to_string(root().join("functions/typing/src/lib.rs")).unwrap();
    let (code, _) = readme.split_once("```rust\n").unwrap().1.split_once("```\n").unwrap();
    for piece in code.split("\n\n") {
        assert!(function.contains(piece.trim_end()), "functions/typing does not contain\n{piece}");
    }
}

/// The names that follow `pub enum <name> {` or a struct in a source file, one to a line.
fn members(file: &str, begin: &str, end: &str) -> Vec<String> {
    let text = fs::read_to_string(root().join(file)).unwrap();
    let (_, body) = text.split_once(begin).unwrap();
    let (body, _) = body.split_once(end).unwrap();
    let depth_one = body.lines().filter(|line| line.starts_with("    ") && !line.starts_with("     "));
    let names = depth_one.filter(|line| !line.trim_start().starts_with(['/', '#', '}']));
    let name = |line: &str| {
        let line = line.trim().trim_start_matches("pub(super) ").trim_start_matches("r#");
        line.chars().take_while(|letter| letter.is_alphanumeric() || *letter == '_').collect::<String>()
    };
    names.map(name).collect()
}

#[test]
fn every_query_check_mutation_and_member_of_a_step_is_described() {
    let guide = guide();
    let port = "core/src/port/key_value.rs";
    let mut names = Vec::new();
    for begin in ["pub enum Query {", "pub enum Check {", "pub enum Mutation {"] {
        let found = members(port, begin, "\n}\n");
        assert!(found.len() > 5, "{begin} {found:?}");
        names.extend(found);
    }
    // The host's own query for counters of conversations.
    names.retain(|name| name != "IndexedCounters");
    let steps = members("host/src/cli/scenario/file.rs", "pub(super) struct CaseStep {", "\n}\n");
    assert!(steps.contains(&"request".to_owned()) && steps.len() > 15, "{steps:?}");
    names.extend(steps);
    names.extend(members("host/src/cli/scenario/file.rs", "pub(super) struct Given {", "\n}\n"));
    for name in names {
        let shown =
            [format!("`{name}"), format!("{name}("), format!("{name} =")].iter().any(|form| guide.contains(form));
        assert!(shown, "the guide does not describe {name}");
    }
}
