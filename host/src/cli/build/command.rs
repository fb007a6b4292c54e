//! `roost build`, and the builds of `roost dev` and `roost test`: progress is shown on standard error while cargo
//! works.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::bail;

use crate::cli::args::BuildArgs;
use crate::cli::build::{self, BuildError, BuildRequest, Built};
use crate::cli::source;

pub(crate) async fn run(args: &BuildArgs) -> anyhow::Result<ExitCode> {
    let source = source::find(args.source.as_deref())?;
    let out = args.out.clone().unwrap_or_else(|| source.join("target/functions"));
    build_visibly(&request(&source, &out, args.functions.clone())).await?;
    Ok(ExitCode::SUCCESS)
}

/// Builds every function of a source folder.
pub(crate) async fn all(source: &Path, out: &Path) -> anyhow::Result<Vec<Built>> {
    build_visibly(&request(source, out, Vec::new())).await
}

/// Builds the functions that come with Roost, from the sources that the sdk of this source folder belongs to.
pub(crate) async fn built_in(source: &Path, out: &Path) -> anyhow::Result<Vec<Built>> {
    let target_folder = build::functions(source).await?.target_folder;
    match build::checkout_of_sdk(source).await? {
        Some(checkout) => build_visibly(&beside(&checkout, out, (Vec::new(), target_folder))).await,
        None => bail!("{} does not depend on roost-function, the sdk of Roost's functions", source.display()),
    }
}

/// Builds functions by their names: those of the source folder, and others from the sources that its sdk belongs to.
pub(crate) async fn named(source: &Path, out: &Path, names: &[String]) -> anyhow::Result<Vec<Built>> {
    let functions = build::functions(source).await?;
    let is_own = |name: &&String| functions.crates.iter().any(|known| known.name == **name);
    let (own, others): (Vec<String>, Vec<String>) = names.iter().cloned().partition(|name| is_own(&name));
    let checkout = if others.is_empty() { None } else { build::checkout_of_sdk(source).await? };
    let Some(checkout) = checkout.filter(|checkout| !source::same_folder(checkout, source)) else {
        // Cargo names the functions that there are.
        return build_visibly(&request(source, out, names.to_vec())).await;
    };
    let mut built = build_visibly(&beside(&checkout, out, (others, functions.target_folder))).await?;
    if !own.is_empty() {
        built.extend(build_visibly(&request(source, out, own)).await?);
    }
    Ok(built)
}

fn request(source: &Path, out: &Path, packages: Vec<String>) -> BuildRequest {
    BuildRequest { source: source.to_owned(), out: out.to_owned(), packages, target_folder: None }
}

/// A build of functions from Roost's own sources for another source folder. They are compiled where its own functions
/// are, because the sources may be in a folder that belongs to cargo.
fn beside(checkout: &Path, out: &Path, (packages, target_folder): (Vec<String>, PathBuf)) -> BuildRequest {
    BuildRequest { target_folder: Some(target_folder), ..request(checkout, out, packages) }
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
