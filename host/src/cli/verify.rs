//! `roost verify` and `roost repair`: go through everybody, or those named, part by part and at a gentle pace.
//!
//! A store that others can reach is compared from here; one in a host's memory by that host, through its admin
//! listener. Exit codes: 0 no drift is left, 1 there is, 2 it could not be told.

use std::fmt::Write as _;
use std::io::Write as _;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use roost_core::consistency::{Finding, Kind, Report};
use tokio::time::Instant;

use super::args::{AuditArgs, ReportFormat};
use super::ask::ask;
use crate::app;
use crate::cli::print::print;
use crate::config::{Config, StoreUrl};
use crate::ops::consistency::{self, Order, Part, World};
use crate::records::RecordStore;
use crate::store::Store;

const DRIFT: u8 = 1;
const NOT_TOLD: u8 = 2;

pub(super) async fn run(args: &AuditArgs, repair: bool) -> ExitCode {
    match go(args, repair).await {
        Ok(report) if report.drift.iter().all(|finding| finding.repaired) && report.unlisted == 0 => ExitCode::SUCCESS,
        Ok(_) => ExitCode::from(DRIFT),
        Err(error) => {
            // A closed standard error shows nothing.
            let _ = writeln!(std::io::stderr(), "roost: {error:#}");
            ExitCode::from(NOT_TOLD)
        }
    }
}

async fn go(args: &AuditArgs, repair: bool) -> anyhow::Result<Report> {
    let config = super::of_running(&args.settings)?;
    let place = Place::of(config).await?;
    let mut report = Report::default();
    for order in orders(args, repair) {
        through(&place, order, args.rate, &mut report).await?;
    }
    place.leave().await;
    print(&match args.format {
        ReportFormat::Text => text(&report, repair),
        ReportFormat::Json => serde_json::to_string_pretty(&report)?,
        ReportFormat::Metrics => metrics(&report),
    })?;
    Ok(report)
}

/// Those named; without a name, all users and all conversations.
fn orders(args: &AuditArgs, repair: bool) -> Vec<Order> {
    let order = |of, named| Order { of, named, after: None, limit: Some(args.batch), repair };
    if args.user.is_empty() && args.conversation.is_empty() {
        return vec![order(Kind::Users, None), order(Kind::Conversations, None)];
    }
    let chunk = args.batch as usize;
    let users = args.user.chunks(chunk).map(|users| order(Kind::Users, Some(users.to_vec())));
    let conversations = args.conversation.chunks(chunk);
    users.chain(conversations.map(|named| order(Kind::Conversations, Some(named.to_vec())))).collect()
}

/// All pages of an order, no faster than `rate` subjects a second.
async fn through(place: &Place, mut order: Order, rate: u32, report: &mut Report) -> anyhow::Result<()> {
    loop {
        let began = Instant::now();
        let part = place.carry_out(&order).await?;
        report.add(part.report);
        let Some(next) = part.next else { return Ok(()) };
        order.after = Some(next);
        let pace = Duration::from_secs(1).mul_f64(f64::from(order.limit.unwrap_or(1)) / f64::from(rate.max(1)));
        tokio::time::sleep_until(began + pace).await;
    }
}

/// Where the store can be reached.
enum Place {
    Here(World),
    Host(Box<Config>),
}

impl Place {
    async fn of(config: Config) -> anyhow::Result<Self> {
        if let StoreUrl::Memory { .. } = config.store {
            return Ok(Self::Host(Box::new(config)));
        }
        app::install_tls();
        let store = Store::open(config.store).await?;
        let records = RecordStore::open(&config.records).await.context("the records cannot be opened")?;
        Ok(Self::Here(World { store, records }))
    }

    async fn carry_out(&self, order: &Order) -> anyhow::Result<Part> {
        match self {
            Self::Here(world) => Ok(consistency::carry_out(world, order).await?),
            Self::Host(config) => {
                let answer = ask(config, "POST", "/verify", &serde_json::to_string(order)?).await?;
                serde_json::from_value(answer).context("the admin listener's answer is no report")
            }
        }
    }

