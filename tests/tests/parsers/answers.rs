//! Answers about anything that may be stored: whatever sizes, escapes and members a legal state has, every page, `sync`
//! and the counters of `hello` can be answered, fit into their bounds, and go on to the last entry.
//!
//! The states are made up at the bounds, in the fakes of the core: one of a few contents, members and numbers each.

use std::collections::{BTreeMap, BTreeSet};

use proptest::collection::vec;
use proptest::prelude::*;
use roost_core::event::{MessageView, presence_list};
use roost_core::ids::{ConversationId, UserId};
use roost_core::limits::{
    CONTACTS_MAX, CONTENT_BYTES_MAX, LIST_MAX, MEMBERS_MAX, MEMBERS_SHOWN_MAX, PAGE_BYTES_MAX, PAGE_MAX,
    SYNC_PART_BYTES_MAX,
};
use roost_core::messaging::{self, InboxEntry, InboxPage};
use roost_core::port::{Clock, ConversationQuery, Draft, HistoryQuery, MembersQuery, NewConversation, Records};
use roost_core::presence::{self, Viewer};
use roost_core::testing::{FakeWorld, block_on};
use roost_core::{contacts, unread};
use serde_json::{Value, json};

const READER: UserId = UserId::from_u128(1);
const WRITER: UserId = UserId::from_u128(u128::MAX);
/// What all parts of one answer may take together: a frame for a socket's outbox.
const ANSWER_BYTES_MAX: usize = 1 << 20;

#[derive(Clone, Debug)]
struct Group {
    others: usize,
    /// The contents of the messages, oldest first.
    contents: Vec<usize>,
}

/// The longest content, of characters that take one, two and six bytes in JSON, and short ones.
fn content(kind: usize) -> String {
    match kind {
        0 => "x".repeat(CONTENT_BYTES_MAX),
        1 => "\"".repeat(CONTENT_BYTES_MAX),
        2 => "\u{1}".repeat(CONTENT_BYTES_MAX),
        3 => "\u{1f408}".repeat(CONTENT_BYTES_MAX / 4),
        _ => "short".to_owned(),
    }
}

fn group() -> impl Strategy<Value = Group> {
    let others = prop_oneof![
        4 => 1..MEMBERS_SHOWN_MAX + 2,
        1 => Just(MEMBERS_MAX - 1),
    ];
    let contents = prop_oneof![3 => vec(0..6_usize, 0..4), 1 => vec(0..3_usize, 20..120)];
    (others, contents).prop_map(|(others, contents)| Group { others, contents })
}

fn state() -> impl Strategy<Value = Vec<Group>> {
    prop_oneof![2 => vec(group(), 1..6), 1 => vec((1..3_usize).prop_map(|kind| Group { others: 1, contents: vec![kind] }), 1..140)]
}

fn id(number: usize) -> ConversationId {
    ConversationId::from_u128(number as u128)
}

fn world(groups: &[Group]) -> FakeWorld {
    let world = FakeWorld::new();
    for (number, Group { others, contents }) in groups.iter().enumerate() {
        let mut members: Vec<UserId> = (2..).take(others - 1).map(UserId::from_u128).collect();
        members.push(READER);
        let at = world.now().plus(number as u64);
        let new = NewConversation { id: Some(id(number)), creator: WRITER, members, at };
        block_on(messaging::create(&world, new)).unwrap();
        for kind in contents {
            let conversation = id(number);
            let content = content(*kind);
            let draft = Draft { conversation, sender: WRITER, id: None, kind: "text".into(), content, at: world.now() };
            // Past the use case, which would announce each message to everybody; the counters are filled when they are
            // asked.
            block_on(world.append_message(draft)).unwrap();
        }
    }
    world
}

fn entry(entry: &InboxEntry) -> Value {
    json!(entry.view())
}

fn page_bytes(page: &InboxPage) -> usize {
    let entries: Vec<Value> = page.conversations.iter().map(entry).collect();
    json!({ "conversations": entries, "next_cursor": page.next }).to_string().len()
}

/// All conversations from this cursor on; every page fits and has at least one.
fn conversations(world: &FakeWorld, mut cursor: Option<String>) -> Vec<ConversationId> {
    let mut found = Vec::new();
    loop {
        let query = ConversationQuery::Page { cursor: cursor.clone(), limit: PAGE_MAX };
        let page = block_on(messaging::inbox(world, READER, query)).unwrap().value;
        assert!(page_bytes(&page) <= PAGE_BYTES_MAX, "{} bytes", page_bytes(&page));
        assert!(page.conversations.iter().all(|entry| entry.members.len() <= MEMBERS_SHOWN_MAX));
        found.extend(page.conversations.iter().map(|entry| entry.id));
        cursor = page.next;
        if cursor.is_none() {
            return found;
        }
        assert!(!page.conversations.is_empty());
    }
}

