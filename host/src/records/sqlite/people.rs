//! Who has added and who has blocked whom.

use std::collections::BTreeMap;

use roost_core::ids::UserId;
use roost_core::port::{ContactAudience, records_bounds as bounds};
use sqlx::SqliteConnection;

use super::fault::Stored;
use super::rows::{Id, Read, list, read_id, read_list};
use super::statements::{ADD_CONTACT, AUDIENCE, BLOCK, BLOCK_COUNT, CONTACT_COUNT, CONTACTS, REMOVE_CONTACT, UNBLOCK};

/// A directed relation between users.
#[derive(Clone, Copy, Debug)]
pub(super) struct Relation {
    count: &'static str,
    add: &'static str,
    remove: &'static str,
}

pub(super) const ADDED: Relation = Relation { count: CONTACT_COUNT, add: ADD_CONTACT, remove: REMOVE_CONTACT };
pub(super) const BLOCKED: Relation = Relation { count: BLOCK_COUNT, add: BLOCK, remove: UNBLOCK };

impl Relation {
    pub(super) async fn add(self, connection: &mut SqliteConnection, user: UserId, other: UserId) -> Stored<()> {
        let (count, there): (i64, bool) =
            sqlx::query_as(self.count).bind(user.blob()).bind(other.blob()).fetch_one(&mut *connection).await?;
        if !there {
            bounds::contact_count(usize::try_from(count).unwrap_or(usize::MAX).saturating_add(1))?;
            sqlx::query(self.add).bind(user.blob()).bind(other.blob()).execute(connection).await?;
        }
        Ok(())
    }

    pub(super) async fn remove(self, connection: &mut SqliteConnection, user: UserId, other: UserId) -> Stored<()> {
        sqlx::query(self.remove).bind(user.blob()).bind(other.blob()).execute(connection).await?;
        Ok(())
    }
}

pub(super) async fn contacts(connection: &mut SqliteConnection, user: UserId) -> Stored<Vec<UserId>> {
    let row = sqlx::query(CONTACTS).bind(user.blob()).fetch_one(connection).await?;
    Ok(read_list(&row, 0)?)
}

pub(super) async fn audience(connection: &mut SqliteConnection, users: Vec<UserId>) -> Stored<Vec<ContactAudience>> {
    let rows = sqlx::query(AUDIENCE).bind(list(&users)).fetch_all(connection).await?;
    let found = rows
        .iter()
        .map(|row| Ok((read_id(row, 0)?, read_list(row, 1)?)))
        .collect::<Read<BTreeMap<UserId, Vec<UserId>>>>()?;
    let audience = |user| ContactAudience { user, visible: found.get(&user).cloned().unwrap_or_default() };
    Ok(users.into_iter().map(audience).collect())
}
