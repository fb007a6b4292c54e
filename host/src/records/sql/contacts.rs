//! Contacts and blocks: which users a user has added, and which a user has blocked.

use std::collections::BTreeMap;

use roost_core::ids::UserId;
use roost_core::port::{self, ContactAudience, records_bounds as bounds};

use super::counters::now;
use super::values::{read_id, read_ids, read_number};
use super::{ColumnResult, Columns, QueryResult, SqlConnection, Statements, lock, run};

/// A directed relation between two users.
#[derive(Clone, Copy, Debug)]
pub(super) enum RelationKind {
    Contact,
    Block,
}

impl RelationKind {
    const fn list(self, statements: &Statements) -> &'static str {
        match self {
            Self::Contact => statements.contacts,
            Self::Block => statements.blocks,
        }
    }

    const fn count(self, statements: &Statements) -> &'static str {
        match self {
            Self::Contact => statements.contact_count,
            Self::Block => statements.block_count,
        }
    }

    const fn add(self, statements: &Statements) -> &'static str {
        match self {
            Self::Contact => statements.add_contact,
            Self::Block => statements.block,
        }
    }

    const fn remove(self, statements: &Statements) -> &'static str {
        match self {
            Self::Contact => statements.remove_contact,
            Self::Block => statements.unblock,
        }
    }
}

pub(super) async fn add<C: SqlConnection>(
    sql: &mut C,
    relation: RelationKind,
    user: UserId,
    other: UserId,
) -> QueryResult<()> {
    lock(sql, C::STATEMENTS.lock_user, vec![user.into()]).await?;
    let both = || vec![user.into(), other.into()];
    let rows = sql.rows(relation.count(C::STATEMENTS), both()).await?;
    let row = rows.first().ok_or(sqlx::Error::RowNotFound)?;
    let (count, exists) = (read_number(row, 0)?, row.flag(1)?);
    if exists {
        return Ok(());
    }
    bounds::contact_count(usize::try_from(count).unwrap_or(usize::MAX).saturating_add(1))?;
    if matches!(relation, RelationKind::Block) {
        // Messages between the two that are being stored are stored before the block, and none is stored after it.
        lock(sql, C::STATEMENTS.lock_pair, both()).await?;
        // The same holds for conversations that are being created with both of them.
        lock(sql, C::STATEMENTS.lock_counts, both()).await?;
    }
    run(sql, relation.add(C::STATEMENTS), vec![user.into(), other.into(), now().into()]).await
}

pub(super) async fn remove<C: SqlConnection>(
    sql: &mut C,
    relation: RelationKind,
    user: UserId,
    other: UserId,
) -> QueryResult<()> {
    run(sql, relation.remove(C::STATEMENTS), vec![user.into(), other.into(), now().into()]).await
}

/// What two users have said about each other.
pub(super) async fn relation<C: SqlConnection>(
    sql: &mut C,
    user: UserId,
    other: UserId,
) -> QueryResult<port::Relation> {
    let rows = sql.rows(C::STATEMENTS.relation, vec![user.into(), other.into()]).await?;
    let row = rows.first().ok_or(sqlx::Error::RowNotFound)?;
    Ok(port::Relation {
        contact: row.flag(0)?,
        blocked: row.flag(1)?,
        contact_of: row.flag(2)?,
        blocked_by: row.flag(3)?,
    })
}

/// Whether one of these users has blocked another one of them.
pub(super) async fn is_any_blocked<C: SqlConnection>(sql: &mut C, users: &[UserId]) -> QueryResult<bool> {
    let rows = sql.rows(C::STATEMENTS.is_any_blocked, vec![users.into()]).await?;
    Ok(rows.first().ok_or(sqlx::Error::RowNotFound)?.flag(0)?)
}

/// Whether the user has blocked one of the others, or one of them has blocked the user.
pub(super) async fn is_blocked_with_any<C: SqlConnection>(
    sql: &mut C,
    user: UserId,
    others: &[UserId],
) -> QueryResult<bool> {
    let rows = sql.rows(C::STATEMENTS.is_blocked_with_any, vec![user.into(), others.into()]).await?;
    Ok(rows.first().ok_or(sqlx::Error::RowNotFound)?.flag(0)?)
}

/// The other users of a user's relation, in ascending order.
pub(super) async fn related<C: SqlConnection>(
    sql: &mut C,
    relation: RelationKind,
    user: UserId,
) -> QueryResult<Vec<UserId>> {
    let rows = sql.rows(relation.list(C::STATEMENTS), vec![user.into()]).await?;
    Ok(read_ids(rows.first().ok_or(sqlx::Error::RowNotFound)?, 0)?)
}

pub(super) async fn audience<C: SqlConnection>(sql: &mut C, users: Vec<UserId>) -> QueryResult<Vec<ContactAudience>> {
    let rows = sql.rows(C::STATEMENTS.audience, vec![users.as_slice().into()]).await?;
    let found = rows
        .iter()
        .map(|row| Ok((read_id(row, 0)?, read_ids(row, 1)?)))
        .collect::<ColumnResult<BTreeMap<UserId, Vec<UserId>>>>()?;
    let audience = |user| ContactAudience { user, visible: found.get(&user).cloned().unwrap_or_default() };
    Ok(users.into_iter().map(audience).collect())
}
