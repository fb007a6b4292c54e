//! Reads the messages of a channel, as `commit.lua` and the host publish them, without parsing the payload.

use std::sync::Arc;

use roost_core::feed::Position;
use roost_core::port::Delivery;
use serde::Deserialize;
use serde_json::value::RawValue;

const START: &str = r#"{"type":""#;
const PAYLOAD: &str = r#"","payload":"#;
const OFFSET: &str = r#","offset":"#;
const EPOCH: &str = r#","epoch":""#;

/// Reads a message; `None` if it is not one of Roost's.
pub(in crate::store::redis) fn read(message: &[u8]) -> Option<Delivery> {
    let text = std::str::from_utf8(message).ok()?;
    read_exact(text).or_else(|| read_json(text))
}

/// Reads the form that the host and the script write. The position is split off from the end: a payload is a JSON
/// value, so the end of the message cannot be part of it.
fn read_exact(text: &str) -> Option<Delivery> {
    let (name, rest) = text.strip_prefix(START)?.split_once(PAYLOAD)?;
    let rest = rest.strip_suffix('}')?;
    let (payload, position) = split_position(rest).map_or((rest, None), |(payload, at)| (payload, Some(at)));
    Some(Delivery { name: name.into(), payload: payload.into(), position })
}

fn split_position(rest: &str) -> Option<(&str, Position)> {
    let (rest, epoch) = rest.strip_suffix('"')?.rsplit_once(EPOCH)?;
    let (payload, offset) = rest.rsplit_once(OFFSET)?;
    let is_plain = epoch.bytes().all(|byte| byte.is_ascii_alphanumeric());
    let offset = offset.parse().ok().filter(|_| is_plain)?;
    Some((payload, Position { epoch: epoch.into(), offset }))
}

/// Reads any other JSON with the same members, as another program may write it.
fn read_json(text: &str) -> Option<Delivery> {
    #[derive(Deserialize)]
    struct BusMessage<'m> {
        r#type: Arc<str>,
        #[serde(borrow)]
        payload: &'m RawValue,
        offset: Option<u64>,
        epoch: Option<Arc<str>>,
    }
    let message: BusMessage<'_> = serde_json::from_str(text).ok()?;
    let position = message.offset.zip(message.epoch).map(|(offset, epoch)| Position { epoch, offset });
    Some(Delivery { name: message.r#type, payload: message.payload.get().into(), position })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> (String, String, Option<String>) {
        let delivery = read(text.as_bytes()).unwrap();
        let position = delivery.position.map(|position| position.to_string());
        (delivery.name.to_string(), delivery.payload.to_string(), position)
    }

    #[test]
    fn the_payload_of_a_message_is_unchanged() {
        let plain = of(r#"{"type":"a.b","payload": [ ] }"#);
        assert_eq!(plain, ("a.b".into(), " [ ] ".into(), None));
        let durable = of(r#"{"type":"a.b","payload":{"x":"y"},"offset":7,"epoch":"17"}"#);
        assert_eq!(durable, ("a.b".into(), r#"{"x":"y"}"#.into(), Some("17:7".into())));
        let within = of(r#"{"type":"a","payload":{"b":1,"offset":7,"epoch":"17"}}"#);
        assert_eq!(within, ("a".into(), r#"{"b":1,"offset":7,"epoch":"17"}"#.into(), None));
    }

    #[test]
    fn another_programs_format_is_understood() {
        let spaced = of(r#"{ "epoch": "17", "offset": 7, "payload": {"x": 1}, "type": "a" }"#);
        assert_eq!(spaced, ("a".into(), r#"{"x": 1}"#.into(), Some("17:7".into())));
        assert_eq!(read(b"hello"), None);
        assert_eq!(read(&[0xFF]), None);
    }
}
