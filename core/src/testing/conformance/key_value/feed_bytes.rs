//! How many bytes a feed keeps.

use super::Harness;
use super::fixture::{Fixture, durable};
use crate::feed::Position;
use crate::limits::FEED_BYTES_MAX;
use crate::port::Event;

/// An event whose name and payload have this many bytes.
fn of_bytes(bytes: usize) -> Event {
    let event = durable("");
    let payload = format!("\"{}\"", "x".repeat(bytes - event.name.len() - 2));
    Event { payload: payload.as_str().into(), ..event }
}

/// Names and payloads together; the oldest events go first, and a reader who needs them is told so.
pub async fn a_feed_keeps_at_most_256_kib<H: Harness>(harness: &H) {
    let fixture = Fixture::new(harness);
    let start = fixture.follow().await;
    let quarter = FEED_BYTES_MAX / 4;
    for _ in 0..4 {
        fixture.publish(&[of_bytes(quarter)]).await;
    }
    assert_eq!(fixture.offsets_after(&start).await, Some(vec![1, 2, 3, 4]), "exactly the limit");
    fixture.publish(&[of_bytes(20)]).await;
    let newest = fixture.position().await;
    assert_eq!(newest.offset, 5);
    let after = async |offset| fixture.offsets_after(&Position { offset, ..newest.clone() }).await;
    assert_eq!(after(1).await, Some(vec![2, 3, 4, 5]));
    assert_eq!(after(0).await, None);
    assert_eq!(fixture.offsets_after(&start).await, None);
}

/// A feed that was full of large events is one of many small ones in the end.
pub async fn small_events_after_large_ones_push_them_out_one_by_one<H: Harness>(harness: &H) {
    let fixture = Fixture::new(harness);
    let start = fixture.follow().await;
    let half = FEED_BYTES_MAX / 2;
    fixture.publish(&[of_bytes(half), of_bytes(half)]).await;
    assert_eq!(fixture.offsets_after(&start).await.map(|offsets| offsets.len()), Some(2));
    let small = of_bytes(FEED_BYTES_MAX / 256);
    let mut kept = Vec::new();
    for number in 3..=258_u64 {
        fixture.publish(std::slice::from_ref(&small)).await;
        if [3, 130, 131, 258].contains(&number) {
            let newest = fixture.position().await;
            let mut oldest = 0;
            for offset in [0, 1, 2] {
                let since = Position { offset, ..newest.clone() };
                if fixture.offsets_after(&since).await.is_some() {
                    oldest = offset + 1;
                    break;
                }
            }
            kept.push((number, oldest));
        }
    }
    assert_eq!(kept, [(3, 2), (130, 2), (131, 3), (258, 3)]);
    fixture.publish(std::slice::from_ref(&small)).await;
    let newest = fixture.position().await;
    assert_eq!(fixture.offsets_after(&Position { offset: 2, ..newest.clone() }).await, None, "256 of them are full");
    let rest = fixture.offsets_after(&Position { offset: 3, ..newest }).await;
    assert_eq!(rest, Some((4..=259).collect()));
}

/// In one transaction, too.
pub async fn more_bytes_than_a_feed_keeps_leave_the_newest<H: Harness>(harness: &H) {
    let fixture = Fixture::new(harness).followed().await;
    fixture.publish(&[durable("1")]).await;
    let third = FEED_BYTES_MAX / 3;
    let transaction = (0..9).fold(fixture.transaction(), |all, _| all.publish(of_bytes(third)));
    fixture.commit(transaction).await;
    let newest = fixture.position().await;
    assert_eq!(newest.offset, 10);
    let after = async |offset| fixture.offsets_after(&Position { offset, ..newest.clone() }).await;
    assert_eq!(after(7).await, Some(vec![8, 9, 10]));
    assert_eq!(after(6).await, None);
}
