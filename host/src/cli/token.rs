//! `roost token`: a user's token on standard output, and nothing else there.

use std::process::ExitCode;

use super::args::TokenArgs;
use crate::cli::print::say;
use crate::server::auth::issuer;

pub(super) fn run(args: &TokenArgs) -> anyhow::Result<ExitCode> {
    let config = super::of_running(&args.settings)?;
    say(&token::sign(&config.auth, args.user, args.ttl)?)?;
    Ok(ExitCode::SUCCESS)
}
