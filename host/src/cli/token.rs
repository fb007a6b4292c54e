//! `roost token`: a user's token on standard output, and nothing else there.

use std::process::ExitCode;

use super::args::TokenArgs;
use crate::token;

pub(super) fn run(args: &TokenArgs) -> anyhow::Result<ExitCode> {
    let config = super::of_running(&args.settings)?;
    super::say(&token::sign(&config.auth, args.user, args.ttl)?)?;
    Ok(ExitCode::SUCCESS)
}
