//! `roost verify` and `roost repair`: compare the store with the records for all users and conversations, or for the
//! named ones, page by page and at a bounded rate.
//!
//! A store in Redis is compared by this process; a store in the memory of a host is compared by that host, through its
//! admin listener. Exit codes: 0 no divergence is left and everything can be announced, 1 otherwise, 2 the check
//! failed.

use std::fmt::Write as _;
use std::io::Write as _;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use roost_core::consistency::{Finding, FindingKind, Report, SubjectKind, UnannouncedItem, UnannouncedKind};
use tokio::time::Instant;

use super::args::{ReportFormat, VerifyArgs};
use super::print::print;
use super::running_host;
use crate::app;
use crate::config::{Config, StoreUrl};
use crate::ops::consistency::{self, CheckPage, CheckRequest};
use crate::records::RecordStore;
use crate::runtime::HostWorld;
use crate::store::Store;

const DIVERGED: u8 = 1;
const CHECK_FAILED: u8 = 2;

pub(super) async fn run(args: &VerifyArgs, repair: bool) -> ExitCode {
    match compare(args, repair).await {
        Ok(report) if is_clean(&report) => ExitCode::SUCCESS,
        Ok(_) => ExitCode::from(DIVERGED),
        Err(error) => {
            // A closed standard error shows nothing.
            let _ = writeln!(std::io::stderr(), "roost: {error:#}");
            ExitCode::from(CHECK_FAILED)
        }
    }
}

/// Whether no divergence is left, and everything can be announced.
fn is_clean(report: &Report) -> bool {
    let repaired = report.divergences.iter().all(|finding| finding.repaired);
    repaired && report.unannounced.is_empty() && report.unlisted == 0
}

async fn compare(args: &VerifyArgs, repair: bool) -> anyhow::Result<Report> {
    let config = running_host::config(&args.settings)?;
    let checker = Checker::open(config).await?;
    let mut report = Report::default();
    for order in orders(args, repair) {
        compare_pages(&checker, order, args.rate, &mut report).await?;
    }
    checker.close().await;
    print(&match args.format {
        ReportFormat::Text => text(&report, repair),
        ReportFormat::Json => serde_json::to_string_pretty(&report)?,
        ReportFormat::Metrics => metrics(&report),
    })?;
    Ok(report)
}

/// The named users and conversations; without a name, all of both, and what cannot be announced.
fn orders(args: &VerifyArgs, repair: bool) -> Vec<CheckRequest> {
    let order = |of, named| CheckRequest { of, named, after: None, limit: Some(args.batch), repair };
    if args.user.is_empty() && args.conversation.is_empty() {
        let all = [SubjectKind::Users, SubjectKind::Conversations, SubjectKind::Announcements];
        return all.map(|of| order(of, None)).into();
    }
    let chunk = args.batch as usize;
    let users = args.user.chunks(chunk).map(|users| order(SubjectKind::Users, Some(users.to_vec())));
    let conversations = args.conversation.chunks(chunk);
    users.chain(conversations.map(|named| order(SubjectKind::Conversations, Some(named.to_vec())))).collect()
}

/// Compares all pages of an order, at most `rate` users or conversations a second.
async fn compare_pages(
    checker: &Checker,
    mut order: CheckRequest,
    rate: u32,
    report: &mut Report,
) -> anyhow::Result<()> {
    loop {
        let began = Instant::now();
        let part = checker.carry_out(&order).await?;
        report.add(part.report);
        let Some(next) = part.next else { return Ok(()) };
        order.after = Some(next);
        let pace = Duration::from_secs(1).mul_f64(f64::from(order.limit.unwrap_or(1)) / f64::from(rate.max(1)));
        tokio::time::sleep_until(began + pace).await;
    }
}

/// The process that compares.
enum Checker {
    /// This one: the store is in Redis.
    ThisProcess(HostWorld),
    /// The host that has the store in its memory.
    RunningHost(Box<Config>),
}

impl Checker {
    async fn open(config: Config) -> anyhow::Result<Self> {
        if let StoreUrl::Memory { .. } = config.store {
            return Ok(Self::RunningHost(Box::new(config)));
        }
        app::install_crypto();
        let store = Store::open(config.store).await?;
        let records = RecordStore::open(&config.records).await.context("the records cannot be opened")?;
        Ok(Self::ThisProcess(HostWorld::new(store, records)))
    }

