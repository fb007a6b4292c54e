//! `roost dev`: builds the functions, serves them with embedded storage, and deploys them again whenever a source file
//! is saved. Sockets stay open. If a build fails, the live functions are unchanged.

mod own_sources;
mod secrets;
mod swap;
mod users;
mod watch;
mod welcome;

use std::path::Path;
use std::sync::Arc;

use anyhow::bail;
use tokio::sync::Mutex;

pub(crate) use secrets::{fill_secrets, use_known_secrets};

use crate::app::{self, Running, StartPolicy};
use crate::cli::print::print;
use crate::cli::{build, source};
use crate::config::Config;
use crate::ops::shutdown::Signals;
use crate::ops::supervisor::{Supervisor, TaskHealth};
use swap::Swap;

/// The defaults of `roost dev`: everything is within the source folder.
pub(crate) fn defaults(root: &Path) -> Vec<(&'static str, String)> {
    let within = |path: &str| root.join(path).display().to_string();
    vec![
        ("data_dir", within(".roost")),
        ("functions_dir", within("target/functions")),
        // No load balancer has to notice that the host stops.
        ("drain_delay_ms", "0".to_owned()),
    ]
}

/// Serves until a signal; `false`: the process was ended before the stop was complete.
pub(crate) async fn run(root: &Path, config: Config, alone: bool, signals: &mut Signals) -> anyhow::Result<bool> {
    let sources = swap::watch_sources(root)?;
    let running = tokio::select! {
        running = start(root, &config, alone) => running?,
        _ = signals.next() => return Ok(false),
    };
    users::create(&running.records).await?;
    print(&welcome::text(&config.auth, running.listen, running.admin_listen)?)?;
    let swap = Arc::new(Mutex::new(Swap::start(root, &config.functions_dir, running.functions.clone(), sources)?));
    let mut tasks = Supervisor::new(TaskHealth::of_process());
    tasks.spawn("rebuild", move || {
        let swap = swap.clone();
        async move { swap.lock().await.run().await }
    });
    let gracefully = running.wait(signals).await;
    tasks.shutdown().await;
    Ok(gracefully)
}

async fn start(root: &Path, config: &Config, alone: bool) -> anyhow::Result<Running> {
    if let Err(error) = build_all(root, &config.functions_dir, alone).await {
        if !has_components(&config.functions_dir) {
            bail!("{error:#}");
        }
        print(&format!(
            "{error:#}\nThe components of the last build are served; correct the source and save it to build again."
        ))?;
    }
    app::start_with(config.clone(), StartPolicy::development(own_sources::of(root))).await
}

/// Builds the functions of the source folder. Where that is not Roost's own, the functions that come with Roost are
/// built first, so that there are users, conversations and messages to try the others with.
async fn build_all(root: &Path, out: &Path, alone: bool) -> anyhow::Result<()> {
    if !alone && !source::is_checkout(root) {
        build::command::built_in(root, out).await?;
    }
    build::command::all(root, out).await.map(|_| ())
}

fn has_components(folder: &Path) -> bool {
    swap::components(folder).is_ok_and(|paths| !paths.is_empty())
}
