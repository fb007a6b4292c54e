//! Implements `telemetry`: log lines and counts within bounds. Nothing here makes a call fail.

use super::super::bindings::telemetry::{self, Level};
use super::super::call_log::{LineLevel, cut};
use super::super::quota::Resource;
use super::super::state::InstanceState;

/// Log lines of one call; further ones are dropped and counted.
const LINES_MAX: u32 = 100;
const MESSAGE_BYTES_MAX: usize = 8 * 1024;
const FIELDS_MAX: usize = 16;
const FIELD_BYTES_MAX: usize = 1024;

/// Writes one line to the log of the host. A macro, because `tracing` needs the level as a constant.
macro_rules! log_line {
    ($level:ident, $state:ident, $message:ident, $fields:ident) => {
        tracing::event!(
            target: "roost::function",
            tracing::Level::$level,
            function = %$state.identity.name,
            revision = %$state.identity.revision,
            trace = %$state.trace,
            fields = %$fields,
            "{}",
            $message
        )
    };
}

impl InstanceState {
    /// The fields of a line that the call may still write; `None` if the line is one too many, or too long.
    fn admit_line(&mut self, message: &mut String, fields: Vec<(String, String)>) -> Option<String> {
        self.lines = self.lines.saturating_add(1);
        if self.lines > LINES_MAX {
            return None;
        }
        escape_controls(message);
        let fields = join(fields);
        self.take(Resource::LogBytes, message.len() + fields.len()).ok().map(|()| fields)
    }

    /// The last text that the function logged as an error, on one line.
    pub(in crate::runtime) fn take_last_error(&mut self) -> Option<String> {
        self.last_error.take().map(|mut text| {
            escape_controls(&mut text);
            text
        })
    }

    /// Writes a line to the log of the host, and keeps it in the log of the function.
    fn write_line(&self, level: Level, message: &str, fields: &str) {
        let (now, kept) = (self.identity.world.store.now(), (line_level(level), message, fields));
        self.identity.recorder.line(now, std::sync::Arc::clone(&self.trace), kept);
        match level {
            Level::Debug => log_line!(DEBUG, self, message, fields),
            Level::Info => log_line!(INFO, self, message, fields),
            Level::Warn => log_line!(WARN, self, message, fields),
            Level::Error => log_line!(ERROR, self, message, fields),
        }
    }
}

impl telemetry::Host for InstanceState {
    fn log(&mut self, level: Level, mut message: String, fields: Vec<(String, String)>) -> wasmtime::Result<()> {
        cut(&mut message, MESSAGE_BYTES_MAX);
        match self.admit_line(&mut message, fields) {
            Some(fields) => self.write_line(level, &message, &fields),
            None => self.identity.counters.count_dropped_line(),
        }
        if matches!(level, Level::Error) {
            // Kept even beyond the bounds on lines, because the text of a panic is always the last line.
            self.last_error = Some(message);
        }
        Ok(())
    }

    fn count(&mut self, name: String, labels: Vec<(String, String)>, amount: u64) -> wasmtime::Result<()> {
        self.identity.counters.count(name, labels, amount);
        Ok(())
    }
}

fn join(fields: Vec<(String, String)>) -> String {
    let mut joined = String::new();
    for (name, mut value) in fields.into_iter().take(FIELDS_MAX) {
        cut(&mut value, FIELD_BYTES_MAX);
        if !joined.is_empty() {
            joined.push(' ');
        }
        joined.extend(name.chars().filter(|c| !c.is_control()).take(64));
        joined.push('=');
        joined.push_str(&format!("{value:?}"));
    }
    joined
}

/// Escapes control characters, so that a message stays on one line of the log.
fn escape_controls(text: &mut String) {
    if !text.contains(char::is_control) {
        return;
    }
    let mut line = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() {
            line.extend(c.escape_default());
        } else {
            line.push(c);
        }
    }
    *text = line;
}

const fn line_level(level: Level) -> LineLevel {
    match level {
        Level::Debug => LineLevel::Debug,
        Level::Info => LineLevel::Info,
        Level::Warn => LineLevel::Warn,
        Level::Error => LineLevel::Error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_text_is_cut_between_characters() {
        let mut text = "é".repeat(10);
        cut(&mut text, 5);
        assert_eq!(text, "éé");
    }

    #[test]
    fn a_message_is_kept_on_one_line() {
        let mut text = "a\nb é".to_owned();
        escape_controls(&mut text);
        assert_eq!(text, "a\\nb é");
    }

    #[test]
    fn fields_cannot_begin_a_new_line() {
        let fields = vec![("a\nb".to_owned(), "c\nd".to_owned()), ("e".into(), "f".into())];
        assert_eq!(join(fields), "ab=\"c\\nd\" e=\"f\"");
    }
}
