//! Documents of a function: reading one, and changing one without losing the change of another caller.
//!
//! A document is a small JSON text in the records. It survives the loss of the store, unlike an item of the key space
//! `app`, and costs a round trip to the database. What a document means is the function's own business: there is no
//! rule here. The operations themselves are those of [`Records`].

use crate::error::Error;
use crate::limits::TRIES_MAX;
use crate::port::{Document, DocumentKey, DocumentPut, Records, RecordsError};

/// The document, if it exists.
pub async fn read<R: Records>(records: &R, key: DocumentKey) -> Result<Option<Document>, Error> {
    Ok(records.read_documents(vec![key]).await?.pop().flatten())
}

/// Reads a document, puts what `change` makes of its JSON text (`None`: it does not exist), and answers the result.
/// After a lost race it reads again, so `change` may be called several times.
///
/// After [`RecordsError::Unavailable`] the change may have happened. Calling this again applies `change` once more.
///
/// # Errors
/// [`Error::Contended`] if other callers changed the document during each attempt; the error of `change`, after which
/// nothing is put.
pub async fn update<R: Records>(
    records: &R,
    key: DocumentKey,
    change: impl Fn(Option<&str>) -> Result<String, Error>,
) -> Result<Document, Error> {
    for _ in 0..TRIES_MAX {
        let present = read(records, key.clone()).await?;
        let json = change(present.as_ref().map(|document| document.json.as_str()))?;
        let expected = present.map(|document| document.version);
        match records.put_document(DocumentPut::new(key.clone(), json.clone(), expected)).await {
            Ok(version) => return Ok(Document { version, json }),
            Err(RecordsError::VersionMismatch { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(Error::Contended)
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;
    use crate::ids::UserId;
    use crate::key::Owner;
    use crate::testing::{FakeRecords, block_on};

    fn key() -> DocumentKey {
        DocumentKey::new(Owner::User(UserId::from_u128(7)), "votes")
    }

    fn document(version: u64, json: &str) -> Document {
        Document { version, json: json.to_owned() }
    }

    /// A number that grows by one.
    fn increment(present: Option<&str>) -> Result<String, Error> {
        let number: u64 = present.unwrap_or("0").parse().map_err(|_| Error::Invalid("not a number".into()))?;
        Ok((number + 1).to_string())
    }

    #[test]
    fn an_update_creates_a_document_and_then_replaces_it() {
        let records = FakeRecords::new(1);
        assert_eq!(block_on(read(&records, key())), Ok(None));
        assert_eq!(block_on(update(&records, key(), increment)), Ok(document(1, "1")));
        assert_eq!(block_on(update(&records, key(), increment)), Ok(document(2, "2")));
        assert_eq!(block_on(read(&records, key())), Ok(Some(document(2, "2"))));
    }

    #[test]
    fn an_update_that_loses_a_race_reads_again() {
        let records = FakeRecords::new(1);
        let races = Cell::new(3);
        let raced = |present: Option<&str>| {
            if races.get() > 0 {
                races.set(races.get() - 1);
                block_on(update(&records, key(), increment))?;
            }
            increment(present)
        };
        assert_eq!(block_on(update(&records, key(), raced)), Ok(document(4, "4")), "no increment is lost");
        assert_eq!(races.get(), 0);
    }

    #[test]
    fn an_update_that_loses_every_race_is_contended() {
        let records = FakeRecords::new(1);
        let attempts = Cell::new(0);
        let raced = |present: Option<&str>| {
            attempts.set(attempts.get() + 1);
            block_on(update(&records, key(), increment))?;
            increment(present)
        };
        assert_eq!(block_on(update(&records, key(), raced)), Err(Error::Contended));
        assert_eq!(attempts.get(), TRIES_MAX);
    }

    #[test]
    fn a_refused_change_puts_nothing() {
        let records = FakeRecords::new(1);
        block_on(update(&records, key(), |_| Ok("\"text\"".to_owned()))).unwrap();
        assert_eq!(block_on(update(&records, key(), increment)), Err(Error::Invalid("not a number".into())));
        let not_json = block_on(update(&records, key(), |_| Ok("{".to_owned())));
        assert!(matches!(not_json, Err(Error::Records(RecordsError::Invalid(_)))), "{not_json:?}");
        assert_eq!(block_on(read(&records, key())), Ok(Some(document(1, "\"text\""))));
    }
}
