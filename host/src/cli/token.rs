//! `roost token`: a user's token on standard output, and nothing else there.

use std::process::ExitCode;

use super::args::TokenArgs;
use crate::cli::print::print;
use crate::server::auth::issuer;

pub(super) fn run(args: &TokenArgs) -> anyhow::Result<ExitCode> {
    let config = super::of_running(&args.settings)?;
    print(&issuer::sign(&config.auth, args.user, args.ttl)?)?;
    Ok(ExitCode::SUCCESS)
}
