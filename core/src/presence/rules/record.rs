//! What the store holds of one user's presence, and what contacts have to be told of it.
//!
//! A user whose hash has no generation was never seen: offline, with nothing to tell.

use std::sync::Arc;

use crate::event::{self, PresenceView};
use crate::store_answers::unexpected;

use crate::ids::UserId;
use crate::key::{Key, Owner, Space};
use crate::port::{Check, Event, Mutation, Query, StoreError, Text, Transaction, Value};
use crate::time::Timestamp;

pub(crate) const STATUS: &str = "status";
pub(crate) const GENERATION: &str = "generation";
pub(crate) const LAST_SEEN: &str = "last_seen";
pub(crate) const ANNOUNCED: &str = "announced";

/// What contacts are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Status {
    Online,
    Offline,
}

impl Status {
    /// As the hash spells it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Online => "online",
            Self::Offline => "offline",
        }
    }

    fn read(text: Option<&str>) -> Self {
        if text == Some(Self::Online.name()) { Self::Online } else { Self::Offline }
    }

    fn told(text: Option<&str>) -> Option<Self> {
        [Self::Online, Self::Offline].into_iter().find(|status| text == Some(status.name()))
    }
}

/// One user's hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PresenceRecord {
    /// The state of the last transition.
    pub(crate) status: Status,
    /// The state contacts were told; `None`: a transition is still to be told. A transition takes it away, so that whoever
    /// is announced as online is online.
    pub(crate) announced: Option<Status>,
    /// Of the last transition; `None`: there was none.
    pub(crate) generation: Option<u64>,
    /// The last heartbeat, in whole seconds.
    pub(crate) last_seen: Option<Timestamp>,
}

/// What to ask for what others may see of these users: less than a record, because so many are asked for at once.
pub(crate) fn view_queries(users: &[UserId]) -> Vec<Query> {
    let names: Arc<[String]> = [STATUS, GENERATION, LAST_SEEN].map(str::to_owned).into();
    let query = |user: &UserId| Query::NamedFields(Key::of_user(Space::Presence, *user), Arc::clone(&names));
    users.iter().map(query).collect()
}

/// From an answer to [`view_queries`].
pub(crate) fn view(user: UserId, value: &Value) -> Result<PresenceView, StoreError> {
    let Value::NamedFields(fields) = value else {
        return Err(unexpected("the fields of a presence hash"));
    };
    let [status, generation, last_seen] = fields.as_slice() else {
        return Err(unexpected("three fields of a presence hash"));
    };
    let last_seen = seconds(last_seen.as_deref());
    // Without a generation there was no transition yet.
    let generation = generation.as_deref().and_then(|text| text.parse().ok());
    let online = generation.is_some() && Status::read(status.as_deref()) == Status::Online;
    Ok(PresenceView { user, online, last_seen, generation: generation.unwrap_or_default() })
}

impl PresenceRecord {
    /// Of somebody never seen.
    pub(crate) const UNKNOWN: Self =
        Self { status: Status::Offline, announced: None, generation: None, last_seen: None };

    /// What to ask for it.
    pub(crate) fn query(user: UserId) -> Query {
        let names = [STATUS, ANNOUNCED, GENERATION, LAST_SEEN].map(str::to_owned);
        Query::NamedFields(Key::of_user(Space::Presence, user), names.into())
    }

    /// From the answer to [`PresenceRecord::query`].
    pub(crate) fn answered(value: &Value) -> Result<Self, StoreError> {
        let Value::NamedFields(fields) = value else {
            return Err(unexpected("the fields of a presence hash"));
        };
        let [status, announced, generation, last_seen] = fields.as_slice() else {
            return Err(unexpected("four fields of a presence hash"));
        };
        let last_seen = seconds(last_seen.as_deref());
        let Some(generation) = generation.as_deref().and_then(|text| text.parse().ok()) else {
            return Ok(Self { last_seen, ..Self::UNKNOWN });
        };
        Ok(Self {
            status: Status::read(status.as_deref()),
            announced: Status::told(announced.as_deref()),
            generation: Some(generation),
            last_seen,
        })
    }

    /// The announcement that is still due; no transition may come before it.
    pub(crate) fn unannounced(&self, user: UserId) -> Option<Announcement> {
        let generation = self.generation.filter(|_| self.announced != Some(self.status))?;
        Some(Announcement { user, status: self.status, last_seen: self.last_seen, generation, repeated: true })
    }

