//! Lists the announcements that recovery has tried in vain several times, and lets it try them at once.

use crate::consistency::{FINDINGS_MAX, Report, UnannouncedItem};
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
            world.postpone(chunk.iter().map(|item| due_now(item, world.now())).collect()).await?;
        }
    }
    report.unlisted = found.len().saturating_sub(FINDINGS_MAX) as u64;
    found.truncate(FINDINGS_MAX);
    report.unannounced = found;
    Ok(report)
}

fn unannounced(item: &PendingItem) -> UnannouncedItem {
    let id = PendingId::from(&item.pending);
    let (seq, user) = match id {
        PendingId::Change(_, seq) => (Some(seq), None),
        PendingId::Member(_, user) => (None, Some(user)),
    };
    UnannouncedItem { conversation: id.conversation(), seq, user, since: item.since, attempts: item.attempts }
}

/// Recovery tries the item next. Its attempts remain, so that it is not taken for one that was never tried.
fn due_now(item: &UnannouncedItem, now: Timestamp) -> Postponement {
    let id = match item.user {
        Some(user) => PendingId::Member(item.conversation, user),
        None => PendingId::Change(item.conversation, item.seq.unwrap_or_default()),
    };
    Postponement { item: id, attempts: item.attempts, next_time: now }
}
