//! The directory: pages of all users and conversations.

use super::{ANN, BOB, CAT, DAN, Subject, by};
use crate::limits::LIST_MAX;
use crate::port::{Directory, Records, RecordsError};

/// Each id is listed once, whatever the size of the page.
pub async fn members_and_conversations_are_listed_in_ascending_pages<R: Records + Directory>(subject: &Subject<R>) {
    assert_eq!(subject.users(None, 10).await.unwrap(), []);
    assert_eq!(subject.conversation_ids(None, 10).await.unwrap(), []);
    let mut created = vec![subject.create(&[BOB, ANN]).await, subject.create(&[CAT, BOB]).await];
    created.push(subject.create(&[ANN]).await);
    created.sort_unstable();
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
        assert_eq!((users, conversations), (vec![ANN, BOB, CAT], created.clone()), "pages of {limit}");
    }
    for limit in [0, LIST_MAX as u32 + 1] {
        assert!(matches!(subject.users(None, limit).await, Err(RecordsError::Invalid(_))));
        assert!(matches!(subject.conversation_ids(None, limit).await, Err(RecordsError::Invalid(_))));
    }
}

/// Contacts alone do not make a user listed. A conversation without members is still listed.
pub async fn users_who_left_every_conversation_are_not_listed<R: Records + Directory>(subject: &Subject<R>) {
    let conversation = subject.create(&[ANN, BOB]).await;
    subject.add_contact(DAN, ANN).await.unwrap();
    for user in [BOB, ANN] {
        subject.remove_member(by(user, conversation, user)).await.unwrap();
    }
    assert_eq!(subject.users(None, 10).await.unwrap(), []);
    assert_eq!(subject.conversation_ids(None, 10).await.unwrap(), [conversation]);
}