fn history_is_complete(world: &FakeWorld, conversation: ConversationId, messages: usize) {
    let (mut found, mut before) = (BTreeSet::new(), None);
    loop {
        let query = HistoryQuery { user: READER, conversation, before, limit: PAGE_MAX };
        let page = block_on(messaging::history(world, query)).unwrap();
        let views: Vec<MessageView<'_>> = page.messages.iter().map(MessageView::from).collect();
        let bytes = json!({ "messages": views, "next_before": page.next_before }).to_string().len();
        assert!(bytes <= PAGE_BYTES_MAX, "{bytes} bytes");
        found.extend(page.messages.iter().map(|message| message.seq));
        before = page.next_before;
        if before.is_none() {
            break;
        }
        assert!(!page.messages.is_empty());
    }
    assert_eq!(found.len(), messages);
}

fn members_are_complete(world: &FakeWorld, conversation: ConversationId, members: usize) {
    let (mut found, mut after) = (BTreeSet::new(), None);
    loop {
        let query = MembersQuery { conversation, actor: Some(READER), after, limit: PAGE_MAX };
        let page = block_on(messaging::members(world, query)).unwrap();
        found.extend(page.members.iter().map(|member| member.user));
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(found.len(), members);
}

/// Everything that `sync` and `hello` consist of, beside the missed events.
fn sync_bytes(world: &FakeWorld, named: Option<Vec<ConversationId>>) -> (usize, InboxPage) {
    let page = block_on(messaging::sync(world, READER, named)).unwrap().value;
    assert!(page_bytes(&page) <= SYNC_PART_BYTES_MAX, "{} bytes", page_bytes(&page));
    let counters = unread::page(block_on(unread::totals(world, READER)).unwrap().value, None);
    let named: BTreeMap<_, _> = counters.conversations;
    let counters = json!({ "total": counters.total, "conversations": named, "next_cursor": counters.next }).to_string();
    let presence = presence_list(&block_on(presence::of_contacts(world, READER)).unwrap()).unwrap();
    (page_bytes(&page) + counters.len() + presence.len(), page)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_legal_state_can_be_asked_for(groups in state()) {
        let world = world(&groups);
        let all = conversations(&world, None);
        prop_assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), groups.len());
        prop_assert_eq!(all.len(), groups.len());
        for (number, group) in groups.iter().enumerate() {
            history_is_complete(&world, id(number), group.contents.len());
            members_are_complete(&world, id(number), group.others + 1);
        }
        for named in [None, Some(all.clone())] {
            let (bytes, page) = sync_bytes(&world, named);
            prop_assert!(bytes + SYNC_PART_BYTES_MAX <= ANSWER_BYTES_MAX, "{} bytes beside the events", bytes);
            let shown: Vec<_> = page.conversations.iter().map(|entry| entry.id).collect();
            let rest = page.next.map(|cursor| conversations(&world, Some(cursor))).unwrap_or_default();
            let reached: BTreeSet<_> = shown.iter().chain(&rest).collect();
            prop_assert_eq!(reached.len(), groups.len(), "the cursor goes on to the last one");
        }
        block_on(unread::forget(&world, READER)).unwrap();
        let totals = block_on(unread::totals(&world, READER)).unwrap().value;
        let sent: usize = groups.iter().map(|group| group.contents.len()).sum();
        prop_assert_eq!(totals.total, sent as u64);
    }
}

/// Lists of a bounded length need no cursor: the longest one fits into a page.
#[test]
fn the_longest_lists_of_contacts_blocks_and_presence_fit_into_a_page() {
    let world = FakeWorld::new();
    for number in 2..CONTACTS_MAX as u128 + 2 {
        let contact = UserId::from_u128(number);
        block_on(contacts::add(&world, READER, contact)).unwrap();
        block_on(contacts::add(&world, contact, READER)).unwrap();
        block_on(presence::heartbeat(&world, &[(contact, "phone".parse().unwrap())])).unwrap();
    }
    for number in 0..CONTACTS_MAX as u128 {
        block_on(contacts::block(&world, READER, UserId::from_u128(u128::MAX - number))).unwrap();
    }
    let list = json!({ "contacts": block_on(contacts::list(&world, READER)).unwrap() }).to_string();
    let blocked = json!({ "blocked": block_on(contacts::blocked(&world, READER)).unwrap() }).to_string();
    let presence = presence_list(&block_on(presence::of_contacts(&world, READER)).unwrap()).unwrap();
    let asked: Vec<UserId> = (2..LIST_MAX as u128 + 2).map(UserId::from_u128).collect();
    let queried = presence_list(&block_on(presence::query(&world, Viewer::User(READER), &asked)).unwrap()).unwrap();
    for bytes in [list.len(), blocked.len(), presence.len(), queried.len()] {
        assert!(bytes > 30_000 && bytes < SYNC_PART_BYTES_MAX, "{bytes} bytes");
    }
}
