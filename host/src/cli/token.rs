//! `roost token`: prints the token of a user on standard output, and nothing else.

use std::process::ExitCode;

use super::args::TokenArgs;
use super::print::print;
use super::running_host;
use crate::server::auth::issuer;

pub(super) fn run(args: &TokenArgs) -> anyhow::Result<ExitCode> {
    let config = running_host::config(&args.settings)?;
    print(&issuer::sign(&config.auth, args.user, args.ttl)?)?;
    Ok(ExitCode::SUCCESS)
}
