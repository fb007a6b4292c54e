//! The size of a text, a message and a list as JSON, without encoding them: pages are cut by it.

use crate::port::Message;

/// The size of a UUID with its quotes and a comma.
pub(crate) const ID_BYTES: usize = 39;
/// The largest size of a number with a comma.
pub(crate) const NUMBER_BYTES: usize = 21;
/// The largest size of everything of a message but its type and content: the names of the fields, three ids, a sequence
/// number and two timestamps.
const MESSAGE_BYTES: usize = 300;

/// The size of a text as a JSON string. Exactly the characters that are counted as longer are escaped.
pub(crate) fn text_bytes(text: &str) -> usize {
    let escaped = |byte: u8| match byte {
        b'"' | b'\\' | b'\n' | b'\r' | b'\t' | 0x08 | 0x0C => 2,
        0..0x20 => 6,
        _ => 1,
    };
    text.bytes().map(escaped).sum::<usize>() + 2
}

/// A bound on the size of a message as JSON.
pub(crate) fn message_bytes(message: &Message) -> usize {
    MESSAGE_BYTES + text_bytes(&message.kind) + text_bytes(&message.content)
}

/// The number of entries, from the first one on, whose sizes together are at most `bytes_max`; at least one.
pub(crate) fn fitting(sizes: impl Iterator<Item = usize>, bytes_max: usize) -> usize {
    let mut bytes = 0_usize;
    let fit = sizes.take_while(|size| {
        bytes = bytes.saturating_add(*size);
        bytes <= bytes_max
    });
    fit.count().max(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::MessageView;
    use crate::ids::{ConversationId, MessageId, Seq, UserId};
    use crate::limits::{CONTENT_BYTES_MAX, KIND_BYTES_MAX, MEMBERS_SHOWN_MAX, PAGE_BYTES_MAX, SYNC_PART_BYTES_MAX};
    use crate::port::records_bounds::TIMESTAMP_MAX;

    #[test]
    fn a_text_has_the_size_that_serde_gives_it() {
        let all: String = (0..0x250_u32).filter_map(char::from_u32).collect();
        for text in ["", "plain", "\u{1f408}\u{7f}", "\"\\/\n", &"\u{1}".repeat(100), &all] {
            assert_eq!(text_bytes(text), serde_json::to_string(text).unwrap().len(), "{text:?}");
        }
    }

    #[test]
    fn a_message_is_never_larger_than_its_bound() {
        let largest = Message {
            id: MessageId::from_u128(u128::MAX),
            conversation: ConversationId::from_u128(u128::MAX),
            seq: Seq(u64::MAX),
            sender: UserId::from_u128(u128::MAX),
            kind: "\u{1}".repeat(KIND_BYTES_MAX),
            content: "\u{1}".repeat(CONTENT_BYTES_MAX),
            created_at: TIMESTAMP_MAX,
            edited_at: Some(TIMESTAMP_MAX),
            deleted: false,
        };
        let json = serde_json::to_string(&MessageView::from(&largest)).unwrap().len();
        let bound = message_bytes(&largest);
        assert!(json < bound && bound < json + 200, "{json} of {bound}");
        let entry = bound + (MEMBERS_SHOWN_MAX + 20) * (ID_BYTES + NUMBER_BYTES);
        assert!(entry < SYNC_PART_BYTES_MAX.min(PAGE_BYTES_MAX), "one entry always fits");
    }

    #[test]
    fn entries_are_counted_up_to_the_bound_and_one_always_fits() {
        let fit = |sizes: &[usize]| fitting(sizes.iter().copied(), 10);
        assert_eq!((fit(&[4, 6, 1]), fit(&[4, 7]), fit(&[11, 1]), fit(&[10])), (2, 1, 1, 1));
        assert_eq!(fitting(std::iter::repeat_n(usize::MAX, 3), 10), 1);
    }
}
