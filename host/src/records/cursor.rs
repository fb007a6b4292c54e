//! The cursor of a page of conversations: the last entry's activity and id. It stays right whatever happens to
//! the conversations before it.

use roost_core::ids::ConversationId;
use roost_core::port::RecordsError;
use roost_core::time::Timestamp;

/// A page goes on below this place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cursor {
    pub(super) updated_at: Timestamp,
    pub(super) id: ConversationId,
}

impl Cursor {
    /// Before the first entry.
    pub(super) const START: Self =
        Self { updated_at: Timestamp(i64::MAX as u64), id: ConversationId::from_u128(u128::MAX) };

    pub(super) fn write(self) -> String {
        format!("{}.{}", self.updated_at.0, self.id)
    }

    pub(super) fn read(text: &str) -> Result<Self, RecordsError> {
        let parse = || {
            let (moment, id) = text.split_once('.')?;
            let updated_at = moment.parse().ok().filter(|moment| i64::try_from(*moment).is_ok())?;
            Some(Self { updated_at: Timestamp(updated_at), id: id.parse().ok()? })
        };
        parse().ok_or_else(|| RecordsError::Invalid("not a cursor of an earlier page".into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_survives_its_text() {
        let cursor = Cursor { updated_at: Timestamp(1_790_000_000_123), id: ConversationId::from_u128(7) };
        assert_eq!(Cursor::read(&cursor.write()), Ok(cursor));
        assert_eq!(Cursor::read(&Cursor::START.write()), Ok(Cursor::START));
    }

    #[test]
    fn other_text_is_no_cursor() {
        let id = "00000000-0000-0000-0000-000000000007";
        for text in ["", ".", "1", &format!("-1.{id}"), &format!("18446744073709551615.{id}"), "1.7", "é.é"] {
            assert!(matches!(Cursor::read(text), Err(RecordsError::Invalid(_))), "{text}");
        }
    }
}
