//! The users to whom a call may publish, if its function may not publish to everybody: those whom the call is about,
//! and the members of their conversations.
//!
//! The host asks the records nothing for this. It remembers the answers of `membership` that the function itself has
//! asked for, and forgets them with the call. So a function can only name users whom a user of the call shares a
//! conversation with at the time of the call, and one that publishes to the users of the call alone costs nothing more
//! than before.

use std::collections::BTreeSet;

use roost_core::ids::UserId;
use roost_core::key::Owner;
use roost_core::port::{Publication, Transaction};
use roost_core::recipients::Recipients;

use super::call::{Caller, Request};

/// How many members are remembered in one call. Answers beyond it are forgotten whole.
pub(super) const MEMBERS_REMEMBERED_MAX: usize = 10_000;

/// The recipients that a call may have.
#[derive(Debug, Default)]
pub(super) struct CallRecipients {
    granted: Recipients,
    /// The users whom the call is about.
    users: BTreeSet<UserId>,
    /// The members of conversations of these users, as far as the records have named them in this call.
    members: BTreeSet<UserId>,
}

impl CallRecipients {
    /// The recipients of a call before it begins.
    pub(super) fn of(granted: Recipients, caller: Caller, request: &Request) -> Self {
        let users = match granted {
            Recipients::Caller | Recipients::Members => users_of(caller, request),
            Recipients::Nobody | Recipients::Anyone => BTreeSet::new(),
        };
        Self { granted, users, members: BTreeSet::new() }
    }

    /// Remembers the members of a conversation, as the records have answered them for this user.
    pub(super) fn remember(&mut self, user: UserId, members: &[UserId]) {
        let has_room = self.members.len().saturating_add(members.len()) <= MEMBERS_REMEMBERED_MAX;
        if self.granted == Recipients::Members && self.users.contains(&user) && has_room {
            self.members.extend(members);
        }
    }

    /// Checks that the function may publish this in the call; the error says to whom it may not.
    pub(super) fn check_publications(&self, function: &str, publications: &[Publication]) -> Result<(), String> {
        self.check(function, publications.iter().map(|publication| publication.user))
    }

    /// Checks that the function may publish the events of these transactions in the call; the error says to whom it may
    /// not.
    pub(super) fn check_transactions(&self, function: &str, transactions: &[Transaction]) -> Result<(), String> {
        self.check(function, transactions.iter().flat_map(recipients_of))
    }

    fn check(&self, function: &str, mut recipients: impl Iterator<Item = UserId>) -> Result<(), String> {
        let stranger = match self.granted {
            Recipients::Anyone => return Ok(()),
            Recipients::Nobody => recipients.next(),
            Recipients::Caller | Recipients::Members => {
                recipients.find(|user| !self.users.contains(user) && !self.members.contains(user))
            }
        };
        stranger.map_or(Ok(()), |user| Err(self.refusal(function, user)))
    }

    fn refusal(&self, function: &str, user: UserId) -> String {
        let (allowed, wider) = match self.granted {
            Recipients::Nobody | Recipients::Anyone => return "publishing to users".to_owned(),
            Recipients::Caller => ("the users of the call", "\"members\" or \"anyone\""),
            Recipients::Members => (
                "the users of the call, and the members of conversations whose `membership` it has read for one of them in \
                 this call",
                "\"anyone\"",
            ),
        };
        format!(
            "publishing to user {user}: publish.{} allows {allowed}; more needs another grant, which the manifest asks for and \
             the operator allows with function.{function}.grants.publish = {wider}",
            self.granted.name()
        )
    }
}

/// Whoever receives an event of the transaction.
fn recipients_of(transaction: &Transaction) -> impl Iterator<Item = UserId> {
    let of_partition = match transaction.owner {
        Owner::User(user) if !transaction.publications.is_empty() => Some(user),
        _ => None,
    };
    let addressed = transaction.addressed.iter().flat_map(|addressed| addressed.users.iter().copied());
    of_partition.into_iter().chain(addressed)
}

/// The users whom a call is about.
fn users_of(caller: Caller, request: &Request) -> BTreeSet<UserId> {
    let by_caller = match caller {
        Caller::User(user) | Caller::ServiceFor(user) => Some(user),
        Caller::Service | Caller::Anonymous | Caller::Host => None,
    };
    let mut users: BTreeSet<UserId> = by_caller.into_iter().collect();
    match request {
        Request::Connected(connection) | Request::Disconnected(connection) => {
            users.insert(connection.user);
        }
        Request::Heartbeat(connections) => users.extend(connections.iter().map(|connection| connection.user)),
        Request::Sync { user, .. } => {
            users.insert(*user);
        }
        Request::Publication(published) => users.extend(&published.users),
        Request::Http(_) | Request::Message { .. } | Request::Tick { .. } => {}
    }
    users
}

#[cfg(test)]
mod tests {
    use roost_core::ids::ConversationId;
    use roost_core::port::Event;

    use super::super::call::{Connection, HttpRequest, PublishedEvent};
    use super::*;

    const ANN: UserId = UserId::from_u128(1);
    const BOB: UserId = UserId::from_u128(2);
    const CAT: UserId = UserId::from_u128(3);

    fn event() -> Event {
        Event { name: "poll.vote".into(), payload: "1".into(), durable: true }
    }

    fn http() -> Request {
        Request::Http(HttpRequest { route: 0, parameters: Vec::new(), query: Vec::new(), body: bytes::Bytes::new() })
    }

    fn connection(user: UserId) -> Connection {
        Connection { user, id: "c".parse().unwrap() }
    }

