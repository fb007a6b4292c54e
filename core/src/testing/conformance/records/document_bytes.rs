//! The bytes of all documents of a function: what counts, and what is refused beyond the bound.

use super::{ANN, AT, BOB, CAT, Subject};
use crate::key::Owner;
use crate::limits::DOCUMENT_OVERHEAD_BYTES;
use crate::port::{Answer, DocumentKey, DocumentPut, DocumentScope, Records, RecordsError};
use crate::testing::{BoxFuture, join_all};

const FUNCTION: &str = "polls";

/// What a document of this name and size counts.
fn counted(name: &str, json_bytes: usize) -> u64 {
    DOCUMENT_OVERHEAD_BYTES + (name.len() + json_bytes) as u64
}

fn key_of(function: &str, owner: Owner, name: &str) -> DocumentKey {
    DocumentKey { scope: DocumentScope { function: function.to_owned(), owner }, name: name.to_owned() }
}

fn key(owner: Owner, name: &str) -> DocumentKey {
    key_of(FUNCTION, owner, name)
}

/// A JSON text of so many bytes.
fn json(bytes: usize) -> String {
    format!("\"{}\"", "x".repeat(bytes - 2))
}

fn put_within(bytes_max: u64, key: &DocumentKey, expected: Option<u64>, json_bytes: usize) -> DocumentPut {
    let put = DocumentPut::new(key.clone(), json(json_bytes), expected);
    DocumentPut { bytes_max: Some(bytes_max), ..put }
}

/// Checks that the put is refused, and that the refusal names both numbers and the key of the configuration.
fn refused(answer: Answer<u64>, after: u64, bytes_max: u64) {
    let Err(RecordsError::QuotaExceeded(text)) = answer else { panic!("{answer:?}") };
    let named = [after.to_string(), bytes_max.to_string(), format!("function.{FUNCTION}.documents_bytes_max")];
    assert!(named.iter().all(|part| text.contains(part.as_str())), "{text}");
}

/// Owners of every kind count together, and an owner that is asked for the first time does too.
pub async fn a_function_has_at_most_so_many_bytes_over_all_owners<R: Records>(subject: &Subject<R>) {
    let owners = [Owner::User(ANN), Owner::User(BOB), Owner::Shard(7)];
    let one = counted("n", 100);
    for owner in owners {
        assert_eq!(subject.put_document(put_within(3 * one, &key(owner, "n"), None, 100)).await, Ok(1));
    }
    let cat = key(Owner::User(CAT), "n");
    refused(subject.put_document(put_within(3 * one, &cat, None, 2)).await, 3 * one + counted("n", 2), 3 * one);
    assert_eq!(subject.read_documents(vec![cat.clone()]).await, Ok(vec![None]), "nothing was stored");
    let longer = put_within(3 * one, &key(owners[0], "n"), Some(1), 101);
    refused(subject.put_document(longer).await, 3 * one + 1, 3 * one);
    assert_eq!(subject.put_document(put_within(4 * one, &cat, None, 100)).await, Ok(1), "a higher bound has room");
    let unbounded = DocumentPut::new(key(owners[2], "more"), json(100), None);
    assert_eq!(subject.put_document(unbounded).await, Ok(1));
    refused(
        subject.put_document(put_within(4 * one, &key(owners[1], "m"), None, 100)).await,
        5 * one + counted("more", 100),
        4 * one,
    );
}

/// The old text of the document is not counted any more, so that the same document can be replaced without end.
pub async fn a_replacement_counts_the_difference<R: Records>(subject: &Subject<R>) {
    let key = key(Owner::User(ANN), "state");
    let bytes_max = counted("state", 1_000);
    subject.put_document(put_within(bytes_max, &key, None, 1_000)).await.unwrap();
    for version in 1..4 {
        for bytes in [1_000, 10, 500] {
            let expected =
                subject.read_documents(vec![key.clone()]).await.unwrap()[0].as_ref().map(|found| found.version);
            let put = put_within(bytes_max, &key, expected, bytes);
            assert!(subject.put_document(put).await.is_ok(), "round {version}, {bytes} bytes");
        }
    }
    let expected = subject.read_documents(vec![key.clone()]).await.unwrap()[0].as_ref().map(|found| found.version);
    refused(subject.put_document(put_within(bytes_max, &key, expected, 1_001)).await, bytes_max + 1, bytes_max);
    assert!(subject.put_document(put_within(bytes_max, &key, expected, 1_000)).await.is_ok());
}

