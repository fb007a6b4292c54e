//! Ada and Ben: two users that every development host has. They are contacts of each other and have a conversation, so
//! that presence, messages and counters can be tried at once.

use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Context;
use roost_core::ids::{ConversationId, UserId};
use roost_core::port::{NewConversation, Records, RecordsError};
use roost_core::time::Timestamp;

use crate::records::RecordStore;

pub(super) const ADA: UserId = UserId::from_u128(0xada0_0000_0000_4000_8000_0000_0000_0ada);
pub(super) const BEN: UserId = UserId::from_u128(0xbe40_0000_0000_4000_8000_0000_0000_0be4);
/// The conversation of the two.
pub(super) const CONVERSATION: ConversationId = ConversationId::from_u128(0xc0ff_ee00_0000_4000_8000_0000_0000_0001);

/// Creates the users and their conversation, unless they exist.
pub(super) async fn create(records: &RecordStore) -> anyhow::Result<()> {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let at = Timestamp(u64::try_from(since.as_millis()).unwrap_or(u64::MAX));
    let created = async {
        records.add_contact(ADA, BEN).await?;
        records.add_contact(BEN, ADA).await?;
        let new = NewConversation { id: Some(CONVERSATION), creator: ADA, members: vec![ADA, BEN], at };
        match records.create_conversation(new).await {
            // A developer has changed blocks or members; that is kept.
            Err(RecordsError::Conflict(_) | RecordsError::Blocked) | Ok(_) => Ok(()),
            Err(error) => Err(error),
        }
    };
    created.await.context("the users Ada and Ben cannot be created")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{RecordsUrl, SqliteLocation};

    #[tokio::test]
    async fn creating_the_users_twice_changes_nothing() {
        let records = RecordStore::open(&RecordsUrl::Sqlite(SqliteLocation::Memory)).await.unwrap();
        create(&records).await.unwrap();
        create(&records).await.unwrap();
        let audience = records.audience(vec![ADA, BEN]).await.unwrap();
        assert_eq!(audience[0].visible, [BEN]);
        assert_eq!(audience[1].visible, [ADA]);
        assert_eq!(records.membership(CONVERSATION, BEN).await.unwrap().members, [ADA, BEN]);
    }
}
