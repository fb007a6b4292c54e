//! Who has added and who has blocked whom.

use std::collections::BTreeMap;

use roost_core::ids::UserId;
use roost_core::port::{ContactAudience, records_bounds as bounds};

use super::rows::{Columns, Read, read_id, read_ids, read_number};
use super::{Sql, Statements, Stored, lock, run};

/// A directed relation between users.
#[derive(Clone, Copy, Debug)]
pub(super) enum Relation {
    Contact,
    Block,
}

impl Relation {
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

pub(super) async fn add<C: Sql>(sql: &mut C, relation: Relation, user: UserId, other: UserId) -> Stored<()> {
    lock(sql, C::STATEMENTS.lock_user, vec![user.into()]).await?;
    let both = || vec![user.into(), other.into()];
    let rows = sql.rows(relation.count(C::STATEMENTS), both()).await?;
    let row = rows.first().ok_or(sqlx::Error::RowNotFound)?;
    let (count, there) = (read_number(row, 0)?, row.flag(1)?);
    if there {
        return Ok(());
    }
    bounds::contact_count(usize::try_from(count).unwrap_or(usize::MAX).saturating_add(1))?;
    if matches!(relation, Relation::Block) {
        // What is being said between the two is said before the block; nothing is after it.
        lock(sql, C::STATEMENTS.lock_pair, both()).await?;
    }
    run(sql, relation.add(C::STATEMENTS), both()).await
}

pub(super) async fn remove<C: Sql>(sql: &mut C, relation: Relation, user: UserId, other: UserId) -> Stored<()> {
    run(sql, relation.remove(C::STATEMENTS), vec![user.into(), other.into()]).await
}

/// One of the two has blocked the other.
pub(super) async fn apart<C: Sql>(sql: &mut C, one: UserId, other: UserId) -> Stored<bool> {
    let rows = sql.rows(C::STATEMENTS.apart, vec![one.into(), other.into()]).await?;
    Ok(rows.first().ok_or(sqlx::Error::RowNotFound)?.flag(0)?)
}

pub(super) async fn contacts<C: Sql>(sql: &mut C, user: UserId) -> Stored<Vec<UserId>> {
    let rows = sql.rows(C::STATEMENTS.contacts, vec![user.into()]).await?;
    Ok(read_ids(rows.first().ok_or(sqlx::Error::RowNotFound)?, 0)?)
}

pub(super) async fn audience<C: Sql>(sql: &mut C, users: Vec<UserId>) -> Stored<Vec<ContactAudience>> {
    let rows = sql.rows(C::STATEMENTS.audience, vec![users.as_slice().into()]).await?;
    let found = rows
        .iter()
        .map(|row| Ok((read_id(row, 0)?, read_ids(row, 1)?)))
        .collect::<Read<BTreeMap<UserId, Vec<UserId>>>>()?;
    let audience = |user| ContactAudience { user, visible: found.get(&user).cloned().unwrap_or_default() };
    Ok(users.into_iter().map(audience).collect())
}
