//! The bytes of what a call sends to the store and receives from it: values, texts, and the items of keys.

use super::{Check, Event, Mutation, PublishedResult, Transaction, Value};

/// The bytes of a number, of a score and of an id.
const NUMBER_BYTES: usize = 8;

impl Transaction {
    /// The bytes of everything that the transaction contains; an addressed event counts once for each of its users.
    pub fn bytes(&self) -> usize {
        let checks: usize = self.checks.iter().map(Check::bytes).sum();
        let mutations: usize = self.mutations.iter().map(Mutation::bytes).sum();
        let addressed: usize =
            self.addressed.iter().map(|each| each.event.bytes().saturating_mul(each.users.len())).sum();
        let publications: usize = self.publications.iter().map(Event::bytes).sum();
        let results: usize = self.published_results.iter().map(PublishedResult::bytes).sum();
        checks + mutations + publications + results + addressed
    }

    /// All events: those for the owner, and those for named users.
    pub fn events(&self) -> impl Iterator<Item = &Event> {
        self.publications.iter().chain(self.addressed.iter().map(|addressed| &addressed.event))
    }

    /// The number of events that feeds receive: an addressed event counts once for each of its users.
    pub fn deliveries(&self) -> usize {
        self.publications.len() + self.addressed.iter().map(|each| each.users.len()).sum::<usize>()
    }
}

impl Check {
    fn bytes(&self) -> usize {
        self.key().bytes()
            + match self {
                Self::Absent(_) | Self::Present(_) | Self::PresentEither(..) => 0,
                Self::Equals(_, value) => value.len(),
                Self::FieldEquals(_, field, value) => field.len() + value.as_ref().map_or(0, |value| value.len()),
                Self::FieldBelow(_, name, _) | Self::ScoreEquals(_, name, _) => name.len() + NUMBER_BYTES,
            }
    }
}

impl Mutation {
    fn bytes(&self) -> usize {
        self.key().bytes()
            + match self {
                Self::Set(_, value, _) => value.len(),
                Self::Delete(_) | Self::Persist(_) => 0,
                Self::Add { .. } | Self::Expire(..) => NUMBER_BYTES,
                Self::SetFields(_, fields) => fields.iter().map(|(name, value)| name.len() + value.len()).sum(),
                Self::DeleteFields(_, names) => names.iter().map(|name| name.len()).sum(),
                Self::AddField(_, name, _) | Self::OrderedPut(_, name, _) => name.len() + NUMBER_BYTES,
                Self::OrderedRemove(_, name) => name.len(),
            }
    }
}

impl Event {
    /// The bytes of the name and the payload.
    pub fn bytes(&self) -> usize {
        self.name.len() + self.payload.len()
    }
}

impl Value {
    /// The bytes of the texts and numbers in the answer.
    pub fn bytes(&self) -> usize {
        match self {
            Self::Missing | Self::Presence(_) => 1,
            Self::Bytes(bytes) => bytes.len(),
            Self::Counter(_) | Self::TimeToLive(_) => NUMBER_BYTES,
            Self::Fields(fields) => fields.iter().map(|(name, value)| name.len() + value.len()).sum(),
            Self::NamedFields(values) => values.iter().flatten().map(String::len).sum(),
            Self::Ordered(members) => members.iter().map(|(member, _)| member.len() + NUMBER_BYTES).sum(),
            Self::Counters(counters) => counters.len() * (2 * NUMBER_BYTES + NUMBER_BYTES),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::UserId;
    use crate::key::{Key, Owner};

    const OWNER: Owner = Owner::User(UserId::from_u128(1));

    #[test]
    fn a_transaction_has_the_bytes_of_all_its_parts() {
        let key = || Key::app(OWNER, "item");
        let of = |mutation| Transaction::new(OWNER).mutate(mutation).bytes();
        assert_eq!(Transaction::new(OWNER).bytes(), 0);
        assert_eq!(of(Mutation::Set(key(), vec![0; 5], None)), 4 + 5);
        assert_eq!(of(Mutation::SetFields(key(), vec![("ab".into(), "cde".into())])), 4 + 5);
        assert_eq!(of(Mutation::DeleteFields(key(), vec!["ab".into(), "c".into()])), 4 + 3);
        assert_eq!(of(Mutation::OrderedPut(key(), "ab".into(), 1)), 4 + 2 + 8);
        let event = Event { name: "ab".into(), payload: "cde".into(), durable: true };
        let whole = Transaction::new(OWNER)
            .check(Check::Equals(key(), vec![0; 3]))
            .check(Check::FieldEquals(key(), "a".into(), Some("bc".into())))
            .mutate(Mutation::Delete(key()))
            .publish(event.clone());
        assert_eq!((whole.bytes(), whole.deliveries()), ((4 + 3) + (4 + 3) + 4 + 5, 1));
        let carrying = whole.clone().with_result("sum", 0);
        assert_eq!((carrying.bytes(), carrying.deliveries()), (whole.bytes() + 3 + 24, 1));
        let addressed = whole.clone().address(vec![UserId::from_u128(2), UserId::from_u128(3)], event);
        assert_eq!((addressed.bytes(), addressed.deliveries()), (whole.bytes() + 2 * 5, 3));
    }

    #[test]
    fn an_answer_has_the_bytes_of_its_texts() {
        assert_eq!(Value::Bytes(vec![0; 7]).bytes(), 7);
        assert_eq!(Value::Fields(vec![("a".into(), "bc".into()), ("d".into(), "e".into())]).bytes(), 5);
        assert_eq!(Value::NamedFields(vec![None, Some("abc".into())]).bytes(), 3);
        assert_eq!(Value::Ordered(vec![("ab".into(), 1)]).bytes(), 10);
        assert_eq!(Value::Missing.bytes(), 1, "even asking in vain costs something");
    }
}
