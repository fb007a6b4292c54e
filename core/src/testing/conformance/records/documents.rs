//! Documents of functions: versions, races, isolation, names, content and bounds.

use super::{ANN, BOB, Subject};
use crate::ids::{ConversationId, MessageId, UserId};
use crate::key::Owner;
use crate::limits::{DOCUMENT_BYTES_MAX, DOCUMENT_KEYS_MAX, DOCUMENTS_MAX, FUNCTION_NAME_BYTES_MAX, NAME_BYTES_MAX};
use crate::port::{Answer, Document, DocumentKey, DocumentPut, DocumentScope, Records, RecordsError};
use crate::testing::{BoxFuture, join_all};

const OWNER: Owner = Owner::User(ANN);

fn key(name: &str) -> DocumentKey {
    DocumentKey::new(OWNER, name)
}

fn put_of(key: &DocumentKey, expected: Option<u64>, json: &str) -> DocumentPut {
    DocumentPut::new(key.clone(), json.to_owned(), expected)
}

fn document(version: u64, json: &str) -> Option<Document> {
    Some(Document { version, json: json.to_owned() })
}

const fn mismatch<T>(present: Option<u64>) -> Answer<T> {
    Err(RecordsError::VersionMismatch { present })
}

impl<R: Records> Subject<R> {
    async fn put(&self, key: &DocumentKey, expected: Option<u64>, json: &str) -> Answer<u64> {
        self.put_document(put_of(key, expected, json)).await
    }

    async fn document(&self, key: &DocumentKey) -> Option<Document> {
        let mut documents = self.read_documents(vec![key.clone()]).await.unwrap();
        assert_eq!(documents.len(), 1);
        documents.remove(0)
    }

    async fn names(&self, owner: Owner) -> Vec<String> {
        self.document_names(DocumentScope::new(owner)).await.unwrap()
    }
}

