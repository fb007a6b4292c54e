//! To whom a function may publish events: what a manifest asks for and what an operator allows. The host checks it for
//! each event, because only the host knows for whom a call is made.

/// The users to whom a function may publish. Each variant includes the ones before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Recipients {
    /// Nobody: the function publishes nothing.
    #[default]
    Nobody,
    /// The users of the call: the user on whose behalf it is made, the user of a connection or of a `sync`, the users
    /// of heartbeats, and those whom a publication names. A call that a service makes for itself, one without
    /// credentials and one of a schedule have no users.
    Caller,
    /// Also the members of conversations of these users, as far as the function has read them in the same call:
    /// whomever the answer of [`Records::membership`](crate::port::Records::membership) names that was asked for a user
    /// of the call.
    Members,
    /// Everybody, whoever the call is about.
    Anyone,
}

impl Recipients {
    /// Every variant, each with more users than the one before.
    pub const ALL: [Self; 4] = [Self::Nobody, Self::Caller, Self::Members, Self::Anyone];

    /// The name in manifests and in the configuration.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Nobody => "nobody",
            Self::Caller => "caller",
            Self::Members => "members",
            Self::Anyone => "anyone",
        }
    }

    /// The variant with this name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|recipients| recipients.name() == name)
    }

    /// Whether everybody of `other` is among these users.
    pub const fn includes(self, other: Self) -> bool {
        self as u8 >= other as u8
    }

    /// The users who are in both.
    #[must_use]
    pub const fn intersection(self, other: Self) -> Self {
        if self.includes(other) { other } else { self }
    }

    /// The users who are in one of them.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        if self.includes(other) { self } else { other }
    }

    /// What is missing if this is wanted and the other is there: all of this, or nothing.
    #[must_use]
    pub const fn without(self, other: Self) -> Self {
        if other.includes(self) { Self::Nobody } else { self }
    }
}

#[cfg(test)]
mod tests {
    use super::Recipients::{Anyone, Caller, Members, Nobody};
    use super::*;

    #[test]
    fn each_variant_includes_the_ones_before_it() {
        for (number, one) in Recipients::ALL.into_iter().enumerate() {
            for (other_number, other) in Recipients::ALL.into_iter().enumerate() {
                assert_eq!(one.includes(other), number >= other_number, "{one:?} {other:?}");
            }
            assert_eq!(Recipients::parse(one.name()), Some(one));
        }
        assert_eq!((Recipients::parse("true"), Recipients::parse("")), (None, None));
    }

    #[test]
    fn what_is_common_and_what_is_missing_is_decided_as_a_whole() {
        assert_eq!((Members.intersection(Caller), Caller.intersection(Anyone)), (Caller, Caller));
        assert_eq!((Members.union(Caller), Nobody.union(Members)), (Members, Members));
        assert_eq!(
            (Members.without(Caller), Members.without(Members), Caller.without(Anyone)),
            (Members, Nobody, Nobody)
        );
    }
}