    /// To whom of the three a call may publish.
    fn allowed(recipients: &CallRecipients) -> Vec<UserId> {
        let may = |user: &UserId| {
            let alone = recipients.check_publications("polls", &[Publication { user: *user, event: event() }]).is_ok();
            let own = Transaction::new(Owner::User(*user)).publish(event());
            let addressed = Transaction::new(Owner::Conversation(ConversationId::from_u128(9)));
            let addressed = addressed.address(vec![*user], event());
            for transaction in [own, addressed] {
                let with_a_change = recipients.check_transactions("polls", &[transaction]);
                assert_eq!(with_a_change.is_ok(), alone, "{user}: {with_a_change:?}");
            }
            alone
        };
        [ANN, BOB, CAT].into_iter().filter(may).collect()
    }

    fn of(granted: Recipients, caller: Caller, request: &Request) -> Vec<UserId> {
        allowed(&CallRecipients::of(granted, caller, request))
    }

    #[test]
    fn each_grant_has_its_recipients() {
        let mut found = Vec::new();
        for granted in Recipients::ALL {
            let mut recipients = CallRecipients::of(granted, Caller::User(ANN), &http());
            recipients.remember(ANN, &[ANN, BOB]);
            found.push(allowed(&recipients));
        }
        assert_eq!(found, [vec![], vec![ANN], vec![ANN, BOB], vec![ANN, BOB, CAT]]);
    }

    #[test]
    fn the_users_of_a_call_are_those_whom_it_is_about() {
        let published = |users: Vec<UserId>| {
            Request::Publication(PublishedEvent { id: "1.1".into(), event: event(), users, attempt: 1, depth: 1 })
        };
        let cases = [
            (Caller::User(ANN), http(), vec![ANN]),
            (Caller::ServiceFor(BOB), http(), vec![BOB]),
            (Caller::Service, http(), vec![]),
            (Caller::Anonymous, http(), vec![]),
            (Caller::Host, Request::Connected(connection(CAT)), vec![CAT]),
            (Caller::Host, Request::Disconnected(connection(CAT)), vec![CAT]),
            (Caller::Host, Request::Heartbeat(vec![connection(ANN), connection(CAT)]), vec![ANN, CAT]),
            (Caller::Host, Request::Sync { user: BOB, conversations: None }, vec![BOB]),
            (Caller::Host, Request::Tick { schedule: "tidy".into(), shard: 0 }, vec![]),
            (Caller::Host, published(vec![BOB, CAT]), vec![BOB, CAT]),
        ];
        for (caller, request, expected) in cases {
            for granted in [Recipients::Caller, Recipients::Members] {
                assert_eq!(of(granted, caller, &request), expected, "{caller:?} {request:?}");
            }
            assert_eq!(of(Recipients::Anyone, caller, &request), [ANN, BOB, CAT]);
            assert!(of(Recipients::Nobody, caller, &request).is_empty());
        }
    }

    #[test]
    fn the_conversations_of_other_users_make_nobody_a_recipient() {
        let mut recipients = CallRecipients::of(Recipients::Members, Caller::User(ANN), &http());
        recipients.remember(BOB, &[BOB, CAT]);
        assert_eq!(allowed(&recipients), [ANN]);
        let mut service = CallRecipients::of(Recipients::Members, Caller::Service, &http());
        service.remember(BOB, &[BOB, CAT]);
        assert!(allowed(&service).is_empty());
        let mut caller = CallRecipients::of(Recipients::Caller, Caller::User(ANN), &http());
        caller.remember(ANN, &[ANN, BOB]);
        assert_eq!(allowed(&caller), [ANN]);
    }

    #[test]
    fn one_stranger_refuses_everything_and_is_named() {
        let recipients = CallRecipients::of(Recipients::Members, Caller::User(ANN), &http());
        let transactions = [
            Transaction::new(Owner::User(ANN)).publish(event()),
            Transaction::new(Owner::Shard(0)).address(vec![ANN, BOB], event()),
        ];
        let refusal = recipients.check_transactions("polls", &transactions).unwrap_err();
        assert_eq!(
            refusal,
            format!(
                "publishing to user {BOB}: publish.members allows the users of the call, and the members of conversations \
                 whose `membership` it has read for one of them in this call; more needs another grant, which the manifest \
                 asks for and the operator allows with function.polls.grants.publish = \"anyone\""
            )
        );
        let caller = CallRecipients::of(Recipients::Caller, Caller::User(ANN), &http());
        let refusal = caller.check_publications("polls", &[Publication { user: CAT, event: event() }]).unwrap_err();
        assert!(refusal.contains("publish.caller allows the users of the call;"), "{refusal}");
        assert!(refusal.ends_with("= \"members\" or \"anyone\""), "{refusal}");
    }

    #[test]
    fn changes_without_events_have_no_recipients() {
        let recipients = CallRecipients::of(Recipients::Caller, Caller::User(ANN), &http());
        assert_eq!(recipients.check_transactions("polls", &[Transaction::new(Owner::User(CAT))]), Ok(()));
    }

    #[test]
    fn the_members_that_are_remembered_are_bounded() {
        let mut recipients = CallRecipients::of(Recipients::Members, Caller::User(ANN), &http());
        let members: Vec<UserId> = (10..10 + MEMBERS_REMEMBERED_MAX as u128).map(UserId::from_u128).collect();
        recipients.remember(ANN, &members);
        recipients.remember(ANN, &[BOB]);
        assert_eq!(allowed(&recipients), [ANN], "there was no room for another one");
        assert_eq!(recipients.check("polls", members.into_iter()), Ok(()));
    }
}
