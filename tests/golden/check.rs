//! Compares text with the golden files in this folder. The crates whose tests write such text include this file as a
//! module.
//!
//! `UPDATE_GOLDEN=1 cargo test …` writes the files anew: read the difference before you commit it.

use std::fmt::{Display, Write as _};
use std::path::{Path, PathBuf};

/// Fails unless `tests/golden/<name>` holds exactly this text.
#[track_caller]
pub(crate) fn check(name: &str, found: &str) {
    let path = folder().join(name);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, found).unwrap();
        return;
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    let differs = expected.lines().zip(found.lines()).position(|(expected, found)| expected != found);
    assert!(
        expected == found,
        "{} differs from what the code says (first at line {:?}); it should now be:\n{found}",
        path.display(),
        differs.map(|line| line + 1)
    );
}

/// `tests/golden` of the workspace that holds the crate under test.
fn folder() -> PathBuf {
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors();
    crates.map(|folder| folder.join("tests/golden")).find(|golden| golden.is_dir()).unwrap()
}

/// The messages of one area that leave the process, to be read from top to bottom: each with the situation that leads
/// to it. A good message says what was wrong, what is allowed, and what to do next.
pub(crate) struct Messages(String);

impl Messages {
    /// An empty list under this title.
    pub(crate) fn new(title: &str) -> Self {
        Self(format!("{title}\n"))
    }

    /// Begins a group of messages.
    pub(crate) fn group(&mut self, title: &str) {
        let _ = write!(self.0, "\n# {title}\n");
    }

    /// Adds a message and the situation in which it is sent or printed.
    pub(crate) fn add(&mut self, situation: &str, message: impl Display) {
        let _ = write!(self.0, "\n{situation}\n");
        for line in message.to_string().lines() {
            let _ = writeln!(self.0, "    {line}");
        }
    }

    /// Compares the list with `tests/golden/messages/<area>.txt`.
    #[track_caller]
    pub(crate) fn check(&self, area: &str) {
        check(&format!("messages/{area}.txt"), &self.0);
    }
}
