//! The file of a scenario: what the world contains, and cases of steps with what each must lead to. `docs/testing.md`
//! describes the format.
//!
//! Everything that can be known without running a step is checked here, and every error names its line.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;
use toml::Spanned;

use crate::cli::args::parse_span;

/// The largest file.
const FILE_BYTES_MAX: usize = 1 << 20;
/// The most users, and the most conversations.
const NAMES_MAX: usize = 100;
/// The most cases, and the most steps of a case.
const STEPS_MAX: usize = 1_000;
/// Names with a meaning of their own in texts of a scenario.
pub(super) const RESERVED: [&str; 8] = ["any", "null", "now", "number", "rest", "text", "time", "uuid"];

/// The scenario of a function, as it is written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ScenarioFile {
    /// What the world contains when a case begins.
    #[serde(default)]
    pub(super) given: Given,
    /// The cases, in the order in which they run.
    #[serde(rename = "case")]
    pub(super) cases: Vec<Spanned<ScenarioCase>>,
    /// The text of the file, to find the lines of steps in.
    #[serde(skip)]
    text: String,
    #[serde(skip)]
    pub(super) path: PathBuf,
}

/// What the world contains when a case begins.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Given {
    /// The time, in RFC 3339.
    pub(super) start: Option<String>,
    /// The names of the users.
    pub(super) users: Vec<String>,
    /// Other functions that serve beside the one under test.
    pub(super) functions: Vec<String>,
    /// Pairs of users who are each other's contacts.
    pub(super) contacts: Vec<[String; 2]>,
    /// The members of each conversation; the first is its creator.
    pub(super) conversations: BTreeMap<String, Vec<String>>,
}

/// Steps that begin with a world of their own.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ScenarioCase {
    pub(super) name: String,
    #[serde(rename = "step")]
    pub(super) steps: Vec<Spanned<CaseStep>>,
}

/// One step: at most one of `request`, `frame`, `hook`, `tick` and `wait`, and what it must lead to.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct CaseStep {
    /// Who makes the request: a user's name, `service`, `service for <name>` or `nobody`.
    pub(super) r#as: Option<String>,
    /// The method and the path of an HTTP request.
    pub(super) request: Option<String>,
    pub(super) body: Option<Value>,
    /// The type of a socket frame.
    pub(super) frame: Option<String>,
    pub(super) payload: Option<Value>,
    /// `connected`, `heartbeat`, `disconnected` or `sync`.
    pub(super) hook: Option<String>,
    /// The connection of a frame or a hook.
    pub(super) connection: Option<String>,
    /// The conversations in which the client missed events, for `sync`.
    pub(super) conversations: Option<Vec<String>>,
    /// The name of a schedule.
    pub(super) tick: Option<String>,
    /// The shard of the schedule; without one, all.
    pub(super) shard: Option<u32>,
    /// A span, such as `90s`.
    pub(super) wait: Option<String>,
    /// The expected HTTP status.
    pub(super) status: Option<u16>,
    /// The expected code of a refusal.
    pub(super) code: Option<String>,
    /// The expected reply.
    pub(super) reply: Option<Value>,
    /// All events that the step publishes to the scenario's users.
    pub(super) events: Option<Vec<ExpectedEvent>>,
    /// Keys as they must be after the step.
    pub(super) state: Vec<ExpectedKey>,
    /// Documents as they must be after the step.
    pub(super) documents: Vec<ExpectedDocument>,
    /// Names for parts of the reply, which later steps use: name -> JSON pointer.
    pub(super) keep: BTreeMap<String, String>,
}

/// An event to one user or to several.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ExpectedEvent {
    pub(super) to: OneOrMore,
    pub(super) r#type: String,
    pub(super) payload: Option<Value>,
    pub(super) durable: Option<bool>,
}

/// One text or a list of them.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(super) enum OneOrMore {
    One(String),
    More(Vec<String>),
}

/// A key, with one of the members from `missing` on.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct ExpectedKey {
    /// `app` if it is left out.
    pub(super) space: Option<String>,
    /// `user <name>`, `conversation <name>` or `shard <number>`.
    pub(super) owner: String,
    pub(super) item: Option<String>,
    pub(super) missing: bool,
    /// All fields of a hash.
    pub(super) fields: Option<Value>,
    pub(super) counter: Option<i64>,
    /// Bytes in UTF-8.
    pub(super) text: Option<String>,
    /// All members of an ordered set with their scores.
    pub(super) members: Option<Value>,
}

/// A document of the function.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct ExpectedDocument {
    pub(super) owner: String,
    pub(super) name: String,
    pub(super) missing: bool,
    pub(super) json: Option<Value>,
    pub(super) version: Option<u64>,
}

