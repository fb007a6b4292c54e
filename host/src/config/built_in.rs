//! The functions that come with Roost, and what they are allowed unless the configuration says otherwise: exactly what
//! their manifests ask for, which a test compares. Every other function is allowed nothing by default.

use roost_core::key::Space;
use roost_core::port::Operation;

use super::keys::GrantsConfig;

/// The functions that come with Roost. They are trusted: their instances are reused, and quotas do not bound their calls.
pub(crate) const BUILT_IN: [&str; 6] = ["contacts", "last-message", "messaging", "presence", "typing", "unread"];

/// The key spaces of the unread counters.
const COUNTERS: [Space; 5] =
    [Space::UnreadTotal, Space::UnreadConversation, Space::UnreadSequence, Space::UnreadRead, Space::UnreadLease];

/// What a built-in function is allowed if the configuration does not name its grants; `None` for every other function.
pub fn default_grants(function: &str) -> Option<GrantsConfig> {
    Some(match function {
        "contacts" => allow(&[], false, &CONTACTS_OPERATIONS),
        "last-message" => allow(&[Space::LastMessage], false, &[Operation::Membership, Operation::LastMessages]),
        "messaging" => allow(&[&COUNTERS[..], &[Space::LastMessage]].concat(), true, &MESSAGING_OPERATIONS),
        "presence" => {
            allow(&[Space::Online, Space::Presence, Space::Devices, Space::PresenceDue], true, &[Operation::Audience])
        }
        "typing" => allow(&[], true, &[Operation::Membership]),
        "unread" => allow(&COUNTERS, true, &[Operation::Unread, Operation::Changes]),
        _ => return None,
    })
}

const CONTACTS_OPERATIONS: [Operation; 5] =
    [Operation::Contacts, Operation::AddContact, Operation::RemoveContact, Operation::Block, Operation::Unblock];

const MESSAGING_OPERATIONS: [Operation; 15] = [
    Operation::AppendMessage,
    Operation::EditMessage,
    Operation::DeleteMessage,
    Operation::MarkRead,
    Operation::Unread,
    Operation::Changes,
    Operation::LastMessages,
    Operation::Membership,
    Operation::Conversations,
    Operation::History,
    Operation::CreateConversation,
    Operation::AddMember,
    Operation::RemoveMember,
    Operation::Pending,
    Operation::Announced,
];

/// A built-in function reads the key spaces that it writes, and no others.
fn allow(spaces: &[Space], publish: bool, records: &[Operation]) -> GrantsConfig {
    let spaces: Vec<String> = spaces.iter().map(|space| space.name().to_owned()).collect();
    GrantsConfig {
        all: false,
        read: spaces.clone(),
        write: spaces,
        publish,
        records: records.iter().map(|operation| operation.name().to_owned()).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_built_in_function_has_default_grants_and_no_other_has() {
        assert!(BUILT_IN.iter().all(|name| default_grants(name).is_some()));
        for name in ["", "weather", "Typing", "typing-2"] {
            assert_eq!(default_grants(name), None, "{name}");
        }
    }

    #[test]
    fn no_built_in_function_is_allowed_everything_or_the_space_of_other_functions() {
        for grants in BUILT_IN.into_iter().filter_map(default_grants) {
            let spaces: Vec<&String> = grants.read.iter().chain(&grants.write).collect();
            assert!(!grants.all && !spaces.iter().any(|space| *space == "app"), "{grants:?}");
        }
    }
}
