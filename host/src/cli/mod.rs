//! The command line: what each command is called, what it takes, and how it ends. The work is done elsewhere.
//!
//! Exit codes: 0 done, 1 it did not work, 2 the command line or the configuration is wrong, 130 ended by a second signal.
//! `verify` and `repair` have their own.

pub(crate) mod args;
mod ask;
pub mod build;
pub mod dev;
mod functions;
mod print;
mod source;
mod token;
mod verify;

use std::io::Write;
use std::process::ExitCode;

use clap::Parser;

pub use args::Cli;
use args::{CheckConfigArgs, Command, DevArgs, SettingArgs};

use crate::cli::print::print;
use crate::config::{self, Config, ConfigErrors, Sources};
use crate::ops::shutdown::Signals;
use crate::{app, ops::log};

const FAILED: u8 = 1;
const MISUSED: u8 = 2;
const ENDED: u8 = 130;

/// Does what the command line of this process says.
pub async fn run() -> ExitCode {
    match Cli::parse().command.run().await {
        Ok(code) => code,
        Err(error) => {
            let misused = error.downcast_ref::<ConfigErrors>().is_some();
            let _ = writeln!(std::io::stderr(), "roost: {error:#}");
            ExitCode::from(if misused { MISUSED } else { FAILED })
        }
    }
}

impl Command {
    async fn run(self) -> anyhow::Result<ExitCode> {
        match self {
            Self::Dev(args) => develop(args).await,
            Self::Serve(args) => serve(&args).await,
            Self::Build(args) => build::command::run(&args).await,
            Self::Token(args) => token::run(&args),
            Self::Functions(args) => functions::run(&args).await,
            Self::Verify(args) => Ok(verify::run(&args, false).await),
            Self::Repair(args) => Ok(verify::run(&args, true).await),
            Self::CheckConfig(args) => check_config(&args),
        }
    }
}

async fn serve(args: &SettingArgs) -> anyhow::Result<ExitCode> {
    let mut sources = args.sources();
    sources.needs_token_key = true;
    let config = sources.load()?;
    log::init(&config);
    // Before anything takes time, so that a stop is graceful from the first moment.
    let mut signals = Signals::listen()?;
    let running = tokio::select! {
        running = app::start(config) => running?,
        _ = signals.next() => return Ok(ExitCode::from(ENDED)),
    };
    Ok(ended(running.wait(&mut signals).await))
}

async fn develop(args: DevArgs) -> anyhow::Result<ExitCode> {
    let root = source::find(args.source.as_deref())?;
    let mut config = Sources { defaults: dev::defaults(&root), ..args.settings.sources() }.load()?;
    log::init(&config);
    dev::fill_secrets(&mut config)?;
    let mut signals = Signals::listen()?;
    Ok(ended(dev::run(&root, config, &mut signals).await?))
}

/// The configuration of a host that may be one of `roost dev`, with the secrets that were made up for it.
fn of_running(args: &SettingArgs) -> anyhow::Result<Config> {
    let defaults = source::find(None).map_or_else(|_| Vec::new(), |root| dev::defaults(&root));
    let mut config = Sources { defaults, ..args.sources() }.load()?;
    dev::use_known_secrets(&mut config)?;
    Ok(config)
}

fn ended(gracefully: bool) -> ExitCode {
    if gracefully { ExitCode::SUCCESS } else { ExitCode::from(ENDED) }
}

fn check_config(args: &CheckConfigArgs) -> anyhow::Result<ExitCode> {
    if args.keys {
        print(config::reference().trim_end())?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut sources = args.settings.sources();
    sources.needs_token_key = true;
    let config: Config = sources.load()?;
    print(&format!("the configuration is valid\n{config:#?}"))?;
    Ok(ExitCode::SUCCESS)
}
