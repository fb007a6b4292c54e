//! The rule of the configuration key `conversations.add`: which users a user may put into a conversation. Blocks are
//! another rule, which the records keep in the transaction that stores a member.

use std::collections::BTreeSet;

use crate::ids::UserId;
use crate::port::{Answer, RecordsError};

/// Which users a user may put into a conversation. Services may add everybody.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AdditionPolicy {
    /// Everybody, friend or stranger.
    #[default]
    Anyone,
    /// Mutual contacts of the user.
    Contacts,
    /// Nobody: only services create conversations and add members.
    Service,
}

impl AdditionPolicy {
    /// Every policy with its name in the configuration.
    pub const ALL: [(&'static str, Self); 3] =
        [("anyone", Self::Anyone), ("contacts", Self::Contacts), ("service", Self::Service)];

    /// Whether the decision needs to know the contacts of the user who adds.
    pub fn needs_contacts(self, adder: UserId, added: &[UserId]) -> bool {
        self == Self::Contacts && added.iter().any(|user| *user != adder)
    }

    /// Decides whether the user may add these users, who may include the user. `contacts` are the user's mutual
    /// contacts.
    ///
    /// # Errors
    /// [`RecordsError::Forbidden`] with the reason.
    pub fn check(self, adder: UserId, added: &[UserId], contacts: &[UserId]) -> Answer<()> {
        match self {
            Self::Anyone => Ok(()),
            Self::Service => Err(RecordsError::Forbidden(
                "only services create conversations and add members here; ask the backend of this application".into(),
            )),
            Self::Contacts => {
                let contacts: BTreeSet<&UserId> = contacts.iter().collect();
                let stranger = added.iter().find(|user| **user != adder && !contacts.contains(user));
                stranger.map_or(Ok(()), |user| {
                    Err(RecordsError::Forbidden(format!(
                        "user {user} is no mutual contact; a user may only add users who are contacts in both directions"
                    )))
                })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANN: UserId = UserId::from_u128(1);
    const BOB: UserId = UserId::from_u128(2);
    const CAT: UserId = UserId::from_u128(3);

    fn allowed(policy: AdditionPolicy, added: &[UserId]) -> bool {
        match policy.check(ANN, added, &[BOB]) {
            Ok(()) => true,
            Err(RecordsError::Forbidden(text)) => text.is_empty(),
            Err(other) => panic!("{other}"),
        }
    }

    #[test]
    fn each_policy_allows_its_own_users() {
        use AdditionPolicy::{Anyone, Contacts, Service};
        let decisions = |added: &[UserId]| [Anyone, Contacts, Service].map(|policy| allowed(policy, added));
        assert_eq!(decisions(&[BOB, CAT]), [true, false, false]);
        assert_eq!(decisions(&[ANN, BOB]), [true, true, false]);
        assert_eq!(decisions(&[]), [true, true, false], "a conversation of one's own");
    }

    #[test]
    fn contacts_are_only_needed_where_they_decide() {
        assert!(AdditionPolicy::Contacts.needs_contacts(ANN, &[ANN, BOB]));
        assert!(!AdditionPolicy::Contacts.needs_contacts(ANN, &[ANN]));
        assert!(!AdditionPolicy::Anyone.needs_contacts(ANN, &[BOB]));
        assert!(!AdditionPolicy::Service.needs_contacts(ANN, &[BOB]));
    }

    #[test]
    fn a_refusal_names_the_user() {
        let refusal = AdditionPolicy::Contacts.check(ANN, &[BOB, CAT], &[BOB]).unwrap_err();
        assert!(refusal.to_string().contains(&CAT.to_string()), "{refusal}");
    }
}