    async fn carry_out(&self, order: &CheckRequest) -> anyhow::Result<CheckPage> {
        match self {
            Self::ThisProcess(world) => Ok(consistency::check(world, order).await?),
            Self::RunningHost(config) => {
                let answer = running_host::request(config, "POST", "/verify", &serde_json::to_string(order)?).await?;
                serde_json::from_value(answer).context("the answer of the admin listener is not a report")
            }
        }
    }

    async fn close(self) {
        if let Self::ThisProcess(world) = self {
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
    list("divergence", &report.divergences);
    list("inconclusive", &report.inconclusive);
    for item in &report.unannounced {
        let _ = writeln!(text, "cannot be announced  {}", unannounced(item));
    }
    let Report { users, cold, conversations, uncached, pending, divergences, inconclusive, unlisted, .. } = report;
    let found = divergences.len() as u64 + unlisted;
    let repaired = divergences.iter().filter(|finding| finding.repaired).count();
    let _ = writeln!(text, "{users} users compared, {cold} without counters");
    let _ = writeln!(text, "{conversations} last messages compared, {uncached} not cached");
    let _ = write!(text, "{found} divergences, {pending} pending, {} inconclusive", inconclusive.len());
    if repair {
        let _ = write!(text, ", {repaired} repaired");
    }
    if !report.unannounced.is_empty() {
        let _ = write!(text, "\n{} announcements keep failing", report.unannounced.len());
        text.push_str(if repair { "; each is tried again at once" } else { "; the host's log says why" });
    }
    text
}

fn unannounced(item: &UnannouncedItem) -> String {
    let UnannouncedItem { kind, conversation, seq, user, other, since, attempts } = item;
    let what = match kind {
        UnannouncedKind::Change => "change",
        UnannouncedKind::Position => "position",
        UnannouncedKind::Membership => "membership",
        UnannouncedKind::Creation => "creation",
        UnannouncedKind::Contact => "contact",
    };
    let mut text = what.to_owned();
    for (name, value) in [
        ("conversation", conversation.map(|conversation| conversation.to_string())),
        ("number", seq.map(|seq| seq.to_string())),
        ("user", user.map(|user| user.to_string())),
        ("other", other.map(|other| other.to_string())),
    ] {
        if let Some(value) = value {
            let _ = write!(text, "  {name} {value}");
        }
    }
    let _ = write!(text, "  since {since}, {attempts} attempts");
    text
}

fn sentence(finding: &Finding) -> String {
    let number = |number: Option<i64>| number.map_or_else(|| "nothing".to_owned(), |number| number.to_string());
    let mut text = finding.kind.name().to_owned();
    for (name, id) in [
        ("user", finding.user.map(|user| user.to_string())),
        ("conversation", finding.conversation.map(|conversation| conversation.to_string())),
    ] {
        if let Some(id) = id {
            let _ = write!(text, "  {name} {id}");
        }
    }
    let _ = match finding.kind {
        FindingKind::Unreadable => write!(text, "  a key holds a value of another type"),
        _ => write!(text, "  stored {}, records {}", number(finding.stored), number(finding.records)),
    };
    text
}

/// The text format of Prometheus, for a collector that reads files.
fn metrics(report: &Report) -> String {
    let mut counts = std::collections::BTreeMap::<_, u64>::new();
    for finding in &report.divergences {
        *counts.entry((finding.kind.name(), finding.repaired)).or_default() += 1;
    }
    let mut text = String::from("# TYPE roost_drift gauge\n");
    for ((what, repaired), count) in counts {
        let _ = writeln!(text, "roost_drift{{what=\"{what}\",repaired=\"{repaired}\"}} {count}");
    }
    for (name, count) in [
        ("roost_verified_users", report.users),
        ("roost_verified_conversations", report.conversations),
        ("roost_drift_pending", report.pending),
        ("roost_drift_unsettled", report.inconclusive.len() as u64),
        ("roost_drift_unlisted", report.unlisted),
        ("roost_unannounced", report.unannounced.len() as u64),
    ] {
        let _ = write!(text, "# TYPE {name} gauge\n{name} {count}\n");
    }
    text.trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use roost_core::ids::{ConversationId, Seq, UserId};
    use roost_core::time::Timestamp;

    use super::*;

    fn report() -> Report {
        let count = Finding {
            kind: FindingKind::Count,
            user: Some(UserId::from_u128(1)),
            conversation: Some(ConversationId::from_u128(2)),
            stored: Some(5),
            records: Some(3),
            repaired: true,
        };
        let position = Finding { kind: FindingKind::Position, stored: None, repaired: false, ..count.clone() };
        Report { users: 7, cold: 1, conversations: 4, divergences: vec![count, position], ..Report::default() }
    }

    #[test]
    fn a_report_as_text_names_each_divergence_and_the_totals() {
        let expected = "\
divergence  count  user 00000000-0000-0000-0000-000000000001  conversation 00000000-0000-0000-0000-000000000002  stored 5, records 3, repaired
divergence  position  user 00000000-0000-0000-0000-000000000001  conversation 00000000-0000-0000-0000-000000000002  stored nothing, records 3
7 users compared, 1 without counters
4 last messages compared, 0 not cached
2 divergences, 0 pending, 0 inconclusive, 1 repaired";
        assert_eq!(text(&report(), true), expected);
    }

    #[test]
    fn a_user_whose_keys_cannot_be_read_is_listed_without_numbers() {
        let finding = Finding {
            kind: FindingKind::Unreadable,
            user: Some(UserId::from_u128(1)),
            conversation: None,
            stored: None,
            records: None,
            repaired: false,
        };
        let found = Report { divergences: vec![finding], ..Report::default() };
        let line =
            "divergence  unreadable  user 00000000-0000-0000-0000-000000000001  a key holds a value of another type\n";
        assert!(text(&found, true).starts_with(line) && !is_clean(&found), "{}", text(&found, true));
    }

    #[test]
    fn what_cannot_be_announced_is_listed_and_no_success() {
        let change = UnannouncedItem {
            kind: UnannouncedKind::Change,
            conversation: Some(ConversationId::from_u128(2)),
            seq: Some(Seq(7)),
            user: None,
            other: None,
            since: Timestamp(1_790_000_000_123),
            attempts: 4,
        };
        let user = Some(UserId::from_u128(1));
        let member = UnannouncedItem { kind: UnannouncedKind::Membership, seq: None, user, ..change.clone() };
        let other = Some(UserId::from_u128(3));
        let contact = UnannouncedItem { kind: UnannouncedKind::Contact, conversation: None, other, ..member.clone() };
        let stuck = Report { unannounced: vec![change, member, contact], ..Report::default() };
        let expected = "\
cannot be announced  change  conversation 00000000-0000-0000-0000-000000000002  number 7  since 2026-09-21T14:13:20.123Z, 4 attempts
cannot be announced  membership  conversation 00000000-0000-0000-0000-000000000002  user 00000000-0000-0000-0000-000000000001  since 2026-09-21T14:13:20.123Z, 4 attempts
cannot be announced  contact  user 00000000-0000-0000-0000-000000000001  other 00000000-0000-0000-0000-000000000003  since 2026-09-21T14:13:20.123Z, 4 attempts
0 users compared, 0 without counters
0 last messages compared, 0 not cached
0 divergences, 0 pending, 0 inconclusive
3 announcements keep failing; the host's log says why";
        assert_eq!(text(&stuck, false), expected);
        assert!(text(&stuck, true).ends_with("3 announcements keep failing; each is tried again at once"));
        assert!(
            metrics(&stuck).ends_with("\nroost_unannounced 3") && !is_clean(&stuck) && is_clean(&Report::default())
        );
        assert!(!is_clean(&report()), "one of the divergences is not repaired");
    }

    #[test]
    fn a_report_as_metrics_counts_divergences() {
        let text = metrics(&report());
        assert!(text.contains("roost_drift{what=\"count\",repaired=\"true\"} 1\n"), "{text}");
        assert!(text.contains("\nroost_verified_users 7\n"), "{text}");
    }
}