/// A put that is refused for its version, for the bound, or because it is repeated leaves the count as it was.
pub async fn a_refused_or_repeated_change_counts_nothing<R: Records>(subject: &Subject<R>) {
    let (one, bytes_max) = (key(Owner::User(ANN), "a"), 2 * counted("a", 50));
    subject.put_document(put_within(bytes_max, &one, None, 50)).await.unwrap();
    for _ in 0..5 {
        let repeated = subject.put_document(put_within(bytes_max, &one, None, 50)).await;
        assert_eq!(repeated, Err(RecordsError::VersionMismatch { present: Some(1) }));
        let other = key(Owner::User(BOB), "b");
        refused(
            subject.put_document(put_within(bytes_max, &other, None, 51)).await,
            counted("a", 50) + counted("b", 51),
            bytes_max,
        );
        assert_eq!(
            subject.delete_document(one.clone(), 2).await,
            Err(RecordsError::VersionMismatch { present: Some(1) })
        );
        subject.delete_document(other, 1).await.unwrap();
    }
    assert_eq!(subject.put_document(put_within(bytes_max, &key(Owner::Shard(0), "b"), None, 50)).await, Ok(1));
    refused(
        subject.put_document(put_within(bytes_max, &key(Owner::Shard(0), "c"), None, 2)).await,
        bytes_max + counted("c", 2),
        bytes_max,
    );
}

/// Names and texts count bytes, not characters.
pub async fn bytes_are_counted_as_utf8<R: Records>(subject: &Subject<R>) {
    let (name, text) = ("👍🏽é", "\"👩‍👩‍👧‍👦é\"");
    let key = key(Owner::User(ANN), name);
    let exact = counted(name, text.len());
    let put = |expected, bytes_max| {
        let put = DocumentPut::new(key.clone(), text.to_owned(), expected);
        DocumentPut { bytes_max: Some(bytes_max), ..put }
    };
    refused(subject.put_document(put(None, exact - 1)).await, exact, exact - 1);
    assert_eq!(subject.put_document(put(None, exact)).await, Ok(1));
    assert_eq!(subject.put_document(put(Some(1), exact)).await, Ok(2), "the old text is measured in bytes, too");
    subject.delete_document(key.clone(), 2).await.unwrap();
    assert_eq!(subject.put_document(put(None, exact)).await, Ok(1));
}

/// Puts for different owners do not wait for each other's documents, and still share the bound.
pub async fn concurrent_puts_of_several_owners_never_exceed_the_bound<R: Records>(subject: &Subject<R>) {
    let bytes_max = 3 * counted("n", 100);
    let puts = (0..12).map(|shard| {
        let put: BoxFuture<'_, _> =
            Box::pin(subject.put_document(put_within(bytes_max, &key(Owner::Shard(shard), "n"), None, 100)));
        put
    });
    let answers = join_all(puts.collect()).await;
    assert_eq!(answers.iter().filter(|answer| **answer == Ok(1)).count(), 3, "{answers:?}");
    let refused = answers.iter().filter(|answer| matches!(answer, Err(RecordsError::QuotaExceeded(_)))).count();
    assert_eq!(refused, 9, "{answers:?}");
}

