//! `roost dev`: builds the functions, serves them with everything embedded, and swaps in whatever is saved while
//! sockets stay up. A build that fails leaves what serves as it is.

mod people;
mod secrets;
mod swap;
mod watch;
mod welcome;

use std::path::Path;

use anyhow::bail;

pub use secrets::{fill_secrets, use_known_secrets};

use crate::app::{self, OnDeployFailure, Running};
use crate::cli::build;
use crate::cli::print::print;
use crate::config::Config;
use crate::ops::shutdown::Signals;
use swap::Swap;

/// What `roost dev` takes where nobody says anything: everything lies in the source folder.
pub fn defaults(root: &Path) -> Vec<(&'static str, String)> {
    let within = |path: &str| root.join(path).display().to_string();
    vec![("data_dir", within(".roost")), ("functions_dir", within("target/functions"))]
}

/// Serves until a signal; `false`: ended before everything was done.
pub async fn run(root: &Path, config: Config, signals: &mut Signals) -> anyhow::Result<bool> {
    let running = tokio::select! {
        running = start(root, &config) => running?,
        _ = signals.next() => return Ok(false),
    };
    people::introduce(&running.records).await?;
    print(&welcome::text(&config.auth, running.listen, running.admin_listen)?)?;
    let swap = Swap::start(root, &config.functions_dir, running.functions.clone())?;
    let swapping = tokio::spawn(swap.run());
    let gracefully = running.wait(signals).await;
    swapping.abort();
    Ok(gracefully)
}

async fn start(root: &Path, config: &Config) -> anyhow::Result<Running> {
    if let Err(error) = build::command::all(root, &config.functions_dir).await {
        if !has_components(&config.functions_dir) {
            bail!("{error:#}");
        }
        print(&format!("{error:#}\nServing what was built before; save a mended file to build again."))?;
    }
    app::start_with(config.clone(), OnDeployFailure::GoOn).await
}

fn has_components(folder: &Path) -> bool {
    swap::components(folder).is_ok_and(|paths| !paths.is_empty())
}
