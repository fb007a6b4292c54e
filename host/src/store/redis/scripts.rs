//! The Lua scripts, called by digest: every connection loads them, and a server that forgets them gets them again.

use std::sync::LazyLock;

use redis::{Cmd, Script, cmd};

/// A script and what Redis calls it.
pub(super) struct Loaded {
    pub(super) text: &'static str,
    digest: String,
}

impl Loaded {
    fn new(text: &'static str) -> Self {
        Self { text, digest: Script::new(text).get_hash().to_owned() }
    }

    /// A call with these keys, to which arguments are added.
    pub(super) fn call<'k>(&self, keys: impl ExactSizeIterator<Item = &'k String>) -> Cmd {
        let mut call = cmd("EVALSHA");
        call.arg(&self.digest).arg(keys.len());
        keys.for_each(|key| {
            call.arg(key);
        });
        call
    }
}

/// All scripts.
pub(super) static SCRIPTS: LazyLock<[Loaded; 2]> =
    LazyLock::new(|| [Loaded::new(include_str!("commit.lua")), Loaded::new(include_str!("indexed_counters.lua"))]);

/// Carries out a transaction.
pub(super) fn commit() -> &'static Loaded {
    let [commit, _] = &*SCRIPTS;
    commit
}

/// Reads counters that a hash names.
pub(super) fn indexed() -> &'static Loaded {
    let [_, indexed] = &*SCRIPTS;
    indexed
}
