//! The functions that come with Roost, and what they are allowed unless the configuration says otherwise: exactly what
//! their manifests ask for, which a test compares. Every other function is allowed nothing by default.

use roost_core::key::Space;
use roost_core::port::Operation;
use roost_core::recipients::Recipients;

use super::keys::GrantsConfig;

/// The functions that come with Roost. They are trusted: their instances are reused, and quotas do not bound their
/// calls unless the configuration sets them.
pub(crate) const BUILT_IN: [&str; 6] = ["contacts", "last-message", "messaging", "presence", "typing", "unread"];

/// The greatest value of a quota, which no call reaches: 1 TiB, or about a million million operations.
pub(super) const UNBOUNDED: u64 = 1 << 40;

/// The keys of built-in functions whose defaults differ from those of other functions, with these defaults.
pub(super) const DEFAULTS: [(&str, &str); 7] = [
    ("calls_per_second_max", "1000000"),
    ("store_operations_max", "1099511627776"),
    ("store_read_bytes_max", "1099511627776"),
    ("store_written_bytes_max", "1099511627776"),
    ("records_operations_max", "1099511627776"),
    ("publications_max", "1099511627776"),
    ("reuse", "true"),
];

/// The default of this key for this function, if it differs from that of other functions.
pub(super) fn default_of(function: &str, key: &str) -> Option<&'static str> {
    let differs = DEFAULTS.iter().find(|(name, _)| *name == key).filter(|_| BUILT_IN.contains(&function));
    differs.map(|(_, default)| *default)
}

/// The key spaces of the unread counters.
const COUNTERS: [Space; 5] =
    [Space::UnreadTotal, Space::UnreadConversation, Space::UnreadSequence, Space::UnreadRead, Space::UnreadLease];

const PRESENCE: [Space; 6] =
    [Space::Online, Space::Presence, Space::Devices, Space::PresenceDue, Space::PresenceSweep, Space::Followed];

/// What a built-in function is allowed if the configuration does not name its grants; `None` for every other function.
pub fn default_grants(function: &str) -> Option<GrantsConfig> {
    Some(match function {
        "contacts" => allow(&[Space::Presence], Recipients::Anyone, &CONTACTS_OPERATIONS),
        "last-message" => {
            allow(&[Space::LastMessage], Recipients::Nobody, &[Operation::Membership, Operation::LastMessages])
        }
        "messaging" => {
            let spaces = [&COUNTERS[..], &[Space::LastMessage, Space::ReadReceipt], &OF_A_USER[..]].concat();
            allow(&spaces, Recipients::Anyone, &MESSAGING_OPERATIONS)
        }
        "presence" => allow(&PRESENCE, Recipients::Anyone, &PRESENCE_OPERATIONS),
        "typing" => allow(&[], Recipients::Anyone, &[Operation::Membership]),
        "unread" => {
            let spaces = [&COUNTERS[..], &[Space::Followed]].concat();
            allow(&spaces, Recipients::Anyone, &UNREAD_OPERATIONS)
        }
        _ => return None,
    })
}

/// What is erased with a user, beside the counters.
const OF_A_USER: [Space; 5] = [Space::Online, Space::Presence, Space::Devices, Space::PresenceDue, Space::Followed];

const CONTACTS_OPERATIONS: [Operation; 9] = [
    Operation::Contacts,
    Operation::Blocks,
    Operation::Audience,
    Operation::Relation,
    Operation::Announced,
    Operation::AddContact,
    Operation::RemoveContact,
    Operation::Block,
    Operation::Unblock,
];

const PRESENCE_OPERATIONS: [Operation; 3] = [Operation::Audience, Operation::ReadDocuments, Operation::PutDocument];

const UNREAD_OPERATIONS: [Operation; 5] =
    [Operation::Unread, Operation::Changes, Operation::LastMessages, Operation::Conversations, Operation::Members];

const MESSAGING_OPERATIONS: [Operation; 21] = [
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
    Operation::CreateDirect,
    Operation::AddMember,
    Operation::RemoveMember,
    Operation::Members,
    Operation::EraseUser,
    Operation::Audience,
    Operation::Relation,
    Operation::Pending,
    Operation::Announced,
    Operation::Postpone,
];

/// A built-in function reads the key spaces that it writes, and no others.
fn allow(spaces: &[Space], publish: Recipients, records: &[Operation]) -> GrantsConfig {
    let spaces: Vec<String> = spaces.iter().map(|space| space.name().to_owned()).collect();
    GrantsConfig {
        all: false,
        read: spaces.clone(),
        write: spaces,
        publish,
        subscribe: false,
        records: records.iter().map(|operation| operation.name().to_owned()).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::key::Allowed;
    use super::super::keys::FunctionConfig;
    use super::*;

    #[test]
    fn every_built_in_function_has_default_grants_and_no_other_has() {
        assert!(BUILT_IN.iter().all(|name| default_grants(name).is_some()));
        for name in ["", "weather", "Typing", "typing-2"] {
            assert_eq!(default_grants(name), None, "{name}");
        }
    }

    #[test]
    fn the_defaults_of_built_in_functions_are_the_greatest_values_of_their_keys() {
        for (name, default) in DEFAULTS {
            let key = FunctionConfig::KEYS.iter().find(|key| key.name == name).unwrap();
            match key.allowed {
                Allowed::Whole { maximum, .. } => assert_eq!(default, maximum.to_string(), "{name}"),
                allowed => assert_eq!((allowed, default), (Allowed::Switch, "true"), "{name}"),
            }
            assert_eq!(default_of("typing", name), Some(default));
            assert_eq!((default_of("weather", name), default_of("typing", "queue_max")), (None, None));
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
