//! Feeds as streams of Redis: what is read from them, and the form in which an event is an entry.
//!
//! The id of an entry is `<epoch>-<offset>`. Its first field is named `<type>@<the process that appended it>`, and its
//! text may count bytes for `commit_events.lua`; the other fields are the members of the payload: a string as it is,
//! any other value as `<member>:json`. A stream stores the field names of similar entries once for all of them, so that
//! an entry takes little more space than the texts that differ. Entries of another process belong to another feed:
//! after a failover, or when a server reads a snapshot, they may be an older copy.

use std::borrow::Cow;
use std::fmt;

use redis::{Cmd, Value as Reply, cmd};
use roost_core::feed::Position;
use roost_core::ids::UserId;
use roost_core::key::{Key, Owner, feed_physical};
use roost_core::limits::FOLLOWED_TTL_MS;
use roost_core::port::{Delivery, Replay, StoreError};
use roost_core::time::Timestamp;
use serde::Deserializer;
use serde::de::{Error, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::connections::ServerProcess;
use super::connections::requests::{RequestSender, RequestUnit};
use super::names::RedisNames;
use super::{errors, read};

/// A payload with more members is kept as one field.
pub(super) const MEMBERS_MAX: usize = 32;
/// The name of the field that holds a whole payload. No member has this name.
const WHOLE_PAYLOAD: &str = "";
/// Follows the name of a member whose value is not a string, or is a string with escapes.
const JSON_SUFFIX: &str = ":json";

/// The position of each user's newest event.
pub(super) async fn positions(
    requests: &RequestSender,
    names: &RedisNames,
    (users, now): (&[UserId], Timestamp),
) -> Result<Vec<Position>, StoreError> {
    let newest = |user: &UserId| RequestUnit::single(names.slot(Owner::User(*user)), newest_entry(&names.feed(*user)));
    positions_from(requests, users.iter().map(newest).collect(), (users, now)).await
}

/// Lets the events of these users be kept for a while, in the same step as each user's position is read.
pub(super) async fn follow(
    requests: &RequestSender,
    names: &RedisNames,
    (users, now): (&[UserId], Timestamp),
) -> Result<Vec<Position>, StoreError> {
    let units = users.iter().map(|user| {
        let mut renew = cmd("SET");
        renew.arg(names.key(&Key::followed(*user))).arg("").arg("PX").arg(FOLLOWED_TTL_MS);
        RequestUnit::atomic(names.slot(Owner::User(*user)), vec![renew, newest_entry(&names.feed(*user))])
    });
    positions_from(requests, units.collect(), (users, now)).await
}

/// The positions from the replies to these units, of which each ends with the newest entry of a user's feed.
async fn positions_from(
    requests: &RequestSender,
    units: Vec<RequestUnit>,
    (users, now): (&[UserId], Timestamp),
) -> Result<Vec<Position>, StoreError> {
    let mut positions = Vec::with_capacity(users.len());
    for (result, user) in requests.send(&units).await?.into_iter().zip(users) {
        let reply = result?;
        if let Some(error) = errors::refused_write(&reply.values) {
            return Err(error);
        }
        let connection = reply.connection.clone();
        let newest = match reply.last() {
            // The reply to a transaction of Redis is the list of replies to its commands.
            Reply::Array(mut replies) if matches!(replies.first(), Some(Reply::Okay)) => {
                replies.pop().unwrap_or_default()
            }
            only => only,
        };
        let newest = entries(newest, *user)?.into_iter().next();
        let own = newest.filter(|entry| entry.was_appended_by(&connection.process));
        positions.push(own.map_or_else(|| Position::without_feed(now), |entry| entry.position()));
    }
    Ok(positions)
}

/// All events after a position; a gap if the feed does not hold every one of them.
pub(super) async fn replay(
    requests: &RequestSender,
    names: &RedisNames,
    user: UserId,
    (since, now): (&Position, Timestamp),
) -> Result<Replay, StoreError> {
    let from = match since.without_feed_since() {
        Some(_) if !since.is_recent_without_feed(now) => return Ok(Replay::Gap),
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
    let unit = RequestUnit::atomic(names.slot(Owner::User(user)), vec![newest_entry(&feed), oldest, rest]);
    let reply = requests.send(&[unit]).await?.into_iter().next().unwrap_or(Err(errors::unavailable()))?;
    let connection = reply.connection.clone();
    let Reply::Array(parts) = reply.last() else { return Err(errors::unavailable()) };
    let mut parts = parts.into_iter().map(|part| entries(part, user));
    let mut next = || parts.next().unwrap_or(Err(errors::unavailable()));
    let snapshot = FeedSnapshot { newest: next()?.pop(), oldest: next()?.pop(), rest: next()? };
    Ok(snapshot.after(since, &connection.process))
}

fn newest_entry(feed: &str) -> Cmd {
    let mut command = cmd("XREVRANGE");
    command.arg(feed).arg("+").arg("-").arg("COUNT").arg(1);
    command
}

/// What a feed held at one instant.
struct FeedSnapshot {
    newest: Option<FeedEntry>,
    oldest: Option<FeedEntry>,
    /// The entries from the position on.
    rest: Vec<FeedEntry>,
}

impl FeedSnapshot {
    fn after(self, since: &Position, process: &ServerProcess) -> Replay {
        let nowhere_since = since.without_feed_since();
        // A position that was taken from another process's data says nothing about these.
        if nowhere_since.is_some_and(|taken_at| taken_at < process.serving_since) {
            return Replay::Gap;
        }
        let Some((newest, oldest)) = self.newest.zip(self.oldest) else {
            return if nowhere_since.is_some() { Replay::Events(Vec::new()) } else { Replay::Gap };
        };
        let is_other_epoch = nowhere_since.is_none() && newest.epoch.to_string() != *since.epoch;
        let reaches_back = oldest.epoch == newest.epoch && oldest.offset <= since.offset.saturating_add(1);
        if !newest.was_appended_by(process) || is_other_epoch || since.offset > newest.offset || !reaches_back {
            return Replay::Gap;
        }
        let missed = self.rest.into_iter().filter(|entry| entry.offset > since.offset);
        Replay::Events(missed.map(FeedEntry::into_delivery).collect())
    }
}

pub(super) fn entries(reply: Reply, user: UserId) -> Result<Vec<FeedEntry>, StoreError> {
    match reply {
        Reply::Array(entries) => Ok(entries.into_iter().filter_map(FeedEntry::from_reply).collect()),
        Reply::Nil => Ok(Vec::new()),
        other => Err(errors::unexpected(&feed_physical(user), &other)),
    }
}

/// One event of a feed.
pub(super) struct FeedEntry {
    epoch: u64,
    offset: u64,
    name: String,
    payload: String,
    /// The id of the server process that appended it.
    process: String,
}

impl FeedEntry {
    /// Reads `[id, [field, text, …]]`.
    fn from_reply(reply: Reply) -> Option<Self> {
        let Reply::Array(parts) = reply else { return None };
        let [id, Reply::Array(fields)] = <[Reply; 2]>::try_from(parts).ok()? else { return None };
        let id = read::text(id)?;
        let (epoch, offset) = id.split_once('-')?;
        let mut texts = fields.into_iter().filter_map(read::text);
        let (first, _) = (texts.next()?, texts.next()?);
        // An entry in another form was appended by another program, which has no process id.
        let (name, process) = first.rsplit_once('@').unwrap_or_default();
        Some(Self {
            epoch: epoch.parse().ok()?,
            offset: offset.parse().ok()?,
            name: name.to_owned(),
            payload: payload_from_fields(texts),
            process: process.to_owned(),
        })
    }

    fn was_appended_by(&self, process: &ServerProcess) -> bool {
        self.process == process.id
    }

    fn position(&self) -> Position {
        Position { epoch: self.epoch.to_string().into(), offset: self.offset }
    }

    pub(super) fn into_delivery(self) -> Delivery {
        let position = Some(self.position());
        Delivery { name: self.name.into(), payload: self.payload.into(), position }
    }
}

/// The name and the text of a field.
pub(super) type PayloadField<'p> = (Cow<'p, str>, &'p str);

/// The fields that hold a payload: one for each member, or one for the whole payload.
pub(super) fn payload_fields(payload: &str) -> Vec<PayloadField<'_>> {
    let mut json = serde_json::Deserializer::from_str(payload);
    let members = json.deserialize_map(MemberFields).and_then(|members| json.end().map(|()| members));
    members.unwrap_or_else(|_| vec![whole_payload(payload)])
}

/// The one field that holds a whole payload.
pub(super) fn whole_payload(payload: &str) -> PayloadField<'_> {
    (WHOLE_PAYLOAD.into(), payload)
}

