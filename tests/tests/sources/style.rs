//! The style of the sources as tests: no word of the glossary in identifiers, no very short or wide comments, no long
//! files, no wide Markdown, and a fixed list of modules at the top of the host.
//!
//! A limit above zero counts what existed when the rule was added. Lower it when the count falls; never raise it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use roost_tests::sources::{files, read, root};

/// The longest file, in lines.
const FILE_LINES_MAX: usize = 500;
/// The widest line of Markdown text.
const MARKDOWN_COLUMNS_MAX: usize = 100;
/// The widest comment. `rustfmt` wraps code, but no comments.
const COMMENT_COLUMNS_MAX: usize = 120;
/// What is compared line by line or quoted in the documents.
const QUOTED: [&str; 3] = ["functions/examples/", "host/src/cli/new/template/", "tests/guests/"];

/// Words that no identifier may contain as a part, with the number of occurrences that are left. The right words are
/// in the glossary of the project's style guide: reconcile, consistency check, divergence, client session,
/// registration, connection registry, print, maintenance, request refresh, connection factory, desired, batch, counter
/// state, conversation, notified, connection slot, heartbeat, disconnect, timestamp, formatted, users, eventually,
/// scenario.
const WORDS: [(&str, usize); 54] = [
    ("mend", 0),
    ("mends", 0),
    ("mended", 0),
    ("audit", 0),
    ("audits", 0),
    ("drift", 2),
    ("drifts", 0),
    ("drifted", 0),
    ("visit", 3),
    ("visits", 0),
    ("stay", 0),
    ("stays", 0),
    ("stayed", 0),
    ("seat", 0),
    ("seats", 0),
    ("sit", 0),
    ("sits", 0),
    ("face", 0),
    ("say", 0),
    ("says", 0),
    ("said", 0),
    ("house", 0),
    ("doubt", 0),
    ("doubts", 0),
    ("dial", 0),
    ("dials", 0),
    ("wanted", 0),
    ("parcel", 0),
    ("parcels", 0),
    ("standing", 0),
    ("standings", 0),
    ("talk", 0),
    ("talks", 0),
    ("told", 0),
    ("untold", 0),
    ("settle", 0),
    ("settles", 0),
    ("settled", 0),
    ("unsettled", 0),
    ("beat", 6),
    ("beats", 0),
    ("goodbye", 0),
    ("goodbyes", 0),
    ("moment", 0),
    ("moments", 0),
    ("spelt", 0),
    ("people", 0),
    ("patience", 0),
    ("scene", 0),
    ("scenes", 0),
    ("mistake", 0),
    ("mistakes", 0),
    ("lane", 0),
    ("lanes", 0),
];

/// Identifiers that are names on the wire or of other libraries, and may contain such a word.
const ALLOWED: [&str; 5] = ["allSettled", "beat_interval_ms", "drift", "unsettled", "visit_map"];

/// The languages whose identifiers are checked: the extension of the files, and how a comment of one line begins.
const LANGUAGES: [(&str, &str); 5] = [("rs", "//"), ("js", "//"), ("mjs", "//"), ("wit", "//"), ("lua", "--")];

/// The code of a source file without comments and strings. What a template of JavaScript inserts counts as a part of
/// it.
fn code(text: &str, comment: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(next) = rest.chars().next() {
        let skipped = if rest.starts_with(comment) {
            rest.find('\n').unwrap_or(rest.len())
        } else if let Some(block) = rest.strip_prefix("/*").filter(|_| !code.ends_with('\\')) {
            // In a regular expression of JavaScript, `\/*` begins no comment.
            block.find("*/").map_or(rest.len(), |end| end + 4)
        } else if let Some(raw) = rest.strip_prefix("r#\"") {
            raw.find("\"#").map_or(rest.len(), |end| end + 5)
        } else if ["'\"'", "'`'"].iter().any(|quote| rest.starts_with(quote)) {
            3
        } else if matches!(next, '"' | '`') {
            string_length(rest, next)
        } else {
            code.push(next);
            next.len_utf8()
        };
        rest = &rest[skipped..];
    }
    code
}

/// The length of the string literal at the start of a text, which ends with the same quote.
fn string_length(text: &str, quote: char) -> usize {
    let mut escaped = false;
    for (index, character) in text.char_indices().skip(1) {
        match character {
            _ if character == quote && !escaped => return index + 1,
            '\\' => escaped = !escaped,
            _ => escaped = false,
        }
    }
    text.len()
}

/// The parts of an identifier in lower case: `ConnectionSlot` and `connection_slot` have the same ones.
fn parts(identifier: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut before = '_';
    for character in identifier.chars() {
        if character == '_' || (character.is_uppercase() && !before.is_uppercase()) {
            parts.push(String::new());
        }
        if character != '_' {
            parts.last_mut().unwrap().extend(character.to_lowercase());
        }
        before = character;
    }
    parts
}

/// How often each word occurs in identifiers, and where.
fn occurrences() -> BTreeMap<&'static str, Vec<String>> {
    let words: BTreeMap<&str, &'static str> = WORDS.iter().map(|(word, _)| (*word, *word)).collect();
    let mut found: BTreeMap<&'static str, Vec<String>> = BTreeMap::new();
    for (extension, comment) in LANGUAGES {
        for path in files(&root(), extension) {
            let (name, text) = read(&path);
            let is_part = |character: char| character.is_alphanumeric() || character == '_';
            for identifier in code(&text, comment).split(|character| !is_part(character)) {
                if ALLOWED.contains(&identifier) {
                    continue;
                }
                for part in parts(identifier) {
                    if let Some(word) = words.get(part.as_str()) {
                        found.entry(word).or_default().push(format!("{name}: {identifier}"));
                    }
                }
            }
        }
    }
    found
}

