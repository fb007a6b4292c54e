//! What the command line may print. Flags only name configuration keys; what a key may hold stands in `config`.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use roost_core::ids::UserId;
use uuid::Uuid;

use crate::config::{self, Flag, Sources};

/// Chat state that is right, and logic that is replaced while everybody stays connected.
#[derive(Debug, Parser)]
#[command(name = "roost", version, propagate_version = true, max_term_width = 110)]
pub struct Cli {
    #[command(subcommand)]
    pub(super) command: Command,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Build the functions, serve them with everything embedded, and rebuild what is saved
    #[command(after_help = "\
Examples:
  roost dev                              in the source folder, or anywhere below it
  roost dev --listen 127.0.0.1:0         any free port
  roost dev --set socket.ping_interval_ms=5000

Prints two users' tokens and lines to paste. Secrets are made up once and kept in the data directory.")]
    Dev(DevArgs),
    /// Serve the functions of a folder
    #[command(after_help = "\
Examples:
  ROOST_TOKEN_SECRET=… roost serve --functions-dir target/functions
  roost serve --config /etc/roost.toml --log-format json

Refuses to start without something that verifies users' tokens. SIGTERM and Ctrl-C stop gracefully: clients are told, \
calls finish; a second signal ends at once.")]
    Serve(SettingArgs),
    /// Build functions into components
    #[command(after_help = "\
Examples:
  roost build                            all functions, into target/functions
  roost build typing unread --out functions.d")]
    Build(BuildArgs),
    /// Make a user's token (HS256), signed with the configured secret or the one of `roost dev`
    #[command(after_help = "\
Examples:
  roost token --user 6f1c1fd4-3c5b-4a8e-9d1a-0c6a2f1b7e55
  curl -H \"Authorization: Bearer $(roost token --user …)\" http://127.0.0.1:8080/v1/unread")]
    Token(TokenArgs),
    /// Show which functions a running host serves
    #[command(after_help = "\
Examples:
  roost functions
  roost functions --json | jq '.functions[].digest'")]
    Functions(FunctionsArgs),
    /// Compare counters, positions and last messages with the records, while hosts serve
    #[command(after_help = "\
Examples:
  roost verify                           all users and conversations, 200 a second
  roost verify --user 6f1c1fd4-3c5b-4a8e-9d1a-0c6a2f1b7e55 --format json

Exit code 0: no drift, 1: drift, 2: it could not be told. What an announcement under way explains is pending, not drift.")]
    Verify(AuditArgs),
    /// The same, and mend what drifted
    #[command(after_help = "\
Examples:
  roost repair --user 6f1c1fd4-3c5b-4a8e-9d1a-0c6a2f1b7e55
  roost repair --rate 50

Exit code 0: no drift is left, 1: some is, 2: it could not be told. Safe while hosts serve: counters are forgotten and \
filled from the records.")]
    Repair(AuditArgs),
    /// Check the configuration and show what it comes to
    #[command(after_help = "\
Examples:
  roost check-config --config /etc/roost.toml
  roost check-config --keys              every key, its variable, default and meaning")]
    CheckConfig(CheckConfigArgs),
}

#[derive(Debug, Args)]
pub(super) struct DevArgs {
    #[command(flatten)]
    pub(super) settings: SettingArgs,
    /// The folder with the functions' sources; without it, the nearest one from here upward
    #[arg(long, value_name = "FOLDER")]
    pub(super) source: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(super) struct BuildArgs {
    /// Functions by name; without any, all
    pub(super) functions: Vec<String>,
    /// The folder with the functions' sources; without it, the nearest one from here upward
    #[arg(long, value_name = "FOLDER")]
    pub(super) source: Option<PathBuf>,
    /// Where the components go; without it, target/functions of the source folder
    #[arg(long, value_name = "FOLDER")]
    pub(super) out: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(super) struct TokenArgs {
    #[command(flatten)]
    pub(super) settings: SettingArgs,
    /// Whose token
    #[arg(long, value_name = "UUID")]
    pub(super) user: UserId,
    /// How long it is good, such as 90s, 15m, 12h or 30d
    #[arg(long, value_name = "SPAN", default_value = "12h", value_parser = parse_span)]
    pub(super) ttl: Duration,
}

#[derive(Debug, Args)]
pub(super) struct FunctionsArgs {
    #[command(flatten)]
    pub(super) settings: SettingArgs,
    /// The admin listener's answer as it is
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Debug, Args)]
pub(super) struct AuditArgs {
    #[command(flatten)]
    pub(super) settings: SettingArgs,
    /// Whose counters; again for more. Without --user and --conversation: everybody's
    #[arg(long, value_name = "UUID", value_parser = parse_id)]
    pub(super) user: Vec<Uuid>,
    /// Whose last message; again for more
    #[arg(long, value_name = "UUID", value_parser = parse_id)]
    pub(super) conversation: Vec<Uuid>,
    /// Users or conversations a second, at most
    #[arg(long, value_name = "NUMBER", default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(super) rate: u32,
    /// Users or conversations at a time
    #[arg(long, value_name = "NUMBER", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=500))]
    pub(super) batch: u32,
    /// How the report is told
    #[arg(long, value_enum, default_value_t = ReportFormat::Text)]
    pub(super) format: ReportFormat,
}

/// How a report is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum ReportFormat {
    /// For people
    Text,
    /// For programs
    Json,
    /// The Prometheus text form
    Metrics,
}

