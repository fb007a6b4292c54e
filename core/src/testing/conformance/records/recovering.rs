//! The outbox as recovery walks through it: pages, and items that were tried before.

use super::{ANN, AT, BOB, CAT, DAN, LATER, NOWHERE, Subject, by_service, draft_as};
use crate::ids::{ConversationId, Seq};
use crate::port::{
    Confirmation, Draft, MemberChange, PendingId, PendingItem, PendingQuery, Postponement, Records, RecordsError,
};
use crate::time::Timestamp;

/// The identities of what the query answers, with the attempts.
async fn ids<R: Records>(subject: &Subject<R>, query: PendingQuery) -> Vec<(PendingId, u32)> {
    let page = subject.pending(query).await.unwrap();
    page.items.iter().map(|item| (PendingId::from(&item.pending), item.attempts)).collect()
}

async fn untried<R: Records>(subject: &Subject<R>) -> Vec<(PendingId, u32)> {
    ids(subject, PendingQuery::untried(LATER)).await
}

async fn tried<R: Records>(subject: &Subject<R>, before: Timestamp) -> Vec<(PendingId, u32)> {
    ids(subject, PendingQuery::tried(before)).await
}

/// All pages of the query, each with at most two items.
async fn walk<R: Records>(subject: &Subject<R>, mut query: PendingQuery) -> Vec<PendingItem> {
    query.limit = 2;
    let mut all = Vec::new();
    for _ in 0..20 {
        let page = subject.pending(query.clone()).await.unwrap();
        assert!(page.items.len() <= 2, "{page:?}");
        all.extend(page.items);
        query.cursor = page.next;
        if query.cursor.is_none() {
            return all;
        }
    }
    panic!("the walk does not end: {all:?}");
}

async fn postpone<R: Records>(subject: &Subject<R>, item: PendingId, attempts: u32, next_time: Timestamp) {
    subject.postpone(vec![Postponement { item, attempts, next_time }]).await.unwrap();
}

const fn change(conversation: ConversationId, seq: u64) -> PendingId {
    PendingId::Change(conversation, Seq(seq))
}

/// Changes and members, some of them stored at the same time.
async fn fill<R: Records>(subject: &Subject<R>) -> Vec<PendingId> {
    let mut items = Vec::new();
    for (number, time) in [(1, 30), (2, 10), (3, 20), (4, 20)] {
        let conversation = subject.create(&[ANN, BOB]).await;
        let draft = Draft { at: AT.plus(time), ..draft_as(number, conversation, ANN, "hello") };
        subject.append_message(draft).await.unwrap();
        subject.add_member(MemberChange { at: AT.plus(time), ..by_service(conversation, CAT) }).await.unwrap();
        items.extend([change(conversation, 1), PendingId::Membership(conversation, CAT)]);
    }
    items.sort_unstable();
    items
}

/// Every item is answered once, in an order that is the same as without pages.
pub async fn a_walk_through_the_outbox_answers_every_item_once<R: Records>(subject: &Subject<R>) {
    let items = fill(subject).await;
    let whole = subject.pending(PendingQuery::untried(LATER)).await.unwrap().items;
    assert!(whole.is_sorted_by_key(|item| item.since), "{whole:?}");
    assert_eq!(walk(subject, PendingQuery::untried(LATER)).await, whole);
    let mut walked: Vec<PendingId> = whole.iter().map(|item| PendingId::from(&item.pending)).collect();
    walked.sort_unstable();
    assert_eq!(walked, items);
    assert_eq!(walk(subject, PendingQuery::untried(AT.plus(20))).await, whole[..2]);

    for (index, item) in items.iter().enumerate() {
        postpone(subject, *item, 1, AT.plus(100 + index as u64 % 3)).await;
    }
    let whole = subject.pending(PendingQuery::tried(LATER)).await.unwrap().items;
    assert_eq!((walk(subject, PendingQuery::tried(LATER)).await, whole.len()), (whole, items.len()));
    assert!(walk(subject, PendingQuery::untried(LATER)).await.is_empty());
}

/// An item that recovery notes during its walk as tried does not make the walk lose or repeat another.
pub async fn tried_items_are_answered_by_their_next_time<R: Records>(subject: &Subject<R>) {
    let conversation = subject.create(&[ANN, BOB]).await;
    for _ in 0..3 {
        subject.send(conversation, ANN, "hello").await;
    }
    let member = PendingId::Membership(conversation, CAT);
    subject.add_member(by_service(conversation, CAT)).await.unwrap();
    let first = PendingQuery { limit: 1, ..PendingQuery::untried(LATER) };
    let page = subject.pending(first.clone()).await.unwrap();
    assert_eq!(PendingId::from(&page.items[0].pending), change(conversation, 1));
    postpone(subject, change(conversation, 1), 3, AT.plus(20)).await;
    let second = ids(subject, PendingQuery { cursor: page.next, ..first }).await;
    assert_eq!(second, [(change(conversation, 2), 0)]);

    postpone(subject, member, 1, AT.plus(10)).await;
    postpone(subject, change(conversation, 3), 9, AT.plus(30)).await;
    assert_eq!(untried(subject).await, [(change(conversation, 2), 0)]);
    let all = [(member, 1), (change(conversation, 1), 3), (change(conversation, 3), 9)];
    assert_eq!(tried(subject, LATER).await, all);
    assert_eq!(tried(subject, AT.plus(30)).await, all[..2]);
    assert_eq!(tried(subject, AT.plus(10)).await, []);
    postpone(subject, member, 2, AT.plus(40)).await;
    assert_eq!(tried(subject, LATER).await, [all[1], all[2], (member, 2)]);
    let since = subject.pending(PendingQuery::tried(LATER)).await.unwrap().items[0].since;
    assert_eq!(since, AT, "postponing leaves the time at which an item was stored");
}

