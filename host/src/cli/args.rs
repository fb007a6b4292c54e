//! The commands and their arguments. The flags of configuration keys come from the declarations of the keys in
//! `config`.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Arg, ArgMatches, Args, FromArgMatches, Parser, Subcommand, ValueEnum};
use roost_core::ids::UserId;
use uuid::Uuid;

mod host;

pub(super) use host::{
    AdminUrl, CanaryArgs, DeployArgs, FunctionsArgs, HostArgs, LogsArgs, PromoteArgs, RollbackArgs, UndeployArgs,
};

use super::new::NewArgs;
use super::scenario::TestArgs;
use crate::config::{self, Flag, Sources};

/// Live chat state that stays correct, and functions that are replaced while clients stay connected.
#[derive(Debug, Parser)]
#[command(name = "roost", version, propagate_version = true, max_term_width = 110)]
pub struct Cli {
    #[command(subcommand)]
    pub(super) command: Command,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Build the functions, serve them with embedded storage, and rebuild them when a source file is saved
    #[command(after_help = "\
Examples:
  roost dev                              in the source folder, or anywhere below it
  roost dev --listen 127.0.0.1:0         on any free port
  roost dev --set socket.ping_interval_ms=5000
  roost dev --alone                      in the folder of one function: without presence, messaging and the others

Prints the tokens of two users and commands to paste. Secrets are generated once and stored in the data directory.")]
    Dev(DevArgs),
    /// Serve the functions of a folder
    #[command(after_help = "\
Examples:
  ROOST_TOKEN_SECRET=… roost serve --functions-dir target/functions
  roost serve --config /etc/roost.toml --log-format json

Refuses to start without a key that verifies users' tokens. SIGTERM and Ctrl-C stop gracefully: clients are told, \
calls finish. A second signal ends the process at once.")]
    Serve(SettingArgs),
    /// Build functions into components
    #[command(after_help = "\
Examples:
  roost build                            all functions of functions/, into target/functions
  roost build typing unread --out functions.d")]
    Build(BuildArgs),
    /// Make the crate of a new function, which builds, has tests, and is served by `roost dev`
    #[command(after_help = "\
Examples:
  roost new votes                        functions/votes, in a checkout of Roost
  roost new votes --path ../votes        a folder of its own, with the sdk of the nearest checkout
  roost new votes --sdk ~/roost          a folder of its own, with the sdk of a checkout
  roost new votes --sdk https://example.com/roost.git --tag v0.1.0

A folder or file that exists is never changed.")]
    New(NewArgs),
    /// Run the scenarios of functions against their components, on an embedded store with a clock of its own
    #[command(after_help = "\
Examples:
  roost test                             every function with a scenario.toml beside its Cargo.toml
  roost test reactions
  roost test dist/reactions-js.wasm --scenario scenario.toml --components target/functions

Exit code 0: every case holds, 1: some do not, 2: a scenario cannot be run. docs/testing.md describes the format.")]
    Test(TestArgs),
    /// Make a key pair for signing components
    #[command(after_help = "\
Examples:
  roost keygen                           writes signing.key and signing.pub
  roost keygen --out /secure/roost.key   writes /secure/roost.key and /secure/roost.pub

The secret key is readable only by its owner; keep it away from the hosts. Name the file of the public key in the key \
signing_keys of the hosts' configuration. A file that exists is never replaced.")]
    Keygen(KeygenArgs),
    /// Sign components, so that hosts with signing_keys load them
    #[command(after_help = "\
Examples:
  roost sign functions.d/*.wasm --key signing.key
  roost sign typing.wasm --key signing.key --out signed/typing.wasm

A signature that a component has is replaced.")]
    Sign(SignArgs),
    /// Print a token for a user (HS256), signed with the configured secret or the one of `roost dev`
    #[command(after_help = "\
Examples:
  roost token --user 6f1c1fd4-3c5b-4a8e-9d1a-0c6a2f1b7e55
  curl -H \"Authorization: Bearer $(roost token --user …)\" http://127.0.0.1:8080/v1/unread")]
    Token(TokenArgs),
    /// List the functions that a running host serves, or show one of them with its kept revisions
    #[command(after_help = "\
Examples:
  roost functions
  roost functions presence               its revisions, and the calls of its canary
  roost functions --cluster              what each host of the cluster runs
  roost functions --json | jq '.functions[].digest'")]
    Functions(FunctionsArgs),
    /// Print the calls and log lines of a function on a running host, and follow them
    #[command(after_help = "\
Examples:
  roost logs presence                    the newest records
  roost logs presence --follow           and what comes, until Ctrl-C
  roost logs presence --failed --since 15m
  roost logs presence --revision 3 --json | jq .took_us

Failed and refused calls are always recorded, successful ones up to function.NAME.recorded_calls_per_second_max a second. \
Each host has its own records, in memory; --to asks another host.")]
    Logs(LogsArgs),
    /// Deploy a component to a running host, and with Redis to every host of the cluster
    #[command(after_help = "\
Examples:
  roost deploy target/functions/presence.wasm
  roost deploy presence.wasm --canary 10%
  roost deploy unread.wasm --probe '{\"method\":\"GET\",\"path\":\"/v1/unread\",\"user\":\"6f1c1fd4-3c5b-4a8e-9d1a-0c6a2f1b7e55\"}'

Calls in flight finish on the old version, and no connection is closed. If anything is wrong with the component, nothing \
changes. A canary is taken back by itself when too many of its calls fail.")]
    Deploy(DeployArgs),
    /// Return to an earlier revision of a function, or take its canary back
    #[command(after_help = "\
Examples:
  roost rollback presence                to the revision before, or without the canary
  roost rollback presence 3              to revision 3")]
    Rollback(RollbackArgs),
    /// Change the share of the users that a function's canary serves
    #[command(after_help = "\
Examples:
  roost canary presence 25%")]
    Canary(CanaryArgs),
    /// Let the canary of a function serve everybody
    Promote(PromoteArgs),
    /// End the deployment of a function, so that the component of the host's folder serves again
    Undeploy(UndeployArgs),
    /// Read the folder with the components of a running host again
    Reload(HostArgs),
    /// Compare counters, read positions and last messages with the records, while hosts serve
    #[command(after_help = "\
Examples:
  roost verify                           all users and conversations, 200 a second
  roost verify --user 6f1c1fd4-3c5b-4a8e-9d1a-0c6a2f1b7e55 --format json

Exit code 0: no divergence, 1: divergence, 2: the check failed. A difference that an announcement in progress explains is \
pending, not a divergence.")]
    Verify(VerifyArgs),
    /// Compare as `verify` does, and repair what diverges
    #[command(after_help = "\
Examples:
  roost repair --user 6f1c1fd4-3c5b-4a8e-9d1a-0c6a2f1b7e55
  roost repair --rate 50

Exit code 0: no divergence is left, 1: some is left, 2: the check failed. It is safe while hosts serve: counters are \
deleted and rebuilt from the records.")]
    Repair(VerifyArgs),
    /// Check the configuration and print every key with its value and where it was set
    #[command(after_help = "\
Examples:
  roost check-config --config /etc/roost.toml
  roost check-config --keys              every key with its variable, default and meaning")]
    CheckConfig(CheckConfigArgs),
}

#[derive(Debug, Args)]
pub(super) struct DevArgs {
    #[command(flatten)]
    pub(super) settings: SettingArgs,
    /// The folder with the functions' sources; without it, the nearest one from here upward
    #[arg(long, value_name = "FOLDER")]
    pub(super) source: Option<PathBuf>,
    /// Serve only the functions of the source folder, and not those that come with Roost
    #[arg(long)]
    pub(super) alone: bool,
}

#[derive(Debug, Args)]
pub(crate) struct BuildArgs {
    /// The functions by name; without names, all
    pub(crate) functions: Vec<String>,
    /// The folder with the functions' sources; without it, the nearest one from here upward
    #[arg(long, value_name = "FOLDER")]
    pub(crate) source: Option<PathBuf>,
    /// The folder for the components; without it, target/functions of the source folder
    #[arg(long, value_name = "FOLDER")]
    pub(crate) out: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(super) struct KeygenArgs {
    /// The file of the secret key; the public key gets the same name with the extension `pub`
    #[arg(long, value_name = "FILE", default_value = "signing.key")]
    pub(super) out: PathBuf,
}

#[derive(Debug, Args)]
pub(super) struct SignArgs {
    /// The files of the components
    #[arg(value_name = "FILE", required = true)]
    pub(super) files: Vec<PathBuf>,
    /// The file of the secret key
    #[arg(long, value_name = "FILE")]
    pub(super) key: PathBuf,
    /// The file of the signed component; without it, the component is replaced
    #[arg(long, value_name = "FILE")]
    pub(super) out: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(super) struct TokenArgs {
    #[command(flatten)]
    pub(super) settings: SettingArgs,
    /// The user that the token is for
    #[arg(long, value_name = "UUID")]
    pub(super) user: UserId,
    /// How long the token is valid, such as 90s, 15m, 12h or 30d
    #[arg(long, value_name = "SPAN", default_value = "12h", value_parser = parse_span)]
    pub(super) ttl: Duration,
}

#[derive(Debug, Args)]
pub(super) struct VerifyArgs {
    #[command(flatten)]
    pub(super) settings: SettingArgs,
    /// A user whose counters are compared; may be repeated. Without --user and --conversation: all of both
    #[arg(long, value_name = "UUID", value_parser = parse_id)]
    pub(super) user: Vec<Uuid>,
    /// A conversation whose last message is compared; may be repeated
    #[arg(long, value_name = "UUID", value_parser = parse_id)]
    pub(super) conversation: Vec<Uuid>,
    /// The most users or conversations a second
    #[arg(long, value_name = "NUMBER", default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(super) rate: u32,
    /// The number of users or conversations in one request
    #[arg(long, value_name = "NUMBER", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=500))]
    pub(super) batch: u32,
    /// The format of the report
    #[arg(long, value_enum, default_value_t = ReportFormat::Text)]
    pub(super) format: ReportFormat,
}

/// The format of a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum ReportFormat {
    /// Sentences for people
    Text,
    /// One JSON object
    Json,
    /// The text format of Prometheus
    Metrics,
}

#[derive(Debug, Args)]
pub(super) struct CheckConfigArgs {
    #[command(flatten)]
    pub(super) settings: SettingArgs,
    /// List every key with its variable, default and meaning instead
    #[arg(long)]
    pub(super) keys: bool,
}

/// The heading of the flags of configuration keys in the help.
const SETTINGS_HEADING: &str = "Configuration (also ROOST_… and roost.toml; flags win)";

/// The settings on the command line. Each is also a key of the file and a variable, `ROOST_…`.
#[derive(Debug)]
pub(super) struct SettingArgs {
    general: GeneralArgs,
    /// Keys with a flag of their own, in the order of their declaration.
    flags: Vec<Flag>,
}

#[derive(Debug, Args)]
#[command(next_help_heading = SETTINGS_HEADING)]
struct GeneralArgs {
    /// The configuration file; without it, ROOST_CONFIG, or ./roost.toml if it exists
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Any key, such as socket.idle_timeout_ms=90000; may be repeated
    #[arg(long, value_name = "KEY=VALUE", value_parser = parse_pair)]
    set: Vec<(String, String)>,
}

impl Args for SettingArgs {
    fn augment_args(command: clap::Command) -> clap::Command {
        config::flags().iter().fold(GeneralArgs::augment_args(command), |command, key| {
            let flag = Arg::new(key.name).long(key.flag.as_str()).value_name(key.placeholder);
            command.arg(flag.help(key.help).help_heading(SETTINGS_HEADING))
        })
    }

    fn augment_args_for_update(command: clap::Command) -> clap::Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for SettingArgs {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let flag = |key: &config::FlagKey| {
            let value: &String = matches.get_one(key.name)?;
            Some(Flag { flag: format!("--{}", key.flag), key: key.name.to_owned(), value: value.clone() })
        };
        Ok(Self {
            general: GeneralArgs::from_arg_matches(matches)?,
            flags: config::flags().iter().filter_map(flag).collect(),
        })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

impl SettingArgs {
    /// The sources of the configuration, with the variables of this process.
    pub(super) fn sources(&self) -> Sources {
        let set = self.general.set.iter().cloned();
        let set = set.map(|(key, value)| Flag { flag: "--set".to_owned(), key, value });
        Sources {
            file: self.general.config.clone(),
            environment: config::environment(),
            flags: self.flags.iter().cloned().chain(set).collect(),
            ..Sources::default()
        }
    }
}

fn parse_pair(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("write KEY=VALUE")?;
    Ok((key.trim().to_owned(), value.to_owned()))
}

/// A whole number with its unit.
pub(super) fn parse_span(text: &str) -> Result<Duration, String> {
    let refused = || format!("\"{text}\" is not a time span; write a whole number and s, m, h or d, such as 15m");
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let seconds = match text.strip_prefix(digits) {
        Some("s") => 1,
        Some("m") => 60,
        Some("h") => 3_600,
        Some("d") => 86_400,
        _ => return Err(refused()),
    };
    let number: u32 = digits.parse().map_err(|_| refused())?;
    Ok(Duration::from_secs(u64::from(number) * seconds))
}

/// The id of a user or a conversation.
fn parse_id(text: &str) -> Result<Uuid, String> {
    text.parse().map_err(|error| format!("not a UUID such as 6f1c1fd4-3c5b-4a8e-9d1a-0c6a2f1b7e55: {error}"))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_time_span_has_a_number_and_a_unit() {
        assert_eq!(parse_span("90s"), Ok(Duration::from_secs(90)));
        assert_eq!(parse_span("15m"), Ok(Duration::from_secs(900)));
        assert_eq!(parse_span("30d"), Ok(Duration::from_secs(2_592_000)));
        for bad in ["", "s", "5", "-5s", "5 s", "1.5h", "5w", "99999999999s"] {
            assert!(parse_span(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn every_flag_names_a_key_that_exists() {
        let all =
            ["listen", "admin-listen", "data-dir", "store-url", "records-url", "functions-dir", "log", "log-format"];
        let flags = all.iter().flat_map(|flag| [format!("--{flag}"), "?".to_owned()]);
        let line = ["roost".to_owned(), "serve".to_owned()].into_iter().chain(flags);
        let Command::Serve(args) = Cli::try_parse_from(line).unwrap().command else { panic!("not serve") };
        let sources = Sources { environment: Vec::new(), file: None, ..args.sources() };
        assert_eq!(sources.flags.len(), all.len());
        let reported = sources.load().map_or_else(|errors| errors.to_string(), |_| String::new());
        assert!(reported.contains("--listen: listen:") && !reported.contains("unknown key"), "{reported}");
    }
}
