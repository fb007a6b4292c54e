//! The Lua scripts, which are called by their digests. Every new connection loads them, and they are loaded again when
//! a server does not have them any more.

use std::sync::LazyLock;

use redis::{Cmd, Script, cmd};

/// A script and its digest, by which Redis calls it.
pub(super) struct LuaScript {
    pub(super) text: &'static str,
    digest: String,
}

impl LuaScript {
    fn new(text: &'static str) -> Self {
        Self { text, digest: Script::new(text).get_hash().to_owned() }
    }

    /// A call with these keys. The caller adds the arguments.
    pub(super) fn call<'k>(&self, keys: impl ExactSizeIterator<Item = &'k String>) -> Cmd {
        let mut call = cmd("EVALSHA");
        call.arg(&self.digest).arg(keys.len());
        keys.for_each(|key| {
            call.arg(key);
        });
        call
    }
}

/// All scripts that the host sends.
pub(super) static SCRIPTS: LazyLock<[LuaScript; 4]> = LazyLock::new(|| {
    [
        LuaScript::new(concat!(
            include_str!("commit.lua"),
            include_str!("commit_plans.lua"),
            include_str!("commit_ledger.lua"),
            include_str!("commit_events.lua"),
            include_str!("commit_run.lua")
        )),
        LuaScript::new(include_str!("indexed_counters.lua")),
        LuaScript::new(include_str!("replace_deployments.lua")),
        LuaScript::new(include_str!("app_total.lua")),
    ]
});

/// The script that carries out a transaction.
pub(super) fn commit() -> &'static LuaScript {
    let [commit, ..] = &*SCRIPTS;
    commit
}

/// The script that reads the counters that a hash names.
pub(super) fn indexed_counters() -> &'static LuaScript {
    let [_, indexed_counters, ..] = &*SCRIPTS;
    indexed_counters
}

/// The script that replaces the desired state of the deployments.
pub(super) fn replace_deployments() -> &'static LuaScript {
    let [_, _, replace_deployments, _] = &*SCRIPTS;
    replace_deployments
}

/// The script that adds up what the items of a function take in all slots of a Cluster.
pub(super) fn app_total() -> &'static LuaScript {
    let [.., app_total] = &*SCRIPTS;
    app_total
}
