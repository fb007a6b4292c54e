//! Lists the announcements that recovery has tried in vain several times, and lets it try them at once.

use crate::consistency::{FINDINGS_MAX, Report, UnannouncedItem, UnannouncedKind};
use crate::error::Error;
use crate::limits::{LIST_MAX, RECOVERY_ATTEMPTS_REPORTED};
use crate::port::{PendingId, PendingItem, PendingQuery, Postponement, World};
use crate::time::Timestamp;

/// The number of pages that are read. Items beyond them are not counted.
const PAGES_MAX: usize = 200;

/// Reports every item that cannot be announced. With `try_again`, recovery tries all of them within a few seconds.
pub(super) async fn list<W: World>(world: &W, try_again: bool) -> Result<Report, Error> {
    let mut report = Report::default();
    let mut query = PendingQuery::tried(Timestamp(u64::MAX));
    let mut found = Vec::new();
    for _ in 0..PAGES_MAX {
        let page = world.pending(query.clone()).await?;
        found.extend(page.items.iter().filter(|item| item.attempts >= RECOVERY_ATTEMPTS_REPORTED).map(unannounced));
        query.cursor = page.next;
        if query.cursor.is_none() {
            break;
        }
    }
    if try_again {
        for chunk in found.chunks(LIST_MAX) {
            world.postpone(chunk.iter().filter_map(|item| due_now(item, world.now())).collect()).await?;
        }
    }
    report.unlisted = found.len().saturating_sub(FINDINGS_MAX) as u64;
    found.truncate(FINDINGS_MAX);
    report.unannounced = found;
    Ok(report)
}

fn unannounced(item: &PendingItem) -> UnannouncedItem {
    let new = UnannouncedItem {
        kind: UnannouncedKind::Change,
        conversation: None,
        seq: None,
        user: None,
        other: None,
        since: item.since,
        attempts: item.attempts,
    };
    let about = |kind, conversation| UnannouncedItem { kind, conversation: Some(conversation), ..new.clone() };
    match PendingId::from(&item.pending) {
        PendingId::Change(conversation, seq) => {
            UnannouncedItem { seq: Some(seq), ..about(UnannouncedKind::Change, conversation) }
        }
        PendingId::Member(conversation, user) => {
            UnannouncedItem { user: Some(user), ..about(UnannouncedKind::Position, conversation) }
        }
        PendingId::Membership(conversation, user) => {
            UnannouncedItem { user: Some(user), ..about(UnannouncedKind::Membership, conversation) }
        }
        PendingId::Creation(conversation) => about(UnannouncedKind::Creation, conversation),
        PendingId::Contact(user, other) => {
            UnannouncedItem { kind: UnannouncedKind::Contact, user: Some(user), other: Some(other), ..new }
        }
    }
}

/// The item that was listed; `None` if its parts are missing.
fn listed(item: &UnannouncedItem) -> Option<PendingId> {
    let (conversation, user) = (|| item.conversation, || item.user);
    Some(match item.kind {
        UnannouncedKind::Change => PendingId::Change(conversation()?, item.seq?),
        UnannouncedKind::Position => PendingId::Member(conversation()?, user()?),
        UnannouncedKind::Membership => PendingId::Membership(conversation()?, user()?),
        UnannouncedKind::Creation => PendingId::Creation(conversation()?),
        UnannouncedKind::Contact => PendingId::Contact(user()?, item.other?),
    })
}

/// Recovery tries the item next. Its attempts remain, so that it is not taken for one that was never tried.
fn due_now(item: &UnannouncedItem, now: Timestamp) -> Option<Postponement> {
    Some(Postponement { item: listed(item)?, attempts: item.attempts, next_time: now })
}