/// Why a scenario cannot be run.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {problem}")]
pub(crate) struct ScenarioError {
    /// The file, and the line if it is known.
    pub(crate) place: String,
    /// What is wrong, what is allowed and what to do next.
    pub(crate) problem: String,
}

impl ScenarioFile {
    /// Reads a file and checks it.
    pub(crate) fn read(path: &Path) -> Result<Self, ScenarioError> {
        let text = std::fs::read_to_string(path).map_err(|error| ScenarioError {
            place: path.display().to_string(),
            problem: format!("cannot be read: {error}"),
        })?;
        Self::parse(path, text)
    }

    /// Parses the text of a file and checks it.
    pub(super) fn parse(path: &Path, text: String) -> Result<Self, ScenarioError> {
        let at = |place: String, problem: String| ScenarioError { place, problem };
        if text.len() > FILE_BYTES_MAX {
            let problem = format!("has {} bytes, at most {FILE_BYTES_MAX} are allowed; divide it", text.len());
            return Err(at(path.display().to_string(), problem));
        }
        let mut file: Self = toml::from_str(&text).map_err(|error| {
            let line = error.span().map(|span| format!(":{}", line_of(&text, span.start))).unwrap_or_default();
            at(format!("{}{line}", path.display()), error.message().trim_end().replace('\n', ", "))
        })?;
        file.text = text;
        file.path = path.to_owned();
        file.check()?;
        Ok(file)
    }

    /// The line of a case or a step.
    pub(super) fn line(&self, span: Range<usize>) -> usize {
        line_of(&self.text, span.start)
    }

    /// An error at a line.
    pub(super) fn error(&self, span: Range<usize>, problem: impl Into<String>) -> ScenarioError {
        let place = format!("{}:{}", self.path.display(), self.line(span));
        ScenarioError { place, problem: problem.into() }
    }

    fn check(&self) -> Result<(), ScenarioError> {
        let error = |problem| ScenarioError { place: self.path.display().to_string(), problem };
        self.given.check().map_err(error)?;
        if self.cases.is_empty() || self.cases.len() > STEPS_MAX {
            return Err(error(format!("has {} cases, 1 to {STEPS_MAX} are allowed", self.cases.len())));
        }
        let mut names = BTreeSet::new();
        for case in &self.cases {
            let (span, case) = (case.span(), case.get_ref());
            if !names.insert(&case.name) {
                return Err(self.error(span, format!("there are two cases {:?}; name them differently", case.name)));
            }
            if case.steps.is_empty() || case.steps.len() > STEPS_MAX {
                let steps = case.steps.len();
                return Err(self.error(span, format!("the case has {steps} steps, 1 to {STEPS_MAX} are allowed")));
            }
            for step in &case.steps {
                step.get_ref().check().map_err(|problem| self.error(step.span(), problem))?;
            }
        }
        Ok(())
    }
}

impl Given {
    fn check(&self) -> Result<(), String> {
        if self.users.len() > NAMES_MAX || self.conversations.len() > NAMES_MAX {
            return Err(format!("given: at most {NAMES_MAX} users and {NAMES_MAX} conversations are allowed"));
        }
        let mut names = BTreeSet::new();
        for name in self.users.iter().chain(self.conversations.keys()) {
            check_name(name).map_err(|problem| format!("given: {problem}"))?;
            if !names.insert(name) {
                return Err(format!(
                    "given: the name {name:?} is there twice; users and conversations share their names"
                ));
            }
        }
        let known = |name: &String| self.users.contains(name);
        let all = self.conversations.values().flatten().chain(self.contacts.iter().flatten());
        match all.into_iter().find(|name| !known(name)) {
            Some(name) => Err(format!("given: there is no user {name:?}; add the name to `users`")),
            None => match self.conversations.iter().find(|(_, members)| members.is_empty()) {
                Some((name, _)) => Err(format!("given: the conversation {name:?} needs a member")),
                None => Ok(()),
            },
        }
    }
}

impl CaseStep {
    /// The span of a step that waits.
    pub(super) fn span(&self) -> Option<Result<Duration, String>> {
        self.wait.as_deref().map(span)
    }

