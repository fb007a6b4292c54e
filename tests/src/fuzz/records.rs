//! Targets for the records and for keys: page cursors, answers of a records backend, structured keys.

use std::sync::OnceLock;

use roost::config::{RecordsUrl, SqliteLocation};
use roost::records::{RecordStore, wire};
use roost_core::ids::{ConversationId, MessageId, UserId};
use roost_core::key::{Key, Owner, Space};
use roost_core::limits::NAME_BYTES_MAX;
use roost_core::port::{self, ConversationQuery, NewConversation, Records, RecordsError};
use roost_core::time::Timestamp;
use serde::de::DeserializeOwned;

use super::{runtime, text};

const CONVERSATIONS: u128 = 3;

/// Records with a few conversations of the user 1.
fn records() -> &'static RecordStore {
    static RECORDS: OnceLock<RecordStore> = OnceLock::new();
    RECORDS.get_or_init(|| {
        runtime().block_on(async {
            let records = RecordStore::open(&RecordsUrl::Sqlite(SqliteLocation::Memory)).await.expect("records open");
            for number in 1..=CONVERSATIONS {
                let (id, creator) = (ConversationId::from_u128(number), UserId::from_u128(1));
                let at = Timestamp(1_790_000_000_000 + number as u64);
                let members = vec![creator, UserId::from_u128(2)];
                let new = NewConversation { id: Some(id), creator, members, at };
                records.create_conversation(new).await.expect("a conversation is created");
            }
            records
        })
    })
}

/// The cursor of a page of conversations.
pub(super) fn page_cursor(input: &[u8]) {
    let text = text(input);
    let page = ConversationQuery::Page { cursor: Some(text.clone()), limit: 10 };
    match runtime().block_on(records().conversations(UserId::from_u128(1), page)) {
        Ok(found) => assert!(found.conversations.len() <= CONVERSATIONS as usize, "{text}"),
        Err(error) => assert!(matches!(error, RecordsError::Invalid(_)), "{text}: {error}"),
    }
}

/// Parses an answer; if that succeeds, its conversion into the port's type must not panic.
fn convert<W: DeserializeOwned, P: From<W>>(input: &[u8]) {
    if let Ok(parsed) = serde_json::from_slice::<W>(input) {
        drop(P::from(parsed));
    }
}

/// The body of an answer of a records backend, parsed as each kind of answer.
pub(super) fn records_answer(input: &[u8]) {
    convert::<wire::Changed, port::Changed>(input);
    convert::<wire::Created, port::Created>(input);
    convert::<wire::ConversationPage, port::ConversationPage>(input);
    convert::<wire::HistoryPage, port::HistoryPage>(input);
    convert::<wire::Membership, port::Membership>(input);
    convert::<wire::ReadMark, port::ReadMark>(input);
    convert::<wire::Pending, port::Pending>(input);
    convert::<wire::Document, port::Document>(input);
    drop(serde_json::from_slice::<wire::UnreadSnapshots>(input));
    drop(serde_json::from_slice::<wire::ChangeLists>(input));
    drop(serde_json::from_slice::<wire::Messages>(input));
    drop(serde_json::from_slice::<wire::Users>(input));
    drop(serde_json::from_slice::<wire::Documents>(input));
    drop(serde_json::from_slice::<wire::DocumentNames>(input));
    drop(serde_json::from_slice::<wire::Greeting>(input));
    drop(serde_json::from_slice::<wire::Problem>(input));
}

/// A structured key: a byte for the space, a byte for the kind of owner, 16 bytes of its id, and the item as text.
pub(super) fn structured_key(input: &[u8]) {
    let Some((head, item)) = input.split_first_chunk::<18>() else { return };
    let [space, kind, id @ ..] = head;
    let space = Space::ALL[usize::from(*space) % Space::ALL.len()];
    let id = u128::from_be_bytes(*id);
    let conversation = ConversationId::from_u128(id);
    let owner = match kind % 4 {
        0 => Owner::User(UserId::from_u128(id)),
        1 => Owner::Conversation(conversation),
        2 => Owner::Shard(id as u32),
        _ => Owner::Message { conversation, message: MessageId::from_u128(!id) },
    };
    let item = (!item.is_empty()).then(|| text(item));
    let function = (space == Space::App).then(|| "polls".into());
    let key = Key { space, owner, function, item };
    if key.validate().is_ok() {
        let written = key.physical();
        assert!(written.bytes().all(|b| b.is_ascii_graphic() && b != b'{' && b != b'}'), "{written}");
        assert!(written.len() <= 128 + 3 * NAME_BYTES_MAX, "{written}");
        assert_eq!(key.physical_in_cluster().replace(['{', '}'], ""), written);
    }
}
