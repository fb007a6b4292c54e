//! The command line: runs a command and turns its result into an exit code. `args` declares the commands.
//!
//! Exit codes: 0 success, 1 failure, 2 an error in the command line or the configuration, 130 ended by a second signal.
//! `verify`, `repair` and `test` have exit codes of their own.

pub(crate) mod args;
pub(crate) mod build;
mod check_config;
mod deploy;
pub(crate) mod dev;
mod functions;
mod logs;
#[cfg(test)]
mod message_tests;
pub(crate) mod new;
mod pinned_certificate;
mod print;
mod running_host;
pub(crate) mod scenario;
mod signing;
mod source;
mod token;
mod verify;

use std::io::Write;
use std::process::ExitCode;

use clap::Parser;

pub use args::Cli;
use args::{Command, DevArgs, SettingArgs};

use crate::config::{ConfigErrors, Sources};
use crate::ops::otlp::SpanExport;
use crate::ops::shutdown::Signals;
use crate::{app, ops::log};

const FAILED: u8 = 1;
const WRONG_USE: u8 = 2;
const ENDED: u8 = 130;

/// Runs the command of this process.
pub async fn run() -> ExitCode {
    match Cli::parse().command.run().await {
        Ok(code) => code,
        Err(error) => {
            let wrong_use = error.downcast_ref::<ConfigErrors>().is_some();
            let _ = writeln!(std::io::stderr(), "roost: {error:#}");
            ExitCode::from(if wrong_use { WRONG_USE } else { FAILED })
        }
    }
}

impl Command {
    async fn run(self) -> anyhow::Result<ExitCode> {
        match self {
            Self::Dev(args) => develop(args).await,
            Self::Serve(args) => serve(&args).await,
            Self::Build(args) => build::command::run(&args).await,
            Self::New(args) => new::run(&args),
            Self::Test(args) => Ok(scenario::run(&args).await),
            Self::Keygen(args) => signing::keygen(&args),
            Self::Sign(args) => signing::sign(&args),
            Self::Token(args) => token::run(&args),
            Self::Functions(args) => functions::run(&args).await,
            Self::Logs(args) => logs::run(&args).await,
            Self::Deploy(args) => deploy::deploy(&args).await,
            Self::Rollback(args) => deploy::roll_back(&args).await,
            Self::Canary(args) => deploy::set_canary(&args).await,
            Self::Promote(args) => deploy::promote(&args).await,
            Self::Undeploy(args) => deploy::undeploy(&args).await,
            Self::Reload(args) => deploy::reload(&args).await,
            Self::Verify(args) => Ok(verify::run(&args, false).await),
            Self::Repair(args) => Ok(verify::run(&args, true).await),
            Self::CheckConfig(args) => check_config::run(&args).await,
        }
    }
}

async fn serve(args: &SettingArgs) -> anyhow::Result<ExitCode> {
    let mut sources = args.sources();
    sources.needs_keys = true;
    let config = sources.load()?;
    let spans = log::init(&config)?;
    // Before anything that takes time, so that a stop is graceful from the beginning.
    let mut signals = Signals::listen()?;
    let running = tokio::select! {
        running = app::start(config) => running?,
        _ = signals.next() => return Ok(ExitCode::from(ENDED)),
    };
    Ok(ended(running.wait(&mut signals).await, spans).await)
}

async fn develop(args: DevArgs) -> anyhow::Result<ExitCode> {
    let root = source::find(args.source.as_deref())?;
    let mut config = Sources { defaults: dev::defaults(&root), ..args.settings.sources() }.load()?;
    let spans = log::init(&config)?;
    dev::fill_secrets(&mut config)?;
    let mut signals = Signals::listen()?;
    Ok(ended(dev::run(&root, config, args.alone, &mut signals).await?, spans).await)
}

/// The exit code of a host that has stopped. After a graceful stop the last spans are sent first.
async fn ended(gracefully: bool, spans: Option<SpanExport>) -> ExitCode {
    if !gracefully {
        return ExitCode::from(ENDED);
    }
    if let Some(spans) = spans {
        spans.finish().await;
    }
    ExitCode::SUCCESS
}