    fn check(&self) -> Result<(), String> {
        let actions = [
            ("request", self.request.is_some()),
            ("frame", self.frame.is_some()),
            ("hook", self.hook.is_some()),
            ("tick", self.tick.is_some()),
            ("wait", self.wait.is_some()),
        ];
        let named: Vec<&str> = actions.iter().filter(|(_, is_there)| *is_there).map(|(name, _)| *name).collect();
        let action = match named[..] {
            [] => "",
            [action] => action,
            _ => {
                return Err(format!("a step does one thing, and this one has {}; make two steps", named.join(" and ")));
            }
        };
        for (member, is_there, actions) in self.members() {
            if is_there && !actions.contains(&action) {
                return Err(format!("`{member}` belongs to a step with {}", listed(actions)));
            }
        }
        let needs_caller = ["request", "frame", "hook"].contains(&action);
        if needs_caller && self.r#as.is_none() {
            return Err(format!("a step with `{action}` needs `as`: a user's name, `service` or `nobody`"));
        }
        let expects = !self.state.is_empty() || !self.documents.is_empty() || self.events.is_some();
        if action.is_empty() && !expects {
            return Err("the step does nothing and expects nothing".to_owned());
        }
        self.check_values()
    }

    /// The members that belong to certain actions, whether they are there, and those actions.
    fn members(&self) -> [(&'static str, bool, &'static [&'static str]); 10] {
        const ANSWERED: &[&str] = &["request", "frame", "hook", "tick"];
        [
            ("as", self.r#as.is_some(), &["request", "frame", "hook"]),
            ("body", self.body.is_some(), &["request"]),
            ("payload", self.payload.is_some(), &["frame"]),
            ("connection", self.connection.is_some(), &["frame", "hook"]),
            ("conversations", self.conversations.is_some(), &["hook"]),
            ("shard", self.shard.is_some(), &["tick"]),
            ("status", self.status.is_some(), &["request"]),
            ("code", self.code.is_some(), ANSWERED),
            ("reply", self.reply.is_some(), ANSWERED),
            ("keep", !self.keep.is_empty(), ANSWERED),
        ]
    }

    fn check_values(&self) -> Result<(), String> {
        if let Some(request) = &self.request {
            let has_path = |(method, path): (&str, &str)| !method.is_empty() && path.starts_with('/');
            if !request.split_once(' ').is_some_and(has_path) {
                return Err(format!("request {request:?}: write a method and a path, such as `GET /v1/unread`"));
            }
        }
        if let Some(hook) = self.hook.as_deref() {
            const HOOKS: [&str; 4] = ["connected", "disconnected", "heartbeat", "sync"];
            if !HOOKS.contains(&hook) {
                return Err(format!("there is no hook {hook:?}; the hooks are {}", HOOKS.join(", ")));
            }
        }
        self.span().transpose()?;
        self.keep.keys().try_for_each(|name| check_name(name).map_err(|problem| format!("keep: {problem}")))?;
        for key in &self.state {
            let kinds =
                [key.missing, key.fields.is_some(), key.counter.is_some(), key.text.is_some(), key.members.is_some()];
            if kinds.iter().filter(|is_there| **is_there).count() != 1 {
                return Err(
                    "state: a key needs one of `missing = true`, `fields`, `counter`, `text` and `members`".to_owned()
                );
            }
        }
        for document in &self.documents {
            if document.missing == (document.json.is_some() || document.version.is_some()) {
                return Err("documents: a document needs `missing = true`, or `json` or `version` or both".to_owned());
            }
        }
        Ok(())
    }
}

/// A span with its unit. `ms` is allowed here too.
fn span(text: &str) -> Result<Duration, String> {
    let milliseconds = text.strip_suffix("ms").and_then(|number| number.parse().ok()).map(Duration::from_millis);
    match milliseconds {
        Some(span) => Ok(span),
        None => parse_span(text)
            .map_err(|_| format!("wait {text:?}: write a whole number and ms, s, m, h or d, such as `90s` or `30d`")),
    }
}

fn check_name(name: &str) -> Result<(), String> {
    let is_word = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'_' | b'-');
    let begins = name.bytes().next().is_some_and(|first| first.is_ascii_lowercase());
    if !begins || !name.bytes().all(is_word) {
        return Err(format!(
            "{name:?} is no name; write the letters a to z, digits, '_' and '-', and begin with a letter"
        ));
    }
    if RESERVED.contains(&name) || ["service", "nobody"].contains(&name) {
        return Err(format!("the name {name:?} has a meaning of its own; choose another one"));
    }
    Ok(())
}

fn listed(actions: &[&str]) -> String {
    let quoted: Vec<String> = actions.iter().map(|action| format!("`{action}`")).collect();
    match quoted.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, others)) => format!("{} or {last}", others.join(", ")),
        None => String::new(),
    }
}

fn line_of(text: &str, offset: usize) -> usize {
    let before = text.as_bytes().get(..offset).unwrap_or(text.as_bytes());
    before.iter().filter(|byte| **byte == b'\n').count() + 1
}
