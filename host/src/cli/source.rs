//! Finds the folder with the sources of functions: the named one, or the nearest one from the current directory upward.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};

/// The entries by which a source folder is recognised.
const MARKS: [&str; 3] = ["Cargo.toml", "functions", "wit"];

pub(super) fn find(named: Option<&Path>) -> anyhow::Result<PathBuf> {
    if let Some(folder) = named {
        let folder = folder.canonicalize().with_context(|| format!("--source {}", folder.display()))?;
        if !is_source(&folder) {
            bail!("--source {}: has no function sources; it must contain {}", folder.display(), MARKS.join(", "));
        }
        return Ok(folder);
    }
    let here = std::env::current_dir()?;
    match here.ancestors().find(|folder| is_source(folder)) {
        Some(folder) => Ok(folder.to_owned()),
        None => {
            bail!("no function sources in {} or a folder above it; name their folder with --source", here.display())
        }
    }
}

fn is_source(folder: &Path) -> bool {
    MARKS.iter().all(|mark| folder.join(mark).exists())
}
