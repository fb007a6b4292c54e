//! Ada and Ben: two people whom every development host knows. They are contacts of each other and have a conversation,
//! so that a newcomer sees presence, a message and a counter at once.

use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Context;
use roost_core::ids::{ConversationId, UserId};
use roost_core::port::{NewConversation, Records, RecordsError};
use roost_core::time::Timestamp;

use crate::records::RecordStore;

pub(super) const ADA: UserId = UserId::from_u128(0xada0_0000_0000_4000_8000_0000_0000_0ada);
pub(super) const BEN: UserId = UserId::from_u128(0xbe40_0000_0000_4000_8000_0000_0000_0be4);
/// Where the two talk.
pub(super) const TALK: ConversationId = ConversationId::from_u128(0xc0ff_ee00_0000_4000_8000_0000_0000_0001);

/// Makes them known, if they are not.
pub(super) async fn introduce(records: &RecordStore) -> anyhow::Result<()> {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let at = Timestamp(u64::try_from(since.as_millis()).unwrap_or(u64::MAX));
    let introduced = async {
        records.add_contact(ADA, BEN).await?;
        records.add_contact(BEN, ADA).await?;
        let talk = NewConversation { id: Some(TALK), creator: ADA, members: vec![ADA, BEN], at };
        match records.create_conversation(talk).await {
            // Somebody has tried out blocks or members; that stays as it is.
            Err(RecordsError::Conflict(_) | RecordsError::Blocked) | Ok(_) => Ok(()),
            Err(error) => Err(error),
        }
    };
    introduced.await.context("Ada and Ben cannot be introduced")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{RecordsUrl, SqliteLocation};

    #[tokio::test]
    async fn introducing_twice_changes_nothing() {
        let records = RecordStore::open(&RecordsUrl::Sqlite(SqliteLocation::Memory)).await.unwrap();
        introduce(&records).await.unwrap();
        introduce(&records).await.unwrap();
        let audience = records.audience(vec![ADA, BEN]).await.unwrap();
        assert_eq!(audience[0].visible, [BEN]);
        assert_eq!(audience[1].visible, [ADA]);
        assert_eq!(records.membership(TALK, BEN).await.unwrap().members, [ADA, BEN]);
    }
}
