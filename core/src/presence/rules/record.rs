//! The presence record that the store holds of one user, and the announcement that it requires.
//!
//! A user whose record has no generation was never seen: the user is offline, and nothing has to be announced.

use std::sync::Arc;

use crate::event::{self, PresenceView};
use crate::ids::UserId;
use crate::key::{Key, Owner, Space};
use crate::port::{Check, Event, Mutation, Query, StoreError, Text, Transaction, Value};
use crate::store_answers::unexpected;
use crate::time::Timestamp;

pub(crate) const STATUS: &str = "status";
pub(crate) const GENERATION: &str = "generation";
pub(crate) const LAST_SEEN: &str = "last_seen";
pub(crate) const ANNOUNCED: &str = "announced";
pub(crate) const DEVICE_LOST_AT: &str = "device_lost_at";

/// The state that contacts see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Status {
    Online,
    Offline,
}

impl Status {
    /// The text in the hash and in metrics.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Online => "online",
            Self::Offline => "offline",
        }
    }

    /// Parses a stored status; anything unknown is offline.
    fn parse_or_offline(text: Option<&str>) -> Self {
        if text == Some(Self::Online.name()) { Self::Online } else { Self::Offline }
    }

    /// Parses the announced status; `None` if the last transition was not announced yet.
    fn parse_announced(text: Option<&str>) -> Option<Self> {
        [Self::Online, Self::Offline].into_iter().find(|status| text == Some(status.name()))
    }
}

/// The presence hash of one user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PresenceRecord {
    /// The state after the last transition.
    pub(crate) status: Status,
    /// The state that was announced to contacts; `None` if the last transition is still to be announced. A transition
    /// clears it, so that a user who is announced as online is online.
    pub(crate) announced: Option<Status>,
    /// The number of the last transition; `None` if there was none.
    pub(crate) generation: Option<u64>,
    /// The time of the last heartbeat, in whole seconds.
    pub(crate) last_seen: Option<Timestamp>,
    /// The time, in whole seconds, at which a device was found whose heartbeats had stopped without a disconnect. It
    /// may be connected to a host that is cut off from the store.
    pub(crate) device_lost_at: Option<Timestamp>,
}

/// The queries for what other users may see of these users. They ask for less than a record, because many users are
/// queried at once.
pub(crate) fn view_queries(users: &[UserId]) -> Vec<Query> {
    let names: Arc<[String]> = [STATUS, GENERATION, LAST_SEEN].map(str::to_owned).into();
    let query = |user: &UserId| Query::NamedFields(Key::of_user(Space::Presence, *user), Arc::clone(&names));
    users.iter().map(query).collect()
}

/// Parses an answer to a query of [`view_queries`].
pub(crate) fn view(user: UserId, value: &Value) -> Result<PresenceView, StoreError> {
    let Value::NamedFields(fields) = value else {
        return Err(unexpected("the fields of a presence hash"));
    };
    let [status, generation, last_seen] = fields.as_slice() else {
        return Err(unexpected("three fields of a presence hash"));
    };
    let last_seen = seconds(last_seen.as_deref());
    // A user without a generation has made no transition yet.
    let generation = generation.as_deref().and_then(|text| text.parse().ok());
    let online = generation.is_some() && Status::parse_or_offline(status.as_deref()) == Status::Online;
    Ok(PresenceView { user, online, last_seen, generation: generation.unwrap_or_default() })
}

impl PresenceRecord {
    /// The record of a user who was never seen.
    pub(crate) const UNKNOWN: Self =
        Self { status: Status::Offline, announced: None, generation: None, last_seen: None, device_lost_at: None };

    /// The query for the record of a user.
    pub(crate) fn query(user: UserId) -> Query {
        let names = [STATUS, ANNOUNCED, GENERATION, LAST_SEEN, DEVICE_LOST_AT].map(str::to_owned);
        Query::NamedFields(Key::of_user(Space::Presence, user), names.into())
    }

    /// Parses the answer to [`PresenceRecord::query`].
    pub(crate) fn parse(value: &Value) -> Result<Self, StoreError> {
        let Value::NamedFields(fields) = value else {
            return Err(unexpected("the fields of a presence hash"));
        };
        let [status, announced, generation, last_seen, device_lost_at] = fields.as_slice() else {
            return Err(unexpected("five fields of a presence hash"));
        };
        let last_seen = seconds(last_seen.as_deref());
        let Some(generation) = generation.as_deref().and_then(|text| text.parse().ok()) else {
            return Ok(Self { last_seen, ..Self::UNKNOWN });
        };
        Ok(Self {
            status: Status::parse_or_offline(status.as_deref()),
            announced: Status::parse_announced(announced.as_deref()),
            generation: Some(generation),
            last_seen,
            device_lost_at: seconds(device_lost_at.as_deref()),
        })
    }

