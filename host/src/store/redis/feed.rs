//! Feeds as streams of entries.
//!
//! What another process appended is another feed's: after a failover or from a snapshot it may be an older copy.

use redis::{Cmd, Value as Reply, cmd};
use roost_core::feed::Position;
use roost_core::ids::UserId;
use roost_core::key::Owner;
use roost_core::port::{Replay, StoreError};
use roost_core::time::Timestamp;

use super::connections::requests::{Client, Unit};
use super::entry::Entry;
use super::errors;
use super::names::Names;
use super::connections::server::Server;

/// The newest event's position of each user.
pub(super) async fn positions(
    client: &Client,
    names: &Names,
    (users, now): (&[UserId], Timestamp),
) -> Result<Vec<Position>, StoreError> {
    let newest = |user: &UserId| Unit::one(names.slot(Owner::User(*user)), newest(&names.feed(*user)));
    let units: Vec<Unit> = users.iter().map(newest).collect();
    let mut positions = Vec::with_capacity(users.len());
    for (replied, user) in client.ask(&units).await?.into_iter().zip(users) {
        let reply = replied?;
        let session = reply.session.clone();
        let entries = entries(reply.last(), *user)?;
        let entry = entries.into_iter().next().filter(|entry| entry.is_of(&session.server));
        positions.push(entry.map_or_else(|| Position::nowhere(now), |entry| entry.position()));
    }
    Ok(positions)
}

/// Everything after a place, or nothing in part.
pub(super) async fn replay(
    client: &Client,
    names: &Names,
    user: UserId,
    (since, now): (&Position, Timestamp),
) -> Result<Replay, StoreError> {
    let from = match since.nowhere_since() {
        Some(_) if !since.nowhere_is_recent(now) => return Ok(Replay::Gap),
        Some(_) => "-".to_owned(),
        None => match since.epoch.parse::<u64>() {
            Ok(epoch) => format!("{epoch}-{}", since.offset),
            // No stream has such an epoch.
            Err(_) => return Ok(Replay::Gap),
        },
    };
    let feed = names.feed(user);
    let mut oldest = cmd("XRANGE");
    oldest.arg(&feed).arg("-").arg("+").arg("COUNT").arg(1);
    let mut rest = cmd("XRANGE");
    rest.arg(&feed).arg(from).arg("+");
    let unit = Unit::at_once(names.slot(Owner::User(user)), vec![newest(&feed), oldest, rest]);
    let reply = client.ask(&[unit]).await?.into_iter().next().unwrap_or(Err(errors::unavailable()))?;
    let session = reply.session.clone();
    let Reply::Array(parts) = reply.last() else { return Err(errors::unavailable()) };
    let mut parts = parts.into_iter().map(|part| entries(part, user));
    let mut next = || parts.next().unwrap_or(Err(errors::unavailable()));
    let held = Held { newest: next()?.pop(), oldest: next()?.pop(), rest: next()? };
    Ok(held.after(since, &session.server))
}

fn newest(feed: &str) -> Cmd {
    let mut command = cmd("XREVRANGE");
    command.arg(feed).arg("+").arg("-").arg("COUNT").arg(1);
    command
}

/// A feed at one moment.
struct Held {
    newest: Option<Entry>,
    oldest: Option<Entry>,
    rest: Vec<Entry>,
}

impl Held {
    fn after(self, since: &Position, server: &Server) -> Replay {
        let moment = since.nowhere_since();
        // Who looked at another process's feeds knows nothing of these.
        if moment.is_some_and(|moment| moment < server.began) {
            return Replay::Gap;
        }
        let Some((newest, oldest)) = self.newest.zip(self.oldest) else {
            return if moment.is_some() { Replay::Events(Vec::new()) } else { Replay::Gap };
        };
        let is_another = moment.is_none() && newest.epoch.to_string() != *since.epoch;
        let reaches_back = oldest.epoch == newest.epoch && oldest.offset <= since.offset.saturating_add(1);
        if !newest.is_of(server) || is_another || since.offset > newest.offset || !reaches_back {
            return Replay::Gap;
        }
        let missed = self.rest.into_iter().filter(|entry| entry.offset > since.offset);
        Replay::Events(missed.map(Entry::into_delivery).collect())
    }
}

fn entries(reply: Reply, user: UserId) -> Result<Vec<Entry>, StoreError> {
    match reply {
        Reply::Array(entries) => Ok(entries.into_iter().filter_map(Entry::read).collect()),
        Reply::Nil => Ok(Vec::new()),
        other => Err(errors::unexpected(&roost_core::key::feed_physical(user), &other)),
    }
}
