//! Messages that are asked for by their ids.

use super::{ANN, BOB, CAT, DAN, NOWHERE, Subject, by_service, edit};
use crate::ids::{ConversationId, MessageId, UserId};
use crate::port::{Answer, Message, MessagesQuery, Records, RecordsError};

async fn find<R: Records>(
    subject: &Subject<R>,
    (user, conversation): (UserId, ConversationId),
    messages: &[MessageId],
) -> Answer<Vec<Option<Message>>> {
    subject.messages(MessagesQuery { user, conversation, messages: messages.to_vec() }).await
}

/// An edited message is answered as it is now, and an id that is asked for twice is answered twice.
pub async fn messages_are_answered_by_their_ids_in_the_order_asked<R: Records>(subject: &Subject<R>) {
    let conversation = subject.create(&[ANN, BOB]).await;
    let first = subject.send(conversation, ANN, "one").await;
    let second = subject.send(conversation, BOB, "two").await;
    let edited = subject.edit_message(edit(&first, "eins")).await.unwrap().change.message;
    assert_eq!(find(subject, (BOB, conversation), &[]).await, Ok(Vec::new()));
    let asked = [second.id, first.id, second.id];
    let expected = vec![Some(second.clone()), Some(edited), Some(second)];
    assert_eq!(find(subject, (BOB, conversation), &asked).await, Ok(expected));
}

/// A user who is no member learns nothing, also not whether there is such a conversation.
pub async fn messages_that_history_does_not_show_are_not_found<R: Records>(subject: &Subject<R>) {
    let (conversation, other) = (subject.create(&[ANN, BOB]).await, subject.create(&[ANN, BOB]).await);
    let early = subject.send(conversation, ANN, "early").await;
    subject.add_member(by_service(conversation, CAT)).await.unwrap();
    let shown = subject.send(conversation, ANN, "shown").await;
    let deleted = subject.send(conversation, ANN, "deleted").await;
    subject.delete(&deleted).await;
    let elsewhere = subject.send(other, ANN, "elsewhere").await;
    let asked = [early.id, shown.id, deleted.id, elsewhere.id, MessageId::from_u128(0xFFFF)];
    let hidden = || vec![None, Some(shown.clone()), None, None, None];
    assert_eq!(find(subject, (CAT, conversation), &asked).await, Ok(hidden()));
    let mut all = hidden();
    all[0] = Some(early.clone());
    assert_eq!(find(subject, (BOB, conversation), &asked).await, Ok(all));
    assert_eq!(find(subject, (BOB, conversation), &[elsewhere.id]).await, Ok(vec![None]));
    for (user, conversation) in [(DAN, conversation), (ANN, NOWHERE)] {
        assert_eq!(find(subject, (user, conversation), &asked).await, Err(RecordsError::NotAMember));
        assert_eq!(find(subject, (user, conversation), &[]).await, Err(RecordsError::NotAMember));
    }
}

/// One more id is refused before anything else.
pub async fn at_most_100_messages_are_read_by_their_ids<R: Records>(subject: &Subject<R>) {
    let conversation = subject.create(&[ANN]).await;
    let mut ids: Vec<MessageId> = (1..100).map(MessageId::from_u128).collect();
    let sent = subject.send(conversation, ANN, "here").await;
    ids.push(sent.id);
    let found = find(subject, (ANN, conversation), &ids).await.unwrap();
    assert_eq!(found.iter().flatten().collect::<Vec<_>>(), [&sent]);
    ids.push(MessageId::from_u128(100));
    assert!(matches!(find(subject, (ANN, conversation), &ids).await, Err(RecordsError::TooLarge(_))));
}