/// Zero attempts make an item one that was never tried, in its old place.
pub async fn an_item_that_is_put_back_is_as_it_was<R: Records>(subject: &Subject<R>) {
    let items = fill(subject).await;
    let before = subject.pending(PendingQuery::untried(LATER)).await.unwrap();
    for item in &items {
        postpone(subject, *item, 1, AT.plus(1_000)).await;
    }
    let back = |item: &PendingId| Postponement { item: *item, attempts: 0, next_time: AT.plus(2_000) };
    subject.postpone(items.iter().map(back).collect()).await.unwrap();
    assert_eq!(subject.pending(PendingQuery::untried(LATER)).await.unwrap(), before);
    assert!(tried(subject, LATER).await.is_empty());
}

/// Confirmations do not depend on whether recovery has tried an item.
pub async fn a_confirmation_removes_a_tried_item<R: Records>(subject: &Subject<R>) {
    let conversation = subject.create(&[ANN, BOB]).await;
    subject.send(conversation, ANN, "hello").await;
    subject.read_to(BOB, conversation, 1).await;
    let member = PendingId::Member(conversation, BOB);
    for item in [change(conversation, 1), member] {
        postpone(subject, item, 4, AT.plus(5)).await;
    }
    let confirmations = vec![Confirmation::Change(conversation, Seq(1)), Confirmation::Member(conversation, BOB, 1)];
    subject.announced(confirmations).await.unwrap();
    subject.flush().await;
    assert!(tried(subject, LATER).await.is_empty() && untried(subject).await.is_empty());
    // A later move begins anew.
    subject.send(conversation, ANN, "again").await;
    subject.read_to(BOB, conversation, 2).await;
    let mut again = untried(subject).await;
    again.sort_unstable();
    assert_eq!(again, [(change(conversation, 2), 0), (member, 0)]);
}

/// A member remains one item. Its next move does not make recovery try what keeps failing.
pub async fn a_further_move_of_a_tried_member_keeps_its_attempts<R: Records>(subject: &Subject<R>) {
    let conversation = subject.create(&[ANN, BOB]).await;
    for _ in 0..2 {
        subject.send(conversation, ANN, "hello").await;
    }
    let member = PendingId::Member(conversation, BOB);
    subject.read_to(BOB, conversation, 1).await;
    postpone(subject, member, 4, AT.plus(5)).await;
    subject.read_to(BOB, conversation, 2).await;
    assert_eq!(tried(subject, LATER).await, [(member, 4)]);
    subject.announced(vec![Confirmation::Member(conversation, BOB, 1)]).await.unwrap();
    subject.flush().await;
    assert_eq!(tried(subject, LATER).await, [(member, 4)]);
}

/// The counter's `announced` stops below a tried change.
pub async fn a_tried_item_is_not_announced<R: Records>(subject: &Subject<R>) {
    let conversation = subject.create(&[ANN, BOB]).await;
    for _ in 0..2 {
        subject.send(conversation, ANN, "hello").await;
    }
    postpone(subject, change(conversation, 1), 1, AT.plus(5)).await;
    subject.announced(vec![Confirmation::Change(conversation, Seq(2))]).await.unwrap();
    subject.flush().await;
    assert_eq!(subject.counter(BOB, conversation).await.announced, Seq(0));
}

/// Unknown items are ignored, and nothing becomes pending.
pub async fn postponing_what_is_not_pending_is_harmless<R: Records>(subject: &Subject<R>) {
    let conversation = subject.create(&[ANN, BOB]).await;
    for item in [
        change(NOWHERE, 1),
        change(conversation, 1),
        change(conversation, u64::MAX),
        PendingId::Member(conversation, BOB),
        PendingId::Member(NOWHERE, DAN),
    ] {
        postpone(subject, item, 1, AT).await;
    }
    subject.postpone(Vec::new()).await.unwrap();
    assert!(tried(subject, LATER).await.is_empty() && untried(subject).await.is_empty());
    let late = Postponement { item: change(conversation, 1), attempts: 1, next_time: LATER.plus(1) };
    assert!(matches!(subject.postpone(vec![late]).await, Err(RecordsError::Invalid(_))));
}

/// As every list.
pub async fn at_most_500_items_are_postponed_in_one_call<R: Records>(subject: &Subject<R>) {
    let postponement = Postponement { item: change(NOWHERE, 1), attempts: 1, next_time: AT };
    subject.postpone(vec![postponement; 500]).await.unwrap();
    assert!(matches!(subject.postpone(vec![postponement; 501]).await, Err(RecordsError::TooLarge(_))));
}

/// As for the pages of conversations.
pub async fn text_that_is_no_cursor_of_the_outbox_is_refused<R: Records>(subject: &Subject<R>) {
    for tried in [false, true] {
        let cursor = Some("anything".to_owned());
        let query = PendingQuery { tried, cursor, ..PendingQuery::untried(LATER) };
        assert!(matches!(subject.pending(query).await, Err(RecordsError::Invalid(_))));
    }
}