    /// The announcement that is still to be made; no transition may be made before it.
    pub(crate) fn unannounced(&self, user: UserId) -> Option<PresenceAnnouncement> {
        let generation = self.generation.filter(|_| self.announced != Some(self.status))?;
        Some(PresenceAnnouncement { user, status: self.status, last_seen: self.last_seen, generation, repeated: true })
    }

    /// The record after its announcement was made.
    pub(crate) const fn after_announcement(self) -> Self {
        Self { announced: Some(self.status), ..self }
    }

    /// The generation of the next transition. The first one is the time, so that generations never go back when the
    /// store loses its data.
    pub(crate) const fn next_generation(&self, now: Timestamp) -> u64 {
        match self.generation {
            Some(generation) => generation.saturating_add(1),
            None => now.0,
        }
    }

    /// Gives an announced state the next generation; `None` for a user who was never seen. Refused if the record has
    /// changed.
    pub(crate) fn counted_on(&self, user: UserId) -> Option<Transaction> {
        let next = self.generation?.saturating_add(1);
        let presence = || Key::of_user(Space::Presence, user);
        let announced = Check::FieldEquals(presence(), ANNOUNCED.into(), Some(self.status.name().into()));
        let counted = vec![(GENERATION.into(), next.to_string().into())];
        let transaction = Transaction::new(Owner::User(user)).check(self.unchanged(user)).check(announced);
        Some(transaction.mutate(Mutation::SetFields(presence(), counted)))
    }

    /// Checks that no transition was made since the record was read.
    pub(crate) fn unchanged(&self, user: UserId) -> Check {
        let generation = self.generation.map(|generation| generation.to_string());
        Check::FieldEquals(Key::of_user(Space::Presence, user), GENERATION.into(), generation.map(Into::into))
    }
}

/// A transition to be announced to contacts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PresenceAnnouncement {
    /// The user whose presence changed.
    pub(crate) user: UserId,
    /// The state after the transition.
    pub(crate) status: Status,
    /// The user's last heartbeat.
    pub(crate) last_seen: Option<Timestamp>,
    /// The number of the transition.
    pub(crate) generation: u64,
    /// Whether the transition was made earlier; it may have been announced before.
    pub(crate) repeated: bool,
}

impl PresenceAnnouncement {
    /// The fields that a transition sets.
    pub(crate) fn fields(&self) -> Vec<(Text, Text)> {
        vec![
            (STATUS.into(), self.status.name().into()),
            (GENERATION.into(), self.generation.to_string().into()),
            (ANNOUNCED.into(), Text::default()),
        ]
    }

    /// The event for contacts.
    pub(crate) fn event(&self) -> Event {
        let online = self.status == Status::Online;
        event::presence(self.user, online, self.last_seen, self.generation)
    }

    /// The announcement that the user is offline after all, because the store does not know the user any more.
    pub(crate) fn taken_back(self) -> Self {
        Self { status: Status::Offline, generation: self.generation.saturating_add(1), repeated: false, ..self }
    }

    /// Records that the transition was announced, unless a newer one has been made in the meantime.
    pub(crate) fn confirmation(&self) -> Transaction {
        let presence = || Key::of_user(Space::Presence, self.user);
        let generation = Some(self.generation.to_string().into());
        Transaction::new(Owner::User(self.user))
            .check(Check::FieldEquals(presence(), GENERATION.into(), generation))
            .mutate(Mutation::SetFields(presence(), vec![(ANNOUNCED.into(), self.status.name().into())]))
    }
}

/// Notes in the presence hash that heartbeats of a device have stopped without a disconnect.
pub(crate) fn lose_device(user: UserId, now: Timestamp) -> Mutation {
    let lost = vec![(DEVICE_LOST_AT.into(), now.seconds().to_string().into())];
    Mutation::SetFields(Key::of_user(Space::Presence, user), lost)
}

