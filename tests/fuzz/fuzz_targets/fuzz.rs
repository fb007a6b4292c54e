//! The libFuzzer binary of all targets. The variable `ROOST_FUZZ_TARGET` chooses the target, so that the host is linked
//! once and not once for each target.
#![no_main]
#![allow(clippy::expect_used, clippy::panic, reason = "a wrong name must end the run")]

use std::sync::OnceLock;

use libfuzzer_sys::fuzz_target;
use roost_tests::fuzz::{TARGETS, Target, target};

fn chosen() -> Target {
    static CHOSEN: OnceLock<Target> = OnceLock::new();
    *CHOSEN.get_or_init(|| {
        let name = std::env::var("ROOST_FUZZ_TARGET").unwrap_or_default();
        target(&name).unwrap_or_else(|| {
            let names: Vec<_> = TARGETS.iter().map(|target| target.name).collect();
            panic!("ROOST_FUZZ_TARGET is `{name}`; it must be one of: {}", names.join(", "))
        })
    })
}

fuzz_target!(|input: &[u8]| (chosen().run)(input));