/// So that as much can be stored again, and not more.
pub async fn deleted_documents_give_their_bytes_back<R: Records>(subject: &Subject<R>) {
    let bytes_max = 2 * counted("n", 100);
    let [one, other, third] = [1, 2, 3].map(|shard| key(Owner::Shard(shard), "n"));
    for _ in 0..3 {
        subject.put_document(put_within(bytes_max, &one, None, 100)).await.unwrap();
        subject.put_document(put_within(bytes_max, &other, None, 100)).await.unwrap();
        refused(
            subject.put_document(put_within(bytes_max, &third, None, 100)).await,
            bytes_max + counted("n", 100),
            bytes_max,
        );
        subject.delete_document(one.clone(), 1).await.unwrap();
        subject.delete_document(one.clone(), 1).await.unwrap();
        assert_eq!(subject.put_document(put_within(bytes_max, &third, None, 100)).await, Ok(1));
        refused(
            subject.put_document(put_within(bytes_max, &one, None, 100)).await,
            bytes_max + counted("n", 100),
            bytes_max,
        );
        subject.delete_document(other.clone(), 1).await.unwrap();
        subject.delete_document(third.clone(), 1).await.unwrap();
    }
}

/// Whichever function keeps them. The documents of others remain, and still count.
pub async fn documents_of_an_erased_user_give_their_bytes_back<R: Records>(subject: &Subject<R>) {
    let bytes_max = 3 * counted("n", 100);
    for function in [FUNCTION, "reminders"] {
        for (owner, name) in [(Owner::User(ANN), "n"), (Owner::User(ANN), "m"), (Owner::User(BOB), "n")] {
            let key = key_of(function, owner, name);
            assert_eq!(subject.put_document(put_within(bytes_max, &key, None, 100)).await, Ok(1));
        }
    }
    while !subject.erase_user(ANN, AT).await.unwrap().done {}
    for function in [FUNCTION, "reminders"] {
        let scope = |owner| DocumentScope { function: function.to_owned(), owner };
        assert_eq!(subject.document_names(scope(Owner::User(ANN))).await, Ok(Vec::new()));
        assert_eq!(subject.document_names(scope(Owner::User(BOB))).await, Ok(vec!["n".to_owned()]));
        for name in ["n", "m"] {
            let key = key_of(function, Owner::User(CAT), name);
            assert_eq!(subject.put_document(put_within(bytes_max, &key, None, 100)).await, Ok(1), "{function}");
        }
    }
    refused(
        subject.put_document(put_within(bytes_max, &key(Owner::Shard(0), "n"), None, 100)).await,
        bytes_max + counted("n", 100),
        bytes_max,
    );
}

/// What one function keeps takes no room from another, also for the same owner and name.
pub async fn each_function_has_its_own_bytes<R: Records>(subject: &Subject<R>) {
    let bytes_max = counted("n", 100);
    for function in ["polls", "polls-2", "reminders"] {
        let key = key_of(function, Owner::User(ANN), "n");
        assert_eq!(subject.put_document(put_within(bytes_max, &key, None, 100)).await, Ok(1), "{function}");
    }
    let key = key(Owner::User(BOB), "n");
    refused(subject.put_document(put_within(bytes_max, &key, None, 100)).await, 2 * bytes_max, bytes_max);
}

/// A put that makes the documents smaller, or leaves their size as it is, is stored whatever the bound is.
pub async fn whoever_has_more_than_a_lowered_bound_can_shrink<R: Records>(subject: &Subject<R>) {
    let key = key(Owner::User(ANN), "n");
    subject.put_document(DocumentPut::new(key.clone(), json(1_000), None)).await.unwrap();
    assert_eq!(subject.put_document(put_within(600, &key, Some(1), 1_000)).await, Ok(2));
    assert_eq!(subject.put_document(put_within(600, &key, Some(2), 900)).await, Ok(3));
    refused(subject.put_document(put_within(600, &key, Some(3), 901)).await, counted("n", 901), 600);
    assert_eq!(subject.put_document(put_within(600, &key, Some(3), 20)).await, Ok(4));
    assert_eq!(subject.put_document(put_within(600, &key, Some(4), 80)).await, Ok(5));
}