/// A timestamp in whole seconds, as the fields `last_seen` and `device_lost_at` hold it.
pub(crate) fn seconds(text: Option<&str>) -> Option<Timestamp> {
    text.and_then(|text| text.parse().ok()).map(Timestamp::from_seconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    const USER: UserId = UserId::from_u128(7);

    fn record(fields: [Option<&str>; 5]) -> PresenceRecord {
        let fields = fields.map(|field| field.map(str::to_owned)).into();
        PresenceRecord::parse(&Value::NamedFields(fields)).unwrap()
    }

    #[test]
    fn a_user_without_a_record_is_offline_and_needs_no_announcement() {
        let unknown = record([None; 5]);
        assert_eq!(unknown, PresenceRecord::UNKNOWN);
        assert_eq!(unknown.unannounced(USER), None);
    }

    #[test]
    fn the_first_generation_is_the_time_and_later_ones_count_up() {
        let now = Timestamp(1_790_000_000_000);
        assert_eq!(PresenceRecord::UNKNOWN.next_generation(now), now.0);
        let later = record([Some("online"), Some("online"), Some("41"), None, None]);
        assert_eq!(later.next_generation(now), 42);
    }

    #[test]
    fn an_unannounced_state_is_announced_with_its_own_generation() {
        let online = record([Some("online"), None, Some("41"), Some("9"), None]);
        let announcement = online.unannounced(USER).unwrap();
        assert_eq!(announcement.status, Status::Online);
        assert_eq!(announcement.generation, 41);
        assert_eq!(announcement.last_seen, Some(Timestamp(9_000)));
        assert_eq!(online.after_announcement().unannounced(USER), None);
    }

    #[test]
    fn a_confirmation_is_bound_to_its_generation() {
        let offline = record([Some("offline"), Some("online"), Some("41"), None, None]);
        let confirmation = offline.unannounced(USER).unwrap().confirmation();
        assert_eq!(confirmation.checks, [offline.unchanged(USER)]);
    }

    #[test]
    fn only_an_announced_state_is_counted_on_and_nothing_else_of_it_changes() {
        assert_eq!(PresenceRecord::UNKNOWN.counted_on(USER), None);
        let online = record([Some("online"), Some("online"), Some("41"), None, None]);
        let transaction = online.counted_on(USER).unwrap();
        let presence = Key::of_user(Space::Presence, USER);
        let announced = Check::FieldEquals(presence.clone(), ANNOUNCED.into(), Some("online".into()));
        assert_eq!(transaction.checks, [online.unchanged(USER), announced]);
        let next = vec![(GENERATION.into(), "42".into())];
        assert_eq!(transaction.mutations, [Mutation::SetFields(presence, next)]);
    }

    #[test]
    fn an_answer_of_another_type_is_an_error() {
        assert!(PresenceRecord::parse(&Value::Missing).is_err());
        assert!(PresenceRecord::parse(&Value::NamedFields(vec![None])).is_err());
    }

    #[test]
    fn every_field_of_a_record_is_parsed() {
        let expected = PresenceRecord {
            status: Status::Online,
            announced: Some(Status::Offline),
            generation: Some(41),
            last_seen: Some(Timestamp(9_000)),
            device_lost_at: Some(Timestamp(8_000)),
        };
        assert_eq!(record([Some("online"), Some("offline"), Some("41"), Some("9"), Some("8")]), expected);
        assert_eq!(record([Some("online"), Some(""), Some("41"), Some("9"), None]).announced, None);
        let without_generation = record([Some("online"), Some("online"), None, Some("9"), None]);
        assert_eq!(without_generation, PresenceRecord { last_seen: Some(Timestamp(9_000)), ..PresenceRecord::UNKNOWN });
    }

    #[test]
    fn a_user_is_seen_online_only_with_a_generation() {
        let view = |status: &str, generation: Option<&str>| {
            let fields = [Some(status), generation, Some("9")].map(|field| field.map(str::to_owned)).into();
            view(USER, &Value::NamedFields(fields)).unwrap()
        };
        let expected = PresenceView { user: USER, online: true, last_seen: Some(Timestamp(9_000)), generation: 41 };
        assert_eq!(view("online", Some("41")), expected);
        assert_eq!(view("offline", Some("41")), PresenceView { online: false, ..expected });
        assert_eq!(view("online", None), PresenceView { online: false, generation: 0, ..expected });
    }

    #[test]
    fn an_announcement_has_the_event_of_its_state() {
        let name =
            |status| record([Some(status), None, Some("41"), None, None]).unannounced(USER).unwrap().event().name;
        assert_eq!((&*name("online"), &*name("offline")), ("user.online", "user.offline"));
    }
}