#[test]
fn identifiers_contain_no_word_of_the_glossary() {
    let found = occurrences();
    let mut problems = Vec::new();
    for (word, limit) in WORDS {
        let places = found.get(word).map_or(&[][..], Vec::as_slice);
        if places.len() > limit {
            let distinct: BTreeSet<_> = places.iter().take(200).cloned().collect();
            let shown: Vec<_> = distinct.into_iter().take(12).collect();
            problems.push(format!("`{word}`: {} of at most {limit}:\n  {}", places.len(), shown.join("\n  ")));
        }
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

/// Blocks of adjacent comment lines with their text.
fn comments(text: &str) -> Vec<String> {
    let mut blocks: Vec<(&str, String)> = Vec::new();
    let mut adjacent = false;
    for line in text.lines() {
        let line = line.trim_start();
        let marker = ["//!", "///", "//"].into_iter().find(|marker| line.starts_with(marker));
        match (marker, blocks.last_mut()) {
            (Some(marker), Some((before, block))) if adjacent && *before == marker => {
                block.push(' ');
                block.push_str(line[marker.len()..].trim());
            }
            (Some(marker), _) => blocks.push((marker, line[marker.len()..].trim().to_owned())),
            (None, _) => {}
        }
        adjacent = marker.is_some();
    }
    blocks.into_iter().map(|(_, block)| block).collect()
}

#[test]
fn no_comment_has_only_one_or_two_words() {
    let mut short = Vec::new();
    for path in files(&root(), "rs") {
        let (name, text) = read(&path);
        for comment in comments(&text) {
            if comment.split_whitespace().count() <= 2 && !comment.starts_with("SAFETY") {
                short.push(format!("{name}: {comment}"));
            }
        }
    }
    assert!(short.is_empty(), "make each of these a sentence that helps, or leave it out:\n{}", short.join("\n"));
}

/// The scripts of the repository that have no extension.
fn scripts() -> Vec<std::path::PathBuf> {
    ["tests", "tests/fuzz", ".ci"]
        .iter()
        .filter_map(|folder| fs::read_dir(root().join(folder)).ok())
        .flatten()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_file() && path.extension().is_none())
        .collect()
}

#[test]
fn comments_wrap_at_the_limit() {
    let mut wide = Vec::new();
    for path in files(&root(), "rs") {
        let (name, text) = read(&path);
        if QUOTED.iter().any(|folder| name.starts_with(folder)) {
            continue;
        }
        for (index, line) in text.lines().enumerate() {
            let is_comment = line.trim_start().starts_with("//") && !line.contains("](") && !line.contains("://");
            if is_comment && line.chars().count() > COMMENT_COLUMNS_MAX {
                wide.push(format!("{name}:{}", index + 1));
            }
        }
    }
    assert!(wide.is_empty(), "wrap these comments at {COMMENT_COLUMNS_MAX} columns:\n{}", wide.join("\n"));
}

#[test]
fn files_are_short() {
    let extensions = ["rs", "wit", "lua", "sql", "sh", "md", "js", "mjs", "ts"];
    let listed = extensions.iter().flat_map(|extension| files(&root(), extension));
    for path in listed.chain(scripts()) {
        let (name, text) = read(&path);
        let lines = text.lines().count();
        assert!(lines <= FILE_LINES_MAX, "{name} has {lines} lines; split it");
    }
}

#[test]
fn markdown_wraps_at_the_limit() {
    let mut wide = Vec::new();
    for path in files(&root(), "md") {
        let (name, text) = read(&path);
        let mut is_code = false;
        for (index, line) in text.lines().enumerate() {
            is_code ^= line.trim_start().starts_with("```");
            // Tables, links and commands cannot always be wrapped.
            let is_exempt =
                is_code || line.trim_start().starts_with('|') || line.contains("](") || line.contains("://");
            if line.chars().count() > MARKDOWN_COLUMNS_MAX && !is_exempt {
                wide.push(format!("{name}:{}", index + 1));
            }
        }
    }
    assert!(wide.is_empty(), "wrap these lines at {MARKDOWN_COLUMNS_MAX} columns:\n{}", wide.join("\n"));
}

#[test]
fn the_host_has_only_its_listed_modules() {
    let allowed = [
        "app",
        "cli",
        "config",
        "delivery",
        "http_answer",
        "lib",
        "main",
        "ops",
        "records",
        "runtime",
        "server",
        "store",
    ];
    for entry in fs::read_dir(root().join("host/src")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        assert!(allowed.contains(&name.as_str()), "host/src has a module `{name}` that is not in the list");
    }
}

#[test]
fn strings_and_comments_are_left_out_of_the_code() {
    let rust = "let a = \"b \\\" c\"; // d\nlet e = r#\"f \"g\"#; let h = ['\"', '`']; i(\"\");";
    let javascript = "/** b\n * \"c */ const a = `d \\` \" ${f}`; let e = '`'; h = /* g */ i(\"\", /\\/*$/); // b";
    for text in [rust, javascript] {
        let code = code(text, "//");
        for word in ["b", "c", "d", "f", "g"] {
            assert!(!code.split_whitespace().any(|found| found == word), "{word} is in {code}");
        }
        assert!(["a", "e", "h"].iter().all(|word| code.contains(word)) && code.contains("i("), "{code}");
    }
    assert_eq!(parts("ConnectionSlot"), ["", "connection", "slot"]);
    assert_eq!(parts("MAX_ROWS"), ["", "max", "", "rows"]);
}
