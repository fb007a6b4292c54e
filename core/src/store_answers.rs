//! Parses answers of the key-value port. Each function takes the answer to one query and returns the value of the
//! expected type; an answer of any other type is a [`StoreError::WrongType`].

use std::collections::BTreeMap;

use crate::ids::{ConversationId, Seq};
use crate::port::{StoreError, Value};

/// The error for an answer that breaks the contract of the port.
pub(crate) fn unexpected(expected: &str) -> StoreError {
    StoreError::WrongType(format!("the store's answer was expected to be {expected}"))
}

impl Value {
    /// The bytes of the key; `None` if the key is missing.
    ///
    /// # Errors
    /// [`StoreError::WrongType`] for the answer to another query; likewise for the methods below.
    pub fn into_bytes(self) -> Result<Option<Vec<u8>>, StoreError> {
        match self {
            Self::Bytes(bytes) => Ok(Some(bytes)),
            Self::Missing => Ok(None),
            _ => Err(unexpected("bytes")),
        }
    }

    /// The number of a counter; `None` if the key is missing, which is not the same as zero.
    ///
    /// # Errors
    /// As [`Value::into_bytes`].
    pub fn into_counter(self) -> Result<Option<i64>, StoreError> {
        counter(Some(self))
    }

    /// All fields of a hash, sorted by name; empty if the key is missing.
    ///
    /// # Errors
    /// As [`Value::into_bytes`].
    pub fn into_fields(self) -> Result<Vec<(String, String)>, StoreError> {
        fields(Some(self))
    }

    /// The members of an ordered set with their scores; empty if the key is missing.
    ///
    /// # Errors
    /// As [`Value::into_bytes`].
    pub fn into_ordered(self) -> Result<Vec<(String, i64)>, StoreError> {
        match self {
            Self::Ordered(members) => Ok(members),
            Self::Missing => Ok(Vec::new()),
            _ => Err(unexpected("an ordered set")),
        }
    }
}

/// A counter; `None` if the key is missing.
pub(crate) fn counter(value: Option<Value>) -> Result<Option<i64>, StoreError> {
    match value {
        Some(Value::Counter(number)) => Ok(Some(number)),
        Some(Value::Missing) => Ok(None),
        _ => Err(unexpected("a counter")),
    }
}

/// All fields of a hash; empty if the key is missing.
pub(crate) fn fields(value: Option<Value>) -> Result<Vec<(String, String)>, StoreError> {
    match value {
        Some(Value::Fields(fields)) => Ok(fields),
        Some(Value::Missing) => Ok(Vec::new()),
        _ => Err(unexpected("fields")),
    }
}

/// The only field that was asked for, as a sequence number.
pub(crate) fn seq_field(value: Option<Value>) -> Result<Option<Seq>, StoreError> {
    match value {
        Some(Value::NamedFields(fields)) => fields.into_iter().next().flatten().map(|text| seq(&text)).transpose(),
        _ => Err(unexpected("a named field")),
    }
}

/// The fields that were asked for, as sequence numbers.
pub(crate) fn seq_fields(value: Option<Value>) -> Result<Vec<Option<Seq>>, StoreError> {
    match value {
        Some(Value::NamedFields(fields)) => {
            fields.into_iter().map(|field| field.map(|text| seq(&text)).transpose()).collect()
        }
        _ => Err(unexpected("named fields")),
    }
}

/// All fields of a hash that maps conversations to sequence numbers. Fields whose name is no conversation id are
/// skipped.
pub(crate) fn positions(value: Option<Value>) -> Result<BTreeMap<ConversationId, Seq>, StoreError> {
    let fields = fields(value)?.into_iter();
    let named = fields.filter_map(|(name, text)| Some((name.parse().ok()?, text)));
    let mut positions = BTreeMap::new();
    for (conversation, text) in named {
        positions.insert(conversation, seq(&text)?);
    }
    Ok(positions)
}

/// A sequence number from its decimal text.
pub(crate) fn seq(text: &str) -> Result<Seq, StoreError> {
    text.parse().map(Seq).map_err(|_| StoreError::WrongType(format!("expected a sequence number, found {text:?}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(fields: &[(&str, &str)]) -> Vec<(String, String)> {
        fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn a_missing_counter_is_not_zero_and_another_type_is_an_error() {
        assert_eq!(counter(Some(Value::Counter(7))), Ok(Some(7)));
        assert_eq!(counter(Some(Value::Missing)), Ok(None));
        assert_eq!(counter(Some(Value::Presence(true))), Err(unexpected("a counter")));
        assert_eq!(counter(None), Err(unexpected("a counter")), "the call answered too little");
    }

    #[test]
    fn a_missing_hash_has_no_fields_and_another_type_is_an_error() {
        let found = text(&[("a", "1")]);
        assert_eq!(fields(Some(Value::Fields(found.clone()))), Ok(found));
        assert_eq!(fields(Some(Value::Missing)), Ok(Vec::new()));
        assert_eq!(fields(Some(Value::Counter(1))), Err(unexpected("fields")));
    }

    #[test]
    fn a_value_is_read_as_what_was_asked_for_or_refused() {
        assert_eq!(Value::Bytes(vec![1]).into_bytes(), Ok(Some(vec![1])));
        assert_eq!(Value::Missing.into_bytes(), Ok(None));
        assert_eq!(Value::Counter(1).into_bytes(), Err(unexpected("bytes")));
        assert_eq!(Value::Missing.into_counter(), Ok(None));
        assert_eq!(Value::Fields(text(&[("a", "1")])).into_fields(), Ok(text(&[("a", "1")])));
        assert_eq!(Value::Ordered(vec![("a".to_owned(), 2)]).into_ordered(), Ok(vec![("a".to_owned(), 2)]));
        assert_eq!(Value::Missing.into_ordered(), Ok(Vec::new()));
        assert_eq!(Value::Presence(true).into_ordered(), Err(unexpected("an ordered set")));
    }

    #[test]
    fn a_sequence_field_is_a_number_or_missing() {
        let named = |field: Option<&str>| Some(Value::NamedFields(vec![field.map(str::to_owned)]));
        assert_eq!(seq_field(named(Some("12"))), Ok(Some(Seq(12))));
        assert_eq!(seq_field(named(None)), Ok(None));
        assert!(matches!(seq_field(named(Some("twelve"))), Err(StoreError::WrongType(_))));
        assert!(matches!(seq_field(Some(Value::Missing)), Err(StoreError::WrongType(_))));
        let two = Value::NamedFields(vec![Some("12".into()), None]);
        assert_eq!(seq_fields(Some(two)), Ok(vec![Some(Seq(12)), None]));
        assert!(matches!(seq_fields(named(Some("twelve"))), Err(StoreError::WrongType(_))));
    }

    #[test]
    fn positions_are_read_by_conversation_and_other_fields_are_skipped() {
        let conversation = ConversationId::from_u128(9);
        let hash = |value: &str| Some(Value::Fields(text(&[(&conversation.to_string(), value), ("other", "x")])));
        assert_eq!(positions(hash("4")), Ok(BTreeMap::from([(conversation, Seq(4))])));
        assert_eq!(positions(Some(Value::Missing)), Ok(BTreeMap::new()));
        assert!(matches!(positions(hash("four")), Err(StoreError::WrongType(_))));
    }
}
