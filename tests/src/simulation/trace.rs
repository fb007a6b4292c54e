//! The trace of a run: always as a hash, so that two runs can be compared, and as text only for a replay, because a
//! failing seed is run again with text.

use std::collections::VecDeque;

const LINES_MAX: usize = 300;

/// The trace of one run.
#[derive(Debug)]
pub(crate) struct Trace {
    hash: u64,
    lines: Option<VecDeque<String>>,
}

impl Trace {
    /// An empty trace, with or without text.
    pub(crate) fn new(text: bool) -> Self {
        Self { hash: 0xCBF2_9CE4_8422_2325, lines: text.then(VecDeque::new) }
    }

    /// Adds an entry; the text is formatted only if the trace keeps text.
    pub(crate) fn note(&mut self, now_ms: u64, tag: &str, numbers: [u64; 2], text: impl FnOnce() -> String) {
        for byte in tag.bytes() {
            self.mix(u64::from(byte));
        }
        self.mix(now_ms);
        self.mix(numbers[0]);
        self.mix(numbers[1]);
        if let Some(lines) = &mut self.lines {
            if lines.len() == LINES_MAX {
                lines.pop_front();
            }
            lines.push_back(format!("{:>9.3} s  {tag:<10} {}", now_ms as f64 / 1_000.0, text()));
        }
    }

    /// A hash that is equal for equal traces.
    pub(crate) const fn hash(&self) -> u64 {
        self.hash
    }

    /// The last lines of the text, oldest first.
    pub(crate) fn lines(&self) -> Vec<String> {
        self.lines.iter().flatten().cloned().collect()
    }

    const fn mix(&mut self, word: u64) {
        self.hash = (self.hash ^ word).wrapping_mul(0x0000_0100_0000_01B3);
        self.hash ^= self.hash >> 29;
    }
}