#[derive(Debug, Args)]
pub(super) struct CheckConfigArgs {
    #[command(flatten)]
    pub(super) settings: SettingArgs,
    /// List every key instead
    #[arg(long)]
    pub(super) keys: bool,
}

/// The configuration's flags. Each is also a key of the file and a variable, `ROOST_…`.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = "Configuration (also ROOST_… and roost.toml; flags win)")]
pub(super) struct SettingArgs {
    /// The configuration file; without it, ROOST_CONFIG, or ./roost.toml if it is there
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The public listener
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<String>,
    /// The admin listener
    #[arg(long, value_name = "ADDRESS")]
    admin_listen: Option<String>,
    /// Where messages, secrets and compiled functions are kept
    #[arg(long, value_name = "FOLDER")]
    data_dir: Option<String>,
    /// Where the live state is kept
    #[arg(long, value_name = "URL")]
    store_url: Option<String>,
    /// Where messages are kept
    #[arg(long, value_name = "URL")]
    records_url: Option<String>,
    /// Components to serve
    #[arg(long, value_name = "FOLDER")]
    functions_dir: Option<String>,
    /// What is logged, such as info or warn,roost=debug
    #[arg(long, value_name = "FILTER")]
    log: Option<String>,
    /// text or json
    #[arg(long, value_name = "FORMAT")]
    log_format: Option<String>,
    /// Any other key, such as socket.idle_timeout_ms=90000; again for more
    #[arg(long, value_name = "KEY=VALUE", value_parser = parse_pair)]
    set: Vec<(String, String)>,
}

impl SettingArgs {
    /// The configuration's sources, with the variables of this process.
    pub(super) fn sources(&self) -> Sources {
        let named = [
            ("listen", &self.listen),
            ("admin_listen", &self.admin_listen),
            ("data_dir", &self.data_dir),
            ("store_url", &self.store_url),
            ("records_url", &self.records_url),
            ("functions_dir", &self.functions_dir),
            ("log", &self.log),
            ("log_format", &self.log_format),
        ];
        let named = named.into_iter().filter_map(|(key, value)| {
            let flag = format!("--{}", key.replace('_', "-"));
            value.clone().map(|value| Flag { flag, key: key.to_owned(), value })
        });
        let set = self.set.iter().cloned();
        let set = set.map(|(key, value)| Flag { flag: "--set".to_owned(), key, value });
        Sources {
            file: self.config.clone(),
            environment: config::environment(),
            flags: named.chain(set).collect(),
            ..Sources::default()
        }
    }
}

fn parse_pair(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("expected KEY=VALUE")?;
    Ok((key.trim().to_owned(), value.to_owned()))
}

/// A whole number and its unit.
fn parse_span(text: &str) -> Result<Duration, String> {
    let refused = || format!("\"{text}\" is no span; expected a whole number and s, m, h or d, such as 15m");
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

/// For the command line: an id, whatever it names.
fn parse_id(text: &str) -> Result<Uuid, String> {
    text.parse().map_err(|error| format!("not a UUID: {error}"))
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
    fn spans_have_a_number_and_a_unit() {
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
        let told = sources.load().map_or_else(|mistakes| mistakes.to_string(), |_| String::new());
        assert!(told.contains("--listen: listen:") && !told.contains("unknown key"), "{told}");
    }
}