/// A new document has version 1, and each put adds 1. After a deletion the count begins again.
pub async fn versions_count_from_one<R: Records>(subject: &Subject<R>) {
    let key = key("settings");
    assert_eq!(subject.document(&key).await, None);
    for _ in 0..2 {
        assert_eq!(subject.put(&key, None, r#"{"color":"red"}"#).await, Ok(1));
        assert_eq!(subject.document(&key).await, document(1, r#"{"color":"red"}"#));
        assert_eq!(subject.put(&key, Some(1), r#"{"color":"blue"}"#).await, Ok(2));
        assert_eq!(subject.put(&key, Some(2), "null").await, Ok(3));
        assert_eq!(subject.document(&key).await, document(3, "null"));
        assert_eq!(subject.names(OWNER).await, ["settings"]);
        assert_eq!(subject.delete_document(key.clone(), 3).await, Ok(()));
        assert_eq!(subject.document(&key).await, None);
        assert!(subject.names(OWNER).await.is_empty());
    }
}

/// The refusal names the present version, and nothing is changed.
pub async fn a_wrong_version_is_refused_with_the_present_one<R: Records>(subject: &Subject<R>) {
    let key = key("settings");
    for expected in [0, 1, u64::MAX] {
        assert_eq!(subject.put(&key, Some(expected), "1").await, mismatch(None), "{expected}");
    }
    subject.put(&key, None, "1").await.unwrap();
    subject.put(&key, Some(1), "2").await.unwrap();
    for expected in [None, Some(0), Some(1), Some(3), Some(u64::MAX)] {
        assert_eq!(subject.put(&key, expected, "9").await, mismatch(Some(2)), "{expected:?}");
    }
    for expected in [0, 1, 3, u64::MAX] {
        assert_eq!(subject.delete_document(key.clone(), expected).await, mismatch(Some(2)), "{expected}");
    }
    assert_eq!(subject.document(&key).await, document(2, "2"));
}

/// A caller that did not get the answer learns from the refusal that the document has changed.
pub async fn a_repeated_put_is_refused_and_changes_nothing<R: Records>(subject: &Subject<R>) {
    let key = key("settings");
    subject.put(&key, None, "1").await.unwrap();
    assert_eq!(subject.put(&key, None, "1").await, mismatch(Some(1)));
    subject.put(&key, Some(1), "1").await.unwrap();
    assert_eq!(subject.put(&key, Some(1), "1").await, mismatch(Some(2)));
    assert_eq!(subject.document(&key).await, document(2, "1"));
}

/// Whatever version the caller expects: what does not exist is deleted already.
pub async fn deleting_a_document_again_changes_nothing<R: Records>(subject: &Subject<R>) {
    let key = key("settings");
    subject.put(&key, None, "1").await.unwrap();
    for expected in [1, 1, 0, 7] {
        assert_eq!(subject.delete_document(key.clone(), expected).await, Ok(()), "{expected}");
    }
    assert_eq!(subject.put(&key, Some(1), "2").await, mismatch(None));
    assert_eq!(subject.document(&key).await, None);
}

/// The others are refused and name the version of the one that succeeded. Creating, replacing and deleting race alike.
pub async fn of_several_puts_with_one_version_one_succeeds<R: Records>(subject: &Subject<R>) {
    let key = key("votes");
    for version in 1..=10 {
        let expected = Some(version - 1).filter(|expected| *expected > 0);
        let puts = (0..8).map(|writer| {
            let put = put_of(&key, expected, &format!("[{version},{writer}]"));
            let put: BoxFuture<'_, _> = Box::pin(subject.put_document(put));
            put
        });
        let answers = join_all(puts.collect()).await;
        let winners: Vec<_> = (0..8).filter(|writer| answers[*writer] == Ok(version)).collect();
        assert_eq!(winners.len(), 1, "{answers:?}");
        assert_eq!(answers.iter().filter(|answer| **answer == mismatch(Some(version))).count(), 7, "{answers:?}");
        assert_eq!(subject.document(&key).await, document(version, &format!("[{version},{}]", winners[0])));
    }
    let delete: BoxFuture<'_, Answer<u64>> = Box::pin(async {
        subject.delete_document(key.clone(), 10).await?;
        Ok(0)
    });
    let put: BoxFuture<'_, Answer<u64>> = Box::pin(subject.put_document(put_of(&key, Some(10), "[]")));
    let answers = join_all(vec![delete, put]).await;
    let deleted_first = answers == [Ok(0), mismatch(None)];
    assert!(deleted_first || answers == [mismatch(Some(11)), Ok(11)], "{answers:?}");
    assert_eq!(subject.document(&key).await.is_none(), deleted_first);
}

/// A document that does not exist is answered too, and so is one that is asked for twice.
pub async fn documents_are_answered_in_the_order_asked<R: Records>(subject: &Subject<R>) {
    let [first, second, missing] = ["first", "second", "missing"].map(key);
    let of_bob = DocumentKey::new(Owner::User(BOB), "first");
    subject.put(&first, None, "1").await.unwrap();
    subject.put(&second, None, "2").await.unwrap();
    subject.put(&of_bob, None, "3").await.unwrap();
    let asked = [&second, &missing, &of_bob, &first, &second].map(Clone::clone).to_vec();
    let expected = [document(1, "2"), None, document(1, "3"), document(1, "1"), document(1, "2")];
    assert_eq!(subject.read_documents(asked).await.unwrap(), expected);
    assert!(subject.read_documents(Vec::new()).await.unwrap().is_empty());
}

/// Neither by reading, nor by listing, nor by changing. A function whose name begins like another's is another one.
pub async fn functions_do_not_see_each_others_documents<R: Records>(subject: &Subject<R>) {
    let longest = "f".repeat(FUNCTION_NAME_BYTES_MAX);
    let functions = ["polls", "polls-2", "reminders", longest.as_str()];
    let of = |function: &str| {
        let scope = DocumentScope { function: function.to_owned(), owner: OWNER };
        DocumentKey { scope, name: "settings".to_owned() }
    };
    for function in functions {
        assert_eq!(subject.document(&of(function)).await, None);
        assert_eq!(subject.put(&of(function), None, &format!("\"{function}\"")).await, Ok(1));
    }
    subject.put(&of("polls"), Some(1), "2").await.unwrap();
    subject.delete_document(of("polls-2"), 1).await.unwrap();
    assert_eq!(subject.document(&of("polls")).await, document(2, "2"));
    assert_eq!(subject.document(&of("polls-2")).await, None);
    assert_eq!(subject.document(&of("reminders")).await, document(1, "\"reminders\""));
    assert!(subject.document_names(of("polls-2").scope).await.unwrap().is_empty());
    assert_eq!(subject.document_names(of("polls").scope).await.unwrap(), ["settings"]);
    let too_long = subject.document_names(of(&format!("{longest}f")).scope).await;
    assert!(matches!(too_long, Err(RecordsError::TooLarge(_))), "{too_long:?}");
}

/// A user, a conversation, a message and a shard whose ids have the same bits are different owners.
pub async fn owners_of_each_kind_have_their_own_documents<R: Records>(subject: &Subject<R>) {
    let owners = [
        Owner::User(UserId::from_u128(7)),
        Owner::User(UserId::from_u128(u128::MAX)),
        Owner::Conversation(ConversationId::from_u128(7)),
        Owner::Conversation(ConversationId::from_u128(u128::MAX)),
        Owner::Message { conversation: ConversationId::from_u128(7), message: MessageId::from_u128(7) },
        Owner::Message { conversation: ConversationId::from_u128(7), message: MessageId::from_u128(8) },
        Owner::Shard(7),
        Owner::Shard(0),
        Owner::Shard(u32::MAX),
    ];
    let keys = owners.map(|owner| DocumentKey::new(owner, "settings"));
    for (number, key) in keys.iter().enumerate() {
        assert_eq!(subject.put(key, None, &number.to_string()).await, Ok(1), "{key:?}");
    }
    let read = subject.read_documents(keys.to_vec()).await.unwrap();
    let expected: Vec<_> = (0..keys.len()).map(|number| document(1, &number.to_string())).collect();
    assert_eq!(read, expected);
    subject.delete_document(keys[0].clone(), 1).await.unwrap();
    for (number, key) in keys.iter().enumerate() {
        assert_eq!(subject.document(key).await.is_none(), number == 0, "{key:?}");
        assert_eq!(subject.names(key.scope.owner).await.is_empty(), number == 0, "{key:?}");
    }
}

/// Names are listed in ascending order of their bytes.
pub async fn names_are_any_text_and_compared_byte_by_byte<R: Records>(subject: &Subject<R>) {
    let names = [
        " ",
        "'; DROP TABLE documents; --",
        "%_\\\"",
        "/../a",
        "A",
        "a",
        "a ",
        "a/b",
        "null",
        "{}",
        "e\u{301}",
        "é",
        "\u{feff}",
        "👍",
        "👍🏽",
        "👩‍👩‍👧‍👦",
    ];
    for name in names {
        assert_eq!(subject.put(&key(name), None, "true").await, Ok(1), "{name:?}");
        assert_eq!(subject.put(&key(name), Some(1), &name.len().to_string()).await, Ok(2), "{name:?}");
    }
    for name in names {
        assert_eq!(subject.document(&key(name)).await, document(2, &name.len().to_string()), "{name:?}");
    }
    let mut sorted = names.to_vec();
    sorted.sort_unstable();
    assert_eq!(subject.names(OWNER).await, sorted);
}

/// The records do not parse the text into values: order, spaces, precision and repeated members stay as they are.
pub async fn json_is_kept_byte_for_byte<R: Records>(subject: &Subject<R>) {
    let texts = [
        "null",
        " \t\r\n1.0 ",
        "1e400",
        "123456789012345678901234567890.10",
        "\"\"",
        r#""\u00e9\ud83d\ude00 \/ é 👍 \u0000""#,
        r#"{"b":1,"a":2,"b":3}"#,
        "[ 1 , [ ] , { } ]",
    ];
    for (number, text) in texts.iter().enumerate() {
        let key = key(&number.to_string());
        subject.put(&key, None, text).await.unwrap();
        assert_eq!(subject.document(&key).await, document(1, text));
        subject.put(&key, Some(1), text).await.unwrap();
        assert_eq!(subject.document(&key).await, document(2, text));
    }
}

fn invalid<T: std::fmt::Debug>(answer: Answer<T>) {
    assert!(matches!(answer, Err(RecordsError::Invalid(_))), "{answer:?}");
}

fn too_large<T: std::fmt::Debug>(answer: Answer<T>) {
    assert!(matches!(answer, Err(RecordsError::TooLarge(_))), "{answer:?}");
}

/// The bound counts bytes, not characters. What is not one JSON value is invalid.
pub async fn a_document_is_at_most_16_kib_of_json<R: Records>(subject: &Subject<R>) {
    let key = key("settings");
    let fits = format!("\"{}\"", "é".repeat(DOCUMENT_BYTES_MAX / 2 - 1));
    too_large(subject.put(&key, None, &format!("{fits} ")).await);
    for text in ["", " ", "{", "{}{}", "{\"a\":1,}", "'a'", "NaN", "\"a", "\"\n\"", "\u{feff}1", "undefined"] {
        invalid(subject.put(&key, None, text).await);
    }
    assert_eq!(subject.document(&key).await, None);
    // Each quotation mark becomes two characters where the text is a member of another JSON text.
    let quotes = format!("[{}\"\"]", "\"\",".repeat((DOCUMENT_BYTES_MAX - 4) / 3));
    for (version, text) in [(1, fits), (2, quotes)] {
        let expected = Some(version - 1).filter(|expected| *expected > 0);
        assert_eq!(subject.put(&key, expected, &text).await, Ok(version));
        assert_eq!(subject.document(&key).await, document(version, &text));
    }
}

/// The bounds apply to every operation that names a document.
pub async fn a_document_has_a_name_of_1_to_128_bytes_without_control_characters<R: Records>(subject: &Subject<R>) {
    let longest = "é".repeat(NAME_BYTES_MAX / 2);
    let beyond = format!("{longest}!");
    for name in ["", "a\0", "a\nb", "\u{7f}", "\u{85}"] {
        invalid(subject.put(&key(name), None, "1").await);
        invalid(subject.read_documents(vec![key("a"), key(name)]).await);
        invalid(subject.delete_document(key(name), 1).await);
    }
    too_large(subject.put(&key(&beyond), None, "1").await);
    too_large(subject.read_documents(vec![key(&beyond)]).await);
    too_large(subject.delete_document(key(&beyond), 1).await);
    assert_eq!(subject.put(&key(&longest), None, "1").await, Ok(1));
    assert_eq!(subject.names(OWNER).await, [longest]);
}

/// The largest documents of one owner can be read in one call.
pub async fn at_most_100_documents_are_read_in_one_call<R: Records>(subject: &Subject<R>) {
    let text = format!("\"{}\"", "x".repeat(DOCUMENT_BYTES_MAX - 2));
    let keys: Vec<_> = (0..DOCUMENT_KEYS_MAX).map(|number| key(&number.to_string())).collect();
    for key in &keys {
        subject.put(key, None, &text).await.unwrap();
    }
    assert_eq!(subject.read_documents(keys.clone()).await.unwrap(), vec![document(1, &text); DOCUMENT_KEYS_MAX]);
    too_large(subject.read_documents(vec![keys[0].clone(); DOCUMENT_KEYS_MAX + 1]).await);
}

/// One that exists can still be replaced, and the owners are counted one by one.
pub async fn a_function_has_at_most_100_documents_for_an_owner<R: Records>(subject: &Subject<R>) {
    for number in 0..DOCUMENTS_MAX {
        subject.put(&key(&number.to_string()), None, "1").await.unwrap();
    }
    too_large(subject.put(&key("one more"), None, "1").await);
    assert_eq!(subject.put(&key("one more"), Some(1), "1").await, mismatch(None));
    assert_eq!(subject.put(&key("0"), Some(1), "2").await, Ok(2));
    assert_eq!(subject.put(&DocumentKey::new(Owner::User(BOB), "one more"), None, "1").await, Ok(1));
    assert_eq!(subject.names(OWNER).await.len(), DOCUMENTS_MAX);
    subject.delete_document(key("7"), 1).await.unwrap();
    assert_eq!(subject.put(&key("one more"), None, "1").await, Ok(1));
    too_large(subject.put(&key("7"), None, "1").await);
}

/// Of several callers that create the last document that is allowed, one succeeds.
pub async fn concurrent_creations_never_exceed_the_bound<R: Records>(subject: &Subject<R>) {
    for number in 1..DOCUMENTS_MAX {
        subject.put(&key(&number.to_string()), None, "1").await.unwrap();
    }
    let creations = (0..8).map(|writer| {
        let put = put_of(&key(&format!("last {writer}")), None, "1");
        let creation: BoxFuture<'_, _> = Box::pin(subject.put_document(put));
        creation
    });
    let answers = join_all(creations.collect()).await;
    assert_eq!(answers.iter().filter(|answer| **answer == Ok(1)).count(), 1, "{answers:?}");
    let refused = answers.iter().filter(|answer| matches!(answer, Err(RecordsError::TooLarge(_)))).count();
    assert_eq!(refused, 7, "{answers:?}");
    assert_eq!(subject.names(OWNER).await.len(), DOCUMENTS_MAX);
}
