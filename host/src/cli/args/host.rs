//! The arguments of the commands that ask a running host over its admin listener.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::{SettingArgs, parse_span};

/// A running host, and how its answer is printed.
#[derive(Debug, Args)]
pub(in crate::cli) struct HostArgs {
    #[command(flatten)]
    pub(in crate::cli) settings: SettingArgs,
    /// The admin listener of the host, such as http://10.0.0.7:9090; without it, admin_listen of the configuration
    #[arg(long, value_name = "URL", value_parser = parse_admin_url)]
    pub(in crate::cli) to: Option<AdminUrl>,
    /// Print the answer of the admin listener as it is
    #[arg(long)]
    pub(in crate::cli) json: bool,
}

/// The admin listener of a host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::cli) struct AdminUrl {
    /// The host and port.
    pub(in crate::cli) authority: String,
    /// Whether the listener has a certificate.
    pub(in crate::cli) is_encrypted: bool,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct DeployArgs {
    /// The file of the component
    #[arg(value_name = "FILE")]
    pub(in crate::cli) file: PathBuf,
    /// Let it serve only this share of the users, beside the version that serves now
    #[arg(long, value_name = "PERCENT", value_parser = parse_percent)]
    pub(in crate::cli) canary: Option<u8>,
    /// Deploy it even if it lacks routes, messages or hooks of the version that serves now
    #[arg(long)]
    pub(in crate::cli) allow_removals: bool,
    /// Grants that it is allowed besides those of the configuration, such as read.app,publish; all: whatever it asks
    /// for
    #[arg(long, value_name = "GRANTS")]
    pub(in crate::cli) allow_grants: Option<String>,
    /// A call that the new version must answer before it serves: JSON, or @FILE with it
    #[arg(long, value_name = "PROBE")]
    pub(in crate::cli) probe: Option<String>,
    #[command(flatten)]
    pub(in crate::cli) host: HostArgs,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct RollbackArgs {
    /// The name of the function
    #[arg(value_name = "NAME")]
    pub(in crate::cli) name: String,
    /// The number of the revision; without it, the one before
    #[arg(value_name = "REVISION")]
    pub(in crate::cli) revision: Option<u64>,
    #[command(flatten)]
    pub(in crate::cli) host: HostArgs,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct CanaryArgs {
    /// The name of the function
    #[arg(value_name = "NAME")]
    pub(in crate::cli) name: String,
    /// The share of the users, such as 25%
    #[arg(value_name = "PERCENT", value_parser = parse_percent)]
    pub(in crate::cli) percent: u8,
    /// Let it serve 100% even if it lacks routes, messages or hooks of the version that serves now
    #[arg(long)]
    pub(in crate::cli) allow_removals: bool,
    #[command(flatten)]
    pub(in crate::cli) host: HostArgs,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct PromoteArgs {
    /// The name of the function
    #[arg(value_name = "NAME")]
    pub(in crate::cli) name: String,
    /// Promote it even if it lacks routes, messages or hooks of the version that serves now
    #[arg(long)]
    pub(in crate::cli) allow_removals: bool,
    #[command(flatten)]
    pub(in crate::cli) host: HostArgs,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct UndeployArgs {
    /// The name of the function
    #[arg(value_name = "NAME")]
    pub(in crate::cli) name: String,
    /// Undeploy it even if routes, messages or hooks are gone then
    #[arg(long)]
    pub(in crate::cli) allow_removals: bool,
    #[command(flatten)]
    pub(in crate::cli) host: HostArgs,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct FunctionsArgs {
    /// The function to show; without it, all are listed
    #[arg(value_name = "NAME")]
    pub(in crate::cli) name: Option<String>,
    /// Show what each host of the cluster runs
    #[arg(long)]
    pub(in crate::cli) cluster: bool,
    #[command(flatten)]
    pub(in crate::cli) host: HostArgs,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct LogsArgs {
    /// The name of the function
    #[arg(value_name = "NAME")]
    pub(in crate::cli) name: String,
    /// Go on with the records that come, until Ctrl-C
    #[arg(long, short)]
    pub(in crate::cli) follow: bool,
    /// Only this revision: its number, or the first letters of its digest
    #[arg(long, value_name = "REVISION")]
    pub(in crate::cli) revision: Option<String>,
    /// Only calls that did not succeed, and lines of the level error
    #[arg(long)]
    pub(in crate::cli) failed: bool,
    /// Only calls that ended so
    #[arg(long, value_name = "OUTCOME", conflicts_with = "failed", value_parser = OUTCOMES)]
    pub(in crate::cli) outcome: Option<String>,
    /// Besides calls, only lines of at least this level
    #[arg(long, value_name = "LEVEL", value_parser = ["debug", "info", "warn", "error"])]
    pub(in crate::cli) level: Option<String>,
    /// Only what happened within this time, such as 15m
    #[arg(long, value_name = "SPAN", value_parser = parse_span)]
    pub(in crate::cli) since: Option<Duration>,
    /// The most records of before
    #[arg(long, value_name = "NUMBER", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub(in crate::cli) limit: u32,
    #[command(flatten)]
    pub(in crate::cli) host: HostArgs,
}

/// How a call can end, as in the records.
const OUTCOMES: [&str; 8] = ["ok", "refused", "failed", "trapped", "timeout", "reply_too_large", "busy", "quota"];

/// A share of the users in percent, with or without the sign.
fn parse_percent(text: &str) -> Result<u8, String> {
    let number: Option<u8> = text.strip_suffix('%').unwrap_or(text).trim().parse().ok();
    let allowed = number.filter(|percent| *percent <= 100);
    allowed.ok_or_else(|| {
        format!("\"{text}\" is not a share of the users; write a whole number from 0 to 100, such as 10%")
    })
}

/// The URL of an admin listener: a scheme, a host and a port.
fn parse_admin_url(text: &str) -> Result<AdminUrl, String> {
    let refused = || format!("\"{text}\" is not the URL of an admin listener; write one such as http://10.0.0.7:9090");
    let (scheme, rest) = text.split_once("://").ok_or_else(refused)?;
    let is_encrypted = match scheme {
        "http" => false,
        "https" => true,
        _ => return Err(refused()),
    };
    let authority = rest.strip_suffix('/').unwrap_or(rest);
    let port = authority.rsplit_once(':').and_then(|(_, port)| port.parse::<u16>().ok());
    if port.is_none() || authority.contains(['/', '?', '#', '@']) {
        return Err(refused());
    }
    Ok(AdminUrl { authority: authority.to_owned(), is_encrypted })
}