    async fn leave(self) {
        if let Self::Here(world) = self {
            world.records.close().await;
        }
    }
}

fn text(report: &Report, repair: bool) -> String {
    let mut text = String::new();
    let mut list = |kind: &str, findings: &[Finding]| {
        for finding in findings {
            let state = if finding.repaired { ", repaired" } else { "" };
            let _ = writeln!(text, "{kind}  {}{state}", sentence(finding));
        }
    };
    list("drift", &report.drift);
    list("unsettled", &report.unsettled);
    let Report { users, cold, conversations, uncached, pending, drift, unsettled, unlisted } = report;
    let found = drift.len() as u64 + unlisted;
    let mended = drift.iter().filter(|finding| finding.repaired).count();
    let _ = writeln!(text, "{users} users compared, {cold} without counters");
    let _ = writeln!(text, "{conversations} last messages compared, {uncached} not cached");
    let _ = write!(text, "{found} drifted, {pending} pending, {} unsettled", unsettled.len());
    if repair {
        let _ = write!(text, ", {mended} repaired");
    }
    text
}

fn sentence(finding: &Finding) -> String {
    let number = |number: Option<i64>| number.map_or_else(|| "nothing".to_owned(), |number| number.to_string());
    let mut text = finding.what.name().to_owned();
    for (name, id) in [
        ("user", finding.user.map(|user| user.to_string())),
        ("conversation", finding.conversation.map(|conversation| conversation.to_string())),
    ] {
        if let Some(id) = id {
            let _ = write!(text, "  {name} {id}");
        }
    }
    let _ = write!(text, "  stored {}, records {}", number(finding.stored), number(finding.records));
    text
}

/// The Prometheus text form, for a collector that reads files.
fn metrics(report: &Report) -> String {
    let mut counts = std::collections::BTreeMap::<_, u64>::new();
    for finding in &report.drift {
        *counts.entry((finding.what.name(), finding.repaired)).or_default() += 1;
    }
    let mut text = String::from("# TYPE roost_drift gauge\n");
    for ((what, repaired), count) in counts {
        let _ = writeln!(text, "roost_drift{{what=\"{what}\",repaired=\"{repaired}\"}} {count}");
    }
    for (name, count) in [
        ("roost_verified_users", report.users),
        ("roost_verified_conversations", report.conversations),
        ("roost_drift_pending", report.pending),
        ("roost_drift_unsettled", report.unsettled.len() as u64),
        ("roost_drift_unlisted", report.unlisted),
    ] {
        let _ = write!(text, "# TYPE {name} gauge\n{name} {count}\n");
    }
    text.trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use roost_core::consistency::What;
    use roost_core::ids::{ConversationId, UserId};

    use super::*;

    fn report() -> Report {
        let count = Finding {
            what: What::Count,
            user: Some(UserId::from_u128(1)),
            conversation: Some(ConversationId::from_u128(2)),
            stored: Some(5),
            records: Some(3),
            repaired: true,
        };
        let position = Finding { what: What::Position, stored: None, repaired: false, ..count.clone() };
        Report { users: 7, cold: 1, conversations: 4, drift: vec![count, position], ..Report::default() }
    }

    #[test]
    fn a_report_is_told_in_sentences_and_figures() {
        let expected = "\
drift  count  user 00000000-0000-0000-0000-000000000001  conversation 00000000-0000-0000-0000-000000000002  stored 5, records 3, repaired
drift  position  user 00000000-0000-0000-0000-000000000001  conversation 00000000-0000-0000-0000-000000000002  stored nothing, records 3
7 users compared, 1 without counters
4 last messages compared, 0 not cached
2 drifted, 0 pending, 0 unsettled, 1 repaired";
        assert_eq!(text(&report(), true), expected);
    }

    #[test]
    fn a_report_is_a_metric() {
        let told = metrics(&report());
        assert!(told.contains("roost_drift{what=\"count\",repaired=\"true\"} 1\n"), "{told}");
        assert!(told.contains("\nroost_verified_users 7\n"), "{told}");
    }
}
