//! Going through everybody.

use super::{ANN, BOB, CAT, DAN, Subject, by};
use crate::limits::LIST_MAX;
use crate::port::{Directory, Records, RecordsError};

/// Whatever the size of the page, each once.
pub async fn members_and_conversations_are_listed_in_ascending_pages<R: Records + Directory>(subject: &Subject<R>) {
    assert_eq!(subject.users(None, 10).await.unwrap(), []);
    assert_eq!(subject.conversation_ids(None, 10).await.unwrap(), []);
    let mut talks = vec![subject.talk(&[BOB, ANN]).await, subject.talk(&[CAT, BOB]).await];
    talks.push(subject.talk(&[ANN]).await);
    talks.sort_unstable();
    for limit in [1, 2, 3, LIST_MAX as u32] {
        let (mut users, mut conversations) = (Vec::new(), Vec::new());
        loop {
            let page = subject.users(users.last().copied(), limit).await.unwrap();
            users.extend(&page);
            if page.len() < limit as usize {
                break;
            }
        }
        loop {
            let page = subject.conversation_ids(conversations.last().copied(), limit).await.unwrap();
            conversations.extend(&page);
            if page.len() < limit as usize {
                break;
            }
        }
        assert_eq!((users, conversations), (vec![ANN, BOB, CAT], talks.clone()), "pages of {limit}");
    }
    for limit in [0, LIST_MAX as u32 + 1] {
        assert!(matches!(subject.users(None, limit).await, Err(RecordsError::Invalid(_))));
        assert!(matches!(subject.conversation_ids(None, limit).await, Err(RecordsError::Invalid(_))));
    }
}

/// Contacts alone do not count, and a conversation stays without members.
pub async fn those_who_left_everything_are_not_listed<R: Records + Directory>(subject: &Subject<R>) {
    let talk = subject.talk(&[ANN, BOB]).await;
    subject.add_contact(DAN, ANN).await.unwrap();
    for user in [BOB, ANN] {
        subject.remove_member(by(user, talk, user)).await.unwrap();
    }
    assert_eq!(subject.users(None, 10).await.unwrap(), []);
    assert_eq!(subject.conversation_ids(None, 10).await.unwrap(), [talk]);
}
