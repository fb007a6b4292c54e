//! `roost build`, and building for `roost dev`: cargo's and the host's words are shown as they come.

use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use anyhow::bail;

use crate::cli::args::BuildArgs;
use crate::cli::build::{self, BuildError, Built, Order};
use crate::cli::source;

pub(crate) async fn run(args: &BuildArgs) -> anyhow::Result<ExitCode> {
    let source = source::find(args.source.as_deref())?;
    let out = args.out.clone().unwrap_or_else(|| source.join("target/functions"));
    visibly(&Order { source, out, packages: args.functions.clone() }).await?;
    Ok(ExitCode::SUCCESS)
}

/// Builds every function of a source folder.
pub(crate) async fn all(source: &Path, out: &Path) -> anyhow::Result<Vec<Built>> {
    visibly(&Order { source: source.to_owned(), out: out.to_owned(), packages: Vec::new() }).await
}

async fn visibly(order: &Order) -> anyhow::Result<Vec<Built>> {
    // Standard error: whoever reads standard output wants an answer, not progress. One that is closed shows nothing.
    let show = |line: &str| drop(writeln!(std::io::stderr(), "{line}"));
    match build::build(order, show).await {
        Ok(built) => Ok(built),
        // Its words were shown already.
        Err(BuildError::Compiler { .. }) => bail!("the functions do not compile; the compiler's message is above"),
        Err(error) => Err(error.into()),
    }
}
