//! Who knows whom, and who has blocked whom.

use roost_core::ids::UserId;
use roost_core::port;
use serde::{Deserialize, Serialize};

use super::{both_ways, in_order};

/// The answer to `contacts`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "those the user has added")]
pub struct Contacts {
    #[serde(deserialize_with = "in_order")]
    pub contacts: Vec<UserId>,
}

/// `add-contact` and `remove-contact`
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "as the arguments of `Records::add_contact`")]
pub struct Contact {
    pub user: UserId,
    pub contact: UserId,
}

/// `block` and `unblock`
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "as the arguments of `Records::block`")]
pub struct Blocked {
    pub user: UserId,
    pub blocked: UserId,
}

/// `audience`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "as the argument of `Records::audience`")]
pub struct ReadAudience {
    pub users: Vec<UserId>,
}

/// The answer to `audience`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "in the order asked")]
pub struct Audiences {
    pub audiences: Vec<Audience>,
}

/// Who may see a user's presence.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "as `roost_core::port::ContactAudience`")]
pub struct Audience {
    pub user: UserId,
    #[serde(deserialize_with = "in_order")]
    pub visible: Vec<UserId>,
}

both_ways!(Audience, port::ContactAudience { user: user, visible: visible });
