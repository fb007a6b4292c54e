//! Reads of missed events: bounded in number at a time, of one user and of all, and in bytes.

use roost_core::feed::Position;
use roost_core::ids::UserId;
use roost_core::port::{Delivery, Feeds, Replay, StoreError};

use super::{RETRY_AFTER, UserLimits, refusal};
use crate::runtime::keyed_places::KeyedPlace;
use crate::server::problem::ApiError;

impl UserLimits {
    /// Takes a place among the replays of a user. This happens before any place is taken that other users need.
    pub(crate) async fn begin_replay(&self, user: UserId) -> Result<KeyedPlace<UserId>, ApiError> {
        let place = self.replays_of_users.take(user).await;
        place.ok_or_else(|| {
            let detail = "too many clients of this user ask for what they missed; wait for their answers";
            refusal("replays", detail.to_owned(), RETRY_AFTER)
        })
    }

    /// Reads what a user missed since this position. More bytes than are allowed are a gap: the client reads the
    /// current state, which is smaller.
    pub(crate) async fn replay<S: Feeds>(
        &self,
        store: &S,
        user: UserId,
        since: &Position,
    ) -> Result<Replay, StoreError> {
        let _place = self.replays.acquire().await;
        Ok(bounded(store.replay(user, since).await?, self.replay_bytes_max))
    }
}

/// The bytes of all names and payloads.
pub(crate) fn event_bytes(events: &[Delivery]) -> usize {
    events.iter().map(|event| event.name.len() + event.payload.len()).sum()
}

fn bounded(replay: Replay, bytes_max: usize) -> Replay {
    match replay {
        Replay::Events(events) if event_bytes(&events) > bytes_max => Replay::Gap,
        replay => replay,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_bytes_than_allowed_are_a_gap() {
        let event = || Delivery { name: "ab".into(), payload: "12345678".into(), position: None };
        let replay = |bytes_max| bounded(Replay::Events(vec![event(), event()]), bytes_max);
        assert!(matches!(replay(20), Replay::Events(events) if events.len() == 2));
        assert!(matches!(replay(19), Replay::Gap));
        assert!(matches!(bounded(Replay::Gap, 20), Replay::Gap));
    }
}