fn member_field<'p>(name: &'p str, json: &'p str) -> PayloadField<'p> {
    match json.strip_prefix('"').and_then(|text| text.strip_suffix('"')) {
        Some(text) if !text.contains('\\') => (name.into(), text),
        _ => ((name.to_owned() + JSON_SUFFIX).into(), json),
    }
}

/// Reads the members of an object. It refuses an object that could not be restored from its fields.
struct MemberFields;

impl<'p> Visitor<'p> for MemberFields {
    type Value = Vec<PayloadField<'p>>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "an object with at most {MEMBERS_MAX} members, named with letters, digits and underscores")
    }

    fn visit_map<A: MapAccess<'p>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut members = Vec::new();
        while let Some((name, json)) = map.next_entry::<&str, &RawValue>()? {
            let is_plain = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
            if name == WHOLE_PAYLOAD || !is_plain || members.len() == MEMBERS_MAX {
                return Err(A::Error::invalid_value(serde::de::Unexpected::Str(name), &self));
            }
            members.push(member_field(name, json.get()));
        }
        Ok(members)
    }
}

/// Restores the payload that [`payload_fields`] took apart.
fn payload_from_fields(mut fields: impl Iterator<Item = String>) -> String {
    let mut payload = String::from("{");
    while let (Some(name), Some(text)) = (fields.next(), fields.next()) {
        if name == WHOLE_PAYLOAD {
            return text;
        }
        if payload.len() > 1 {
            payload.push(',');
        }
        match name.strip_suffix(JSON_SUFFIX) {
            Some(name) => payload.extend(["\"", name, "\":", &text]),
            None => payload.extend(["\"", &name, "\":\"", &text, "\""]),
        }
    }
    payload.push('}');
    payload
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn restored(json: &str) -> String {
        payload_from_fields(
            payload_fields(json).into_iter().flat_map(|(name, text)| [name.into_owned(), text.to_owned()]),
        )
    }

    #[test]
    fn each_member_is_a_field() {
        let message = r#"{"id":"a","seq":3,"content":"\"{brace},","deep":{"a":[1, 2]},"none":null,"empty":""}"#;
        let expected = [
            ("id", "a"),
            ("seq:json", "3"),
            ("content:json", r#""\"{brace},""#),
            ("deep:json", r#"{"a":[1, 2]}"#),
            ("none:json", "null"),
            ("empty", ""),
        ];
        assert_eq!(payload_fields(message), expected.map(|(name, text)| (name.into(), text)));
        assert_eq!(restored(message), message);
        assert_eq!(payload_fields("{}"), []);
        assert_eq!(restored("{}"), "{}");
    }

    #[test]
    fn a_payload_that_could_not_be_restored_is_kept_whole() {
        let many: Vec<String> = (0..=MEMBERS_MAX).map(|number| format!("\"m{number}\":0")).collect();
        let many = format!("{{{}}}", many.join(","));
        for odd in [
            "",
            "7",
            "[1]",
            "\"x\"",
            "xxx",
            r#"{"":1}"#,
            r#"{"a\n":1}"#,
            r#"{"a b":1}"#,
            r#"{"a":1"#,
            r#"{"a":1} x"#,
            &many,
        ] {
            assert_eq!(payload_fields(odd), [(WHOLE_PAYLOAD.into(), odd)]);
            assert_eq!(restored(odd), odd);
        }
    }

    proptest! {
        #[test]
        fn a_payload_is_restored_unchanged(members in prop::collection::vec(("[a-z_0-9]{0,9}", ".{0,20}"), 0..40)) {
            let members: Vec<String> = members
                .iter()
                .map(|(name, text)| format!("\"{name}\":{}", serde_json::to_string(text).unwrap()))
                .collect();
            let json = format!("{{{}}}", members.join(","));
            prop_assert_eq!(restored(&json), json);
        }

        #[test]
        fn any_text_keeps_its_meaning(text in ".{0,60}") {
            let (before, after) = (serde_json::from_str::<serde_json::Value>(&text), restored(&text));
            match before {
                Ok(before) => prop_assert_eq!(serde_json::from_str::<serde_json::Value>(&after).unwrap(), before),
                Err(_) => prop_assert_eq!(after, text),
            }
        }
    }
}
