//! The outbox of the fake: what is not announced yet, confirmations, and postponements.

use super::conversation::FakeTries;
use super::state::FakeState;
use crate::port::{
    Answer, Confirmation, Pending, PendingCursor, PendingId, PendingItem, PendingPage, PendingQuery, Postponement,
};
use crate::time::Timestamp;

impl FakeState {
    pub(super) fn pending(&self, query: &PendingQuery) -> Answer<PendingPage> {
        let after = query.cursor.as_deref().map(PendingCursor::parse).transpose()?;
        let mut found: Vec<(PendingCursor, PendingItem)> = self.changes_and_moves().collect();
        let is_asked = |(position, item): &(PendingCursor, PendingItem)| {
            (item.attempts > 0) == query.tried
                && position.at < query.before
                && after.is_none_or(|after| *position > after)
        };
        found.retain(is_asked);
        found.sort_by_key(|(position, _)| *position);
        found.truncate(query.limit as usize);
        let is_full = found.len() == query.limit as usize;
        let next = found.last().filter(|_| is_full).map(|(position, _)| position.to_string());
        Ok(PendingPage { items: found.into_iter().map(|(_, item)| item).collect(), next })
    }

    fn changes_and_moves(&self) -> impl Iterator<Item = (PendingCursor, PendingItem)> {
        let changes = self.conversations.values().flat_map(|found| {
            found.unannounced.iter().filter_map(move |(seq, tries)| {
                let since = found.stored_change(*seq)?.since;
                Some(listed(Pending::Change(found.changed(*seq, false).ok()?), since, *tries))
            })
        });
        let moves = self.moves.iter().filter_map(|(id, unconfirmed)| {
            let pending = match *id {
                PendingId::Change(..) => return None,
                PendingId::Member(conversation, user) => Pending::Member(conversation, user, unconfirmed.moves),
                PendingId::Membership(conversation, user) => Pending::Membership(conversation, user, unconfirmed.moves),
                PendingId::Creation(conversation) => Pending::Creation(conversation, unconfirmed.moves),
                PendingId::Contact(user, other) => Pending::Contact(user, other, unconfirmed.moves),
            };
            Some(listed(pending, unconfirmed.since, unconfirmed.tries))
        });
        changes.chain(moves)
    }

    pub(super) fn announced(&mut self, confirmations: &[Confirmation]) {
        for confirmation in confirmations {
            match *confirmation {
                Confirmation::Change(conversation, seq) => {
                    if let Some(found) = self.conversations.get_mut(&conversation) {
                        found.unannounced.remove(&seq);
                    }
                }
                Confirmation::Member(conversation, user, moves) => {
                    self.confirm(PendingId::Member(conversation, user), moves);
                }
                Confirmation::Membership(conversation, user, moves) => {
                    self.confirm(PendingId::Membership(conversation, user), moves);
                }
                Confirmation::Creation(conversation, moves) => self.confirm(PendingId::Creation(conversation), moves),
                Confirmation::Contact(user, other, moves) => self.confirm(PendingId::Contact(user, other), moves),
            }
        }
    }

    fn confirm(&mut self, id: PendingId, moves: u64) {
        if let Some(unconfirmed) = self.moves.get_mut(&id) {
            unconfirmed.moves = unconfirmed.moves.saturating_sub(moves);
        }
        self.moves.retain(|_, unconfirmed| unconfirmed.moves > 0);
    }

    pub(super) fn postpone(&mut self, postponements: &[Postponement]) {
        for Postponement { item, attempts, next_time } in postponements {
            let tries = match *item {
                PendingId::Change(conversation, seq) => {
                    self.conversations.get_mut(&conversation).and_then(|found| found.unannounced.get_mut(&seq))
                }
                id => self.moves.get_mut(&id).map(|unconfirmed| &mut unconfirmed.tries),
            };
            if let Some(tries) = tries {
                *tries = FakeTries { attempts: *attempts, next_time: *next_time };
            }
        }
    }
}

/// An item with its position in the list that it belongs to.
fn listed(pending: Pending, since: Timestamp, tries: FakeTries) -> (PendingCursor, PendingItem) {
    let at = if tries.attempts == 0 { since } else { tries.next_time };
    let position = PendingCursor { at, item: PendingId::from(&pending) };
    (position, PendingItem { pending, since, attempts: tries.attempts })
}