    /// The same once its announcement went out.
    pub(crate) const fn settled(self) -> Self {
        Self { announced: Some(self.status), ..self }
    }

    /// What the next transition counts as. The first takes the time, so that the loss of the store never makes
    /// generations go back.
    pub(crate) const fn next_generation(&self, now: Timestamp) -> u64 {
        match self.generation {
            Some(generation) => generation.saturating_add(1),
            None => now.0,
        }
    }

    /// Nobody made a transition since this was read.
    pub(crate) fn unmoved(&self, user: UserId) -> Check {
        let generation = self.generation.map(|generation| generation.to_string());
        Check::FieldEquals(Key::of_user(Space::Presence, user), GENERATION.into(), generation.map(Into::into))
    }
}

/// A transition that contacts are to be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Announcement {
    /// Whose.
    pub(crate) user: UserId,
    /// To which state.
    pub(crate) status: Status,
    /// Their last heartbeat.
    pub(crate) last_seen: Option<Timestamp>,
    /// The transition's number.
    pub(crate) generation: u64,
    /// The transition was made earlier; contacts may have been told before.
    pub(crate) repeated: bool,
}

impl Announcement {
    /// The fields that a transition sets.
    pub(crate) fn fields(&self) -> Vec<(Text, Text)> {
        vec![
            (STATUS.into(), self.status.name().into()),
            (GENERATION.into(), self.generation.to_string().into()),
            (ANNOUNCED.into(), Text::default()),
        ]
    }

    /// What contacts are told.
    pub(crate) fn event(&self) -> Event {
        let online = self.status == Status::Online;
        event::presence(self.user, online, self.last_seen, self.generation)
    }

    /// Remembers that they were told, unless a newer transition came meanwhile.
    pub(crate) fn confirmation(&self) -> Transaction {
        let presence = || Key::of_user(Space::Presence, self.user);
        let generation = Some(self.generation.to_string().into());
        Transaction::new(Owner::User(self.user))
            .check(Check::FieldEquals(presence(), GENERATION.into(), generation))
            .mutate(Mutation::SetFields(presence(), vec![(ANNOUNCED.into(), self.status.name().into())]))
    }
}

/// A moment in whole seconds, as `last_seen` holds it.
pub(crate) fn seconds(text: Option<&str>) -> Option<Timestamp> {
    text.and_then(|text| text.parse().ok()).map(Timestamp::from_seconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    const USER: UserId = UserId::from_u128(7);

    fn record(fields: [Option<&str>; 4]) -> PresenceRecord {
        let fields = fields.map(|field| field.map(str::to_owned)).into();
        PresenceRecord::answered(&Value::NamedFields(fields)).unwrap()
    }

    #[test]
    fn a_user_without_a_hash_is_offline_with_nothing_to_tell() {
        let unknown = record([None; 4]);
        assert_eq!(unknown, PresenceRecord::UNKNOWN);
        assert_eq!(unknown.unannounced(USER), None);
    }

    #[test]
    fn the_first_generation_is_the_time_and_later_ones_count_up() {
        let now = Timestamp(1_790_000_000_000);
        assert_eq!(PresenceRecord::UNKNOWN.next_generation(now), now.0);
        let later = record([Some("online"), Some("online"), Some("41"), None]);
        assert_eq!(later.next_generation(now), 42);
    }

    #[test]
    fn a_state_that_contacts_were_not_told_is_announced_under_its_own_generation() {
        let arrived = record([Some("online"), None, Some("41"), Some("9")]);
        let announcement = arrived.unannounced(USER).unwrap();
        assert_eq!(announcement.status, Status::Online);
        assert_eq!(announcement.generation, 41);
        assert_eq!(announcement.last_seen, Some(Timestamp(9_000)));
        assert_eq!(arrived.settled().unannounced(USER), None);
    }

    #[test]
    fn a_confirmation_is_bound_to_its_generation() {
        let offline = record([Some("offline"), Some("online"), Some("41"), None]);
        let confirmation = offline.unannounced(USER).unwrap().confirmation();
        assert_eq!(confirmation.checks, [offline.unmoved(USER)]);
    }

    #[test]
    fn an_answer_of_another_kind_is_refused() {
        assert!(PresenceRecord::answered(&Value::Missing).is_err());
        assert!(PresenceRecord::answered(&Value::NamedFields(vec![None])).is_err());
    }
}
