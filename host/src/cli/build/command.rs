//! `roost build`, and builds of `roost dev`: progress is shown on standard error while cargo works.

use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use anyhow::bail;

use crate::cli::args::BuildArgs;
use crate::cli::build::{self, BuildError, BuildRequest, Built};
use crate::cli::source;

pub(crate) async fn run(args: &BuildArgs) -> anyhow::Result<ExitCode> {
    let source = source::find(args.source.as_deref())?;
    let out = args.out.clone().unwrap_or_else(|| source.join("target/functions"));
    build_visibly(&BuildRequest { source, out, packages: args.functions.clone() }).await?;
    Ok(ExitCode::SUCCESS)
}

/// Builds every function of a source folder.
pub(crate) async fn all(source: &Path, out: &Path) -> anyhow::Result<Vec<Built>> {
    build_visibly(&BuildRequest { source: source.to_owned(), out: out.to_owned(), packages: Vec::new() }).await
}

async fn build_visibly(request: &BuildRequest) -> anyhow::Result<Vec<Built>> {
    // A closed standard error shows nothing.
    let show = |line: &str| drop(writeln!(std::io::stderr(), "{line}"));
    match build::build(request, show).await {
        Ok(built) => Ok(built),
        // The message of the compiler was shown already.
        Err(BuildError::Compiler { .. }) => bail!("the functions do not compile; the compiler's message is above"),
        Err(error) => Err(error.into()),
    }
}
