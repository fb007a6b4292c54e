//! Admission with futures that are polled by hand: bounds, shares of users and conversations, and pauses.

use std::future::Future;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

use tokio::sync::oneshot;

use super::*;

const LONG: Duration = Duration::from_secs(3_600);
const NOBODY: CallKeys = CallKeys { user: None, conversation: None };

fn poll<F: Future>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

fn admission(running_max: usize, waiting_max: usize) -> CallAdmission {
    CallAdmission::new(AdmissionBounds { running_max, paused_max: 1, waiting_max, wait_max: LONG })
}

fn of_user(number: u128) -> CallKeys {
    CallKeys { user: Some(UserId::from_u128(number)), conversation: None }
}

fn about(number: u128) -> CallKeys {
    CallKeys { user: None, conversation: Some(ConversationId::from_u128(number)) }
}

/// As many calls with these keys as are admitted at once.
fn admit_all(admission: &CallAdmission, keys: CallKeys) -> Vec<AdmittedCall> {
    std::iter::from_fn(|| admission.try_admit(keys)).collect()
}

#[tokio::test]
async fn calls_beyond_the_queue_are_refused() {
    let admission = admission(1, 1);
    let inside = admission.admit(NOBODY).await.unwrap();
    let mut second = pin!(admission.admit(NOBODY));
    assert!(poll(second.as_mut()).is_pending());
    assert_eq!(admission.admit(NOBODY).await.unwrap_err(), BUSY);
    drop(inside);
    assert!(second.await.is_ok());
}

#[tokio::test]
async fn a_cancelled_wait_frees_its_place_in_the_queue() {
    let admission = admission(1, 1);
    let _inside = admission.admit(NOBODY).await.unwrap();
    {
        let mut cancelled = pin!(admission.admit(NOBODY));
        assert!(poll(cancelled.as_mut()).is_pending());
    }
    let mut next = pin!(admission.admit(NOBODY));
    assert!(poll(next.as_mut()).is_pending(), "the cancelled call still holds its place in the queue");
}

#[tokio::test(start_paused = true)]
async fn a_wait_ends_with_busy_when_its_time_is_over() {
    let bounds = AdmissionBounds { running_max: 1, paused_max: 0, waiting_max: 1, wait_max: Duration::from_millis(50) };
    let admission = CallAdmission::new(bounds);
    let _inside = admission.admit(NOBODY).await.unwrap();
    assert_eq!(admission.admit(NOBODY).await.unwrap_err(), BUSY);
}

#[tokio::test]
async fn calls_of_one_user_leave_places_for_others() {
    let admission = admission(16, 8);
    let first = admit_all(&admission, of_user(1));
    assert_eq!(first.len(), 12, "half of the places while they are free, and a quarter of them beyond");
    let mut more = pin!(admission.admit(of_user(1)));
    assert!(poll(more.as_mut()).is_pending());
    let others: Vec<_> = (2..6).map(|user| admission.try_admit(of_user(user)).expect("a place is left")).collect();
    assert_eq!(others.len(), 4);
    drop(first);
    assert!(more.await.is_ok(), "the user's own calls go on when the first ones have ended");
}

#[tokio::test]
async fn calls_about_one_conversation_take_a_quarter_of_the_places() {
    let admission = admission(16, 8);
    let calls = admit_all(&admission, about(1));
    assert_eq!(calls.len(), 4);
    assert!(admission.try_admit(about(2)).is_some() && admission.try_admit(NOBODY).is_some());
}

#[tokio::test]
async fn calls_about_one_conversation_do_not_fill_the_queue() {
    let admission = admission(4, 8);
    let _running = admission.try_admit(about(1)).unwrap();
    let mut waiting: Vec<_> = (0..6).map(|_| Box::pin(admission.admit(about(1)))).collect();
    assert!(waiting.iter_mut().all(|call| poll(call.as_mut()).is_pending()));
    assert_eq!(admission.admit(about(1)).await.unwrap_err(), BUSY, "three quarters of the queue are taken");
    let _others = admit_all(&admission, NOBODY);
    let mut other = pin!(admission.admit(about(2)));
    assert!(poll(other.as_mut()).is_pending(), "another conversation still finds a place in the queue");
}

#[tokio::test]
async fn a_paused_call_gives_its_place_to_others_and_comes_back_before_new_calls() {
    let admission = admission(1, 8);
    let call = admission.try_admit(NOBODY).unwrap();
    let place = call.place();
    let (resume, resumed) = oneshot::channel::<()>();
    let mut paused = pin!(place.pause(resumed));
    assert!(poll(paused.as_mut()).is_pending());
    let other = admission.try_admit(NOBODY).expect("the place is free while the call is paused");
    let mut new: Vec<_> = (0..3).map(|_| Box::pin(admission.admit(NOBODY))).collect();
    assert!(new.iter_mut().all(|call| poll(call.as_mut()).is_pending()));
    resume.send(()).unwrap();
    assert!(poll(paused.as_mut()).is_pending(), "the place is taken");
    drop(other);
    let first = new.remove(0).await.unwrap();
    drop(first);
    assert!(poll(paused.as_mut()).is_ready(), "only one new call was before it");
    assert!(new.iter_mut().all(|call| poll(call.as_mut()).is_pending()));
    drop(call);
    assert!(new.remove(0).await.is_ok());
}

#[tokio::test]
async fn a_call_keeps_its_place_if_too_many_are_paused() {
    let admission = admission(2, 8);
    let (one, two) = (admission.try_admit(NOBODY).unwrap(), admission.try_admit(NOBODY).unwrap());
    let (one_place, two_place) = (one.place(), two.place());
    let mut first = pin!(one_place.pause(std::future::pending::<()>()));
    let mut second = pin!(two_place.pause(std::future::pending::<()>()));
    assert!(poll(first.as_mut()).is_pending() && poll(second.as_mut()).is_pending());
    let _third = admission.try_admit(NOBODY).expect("one of the two gave its place away");
    assert!(admission.try_admit(NOBODY).is_none());
}

#[tokio::test]
async fn a_call_that_ends_while_it_is_paused_gives_back_everything() {
    let admission = admission(1, 8);
    let call = admission.try_admit(about(1)).unwrap();
    {
        let place = call.place();
        let mut paused = pin!(place.pause(std::future::pending::<()>()));
        assert!(poll(paused.as_mut()).is_pending());
    }
    drop(call);
    let again = admission.try_admit(about(1)).unwrap();
    assert!(admission.try_admit(NOBODY).is_none());
    drop(again);
}
