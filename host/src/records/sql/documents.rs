//! Documents of functions. Every change locks the documents of its function and owner, so that nobody else changes the
//! version and the number of documents between the check and the write. Its last step counts the bytes of all documents
//! of the function, whose number is locked from there on: a put that exceeds the bound is undone with the transaction.

use roost_core::key::Owner;
use roost_core::port::{Document, DocumentKey, DocumentPut, DocumentScope, records_bounds as bounds};

use super::values::{read_number, signed};
use super::{Columns, ListedDocument, Parameter, QueryResult, SqlConnection, decode_error, lock, run};

/// Answers the documents in the order asked.
pub(super) async fn read<C: SqlConnection>(sql: &mut C, keys: Vec<DocumentKey>) -> QueryResult<Vec<Option<Document>>> {
    let mut documents = vec![None; keys.len()];
    let rows =
        sql.rows(C::STATEMENTS.documents, vec![Parameter::Documents(keys.into_iter().map(listed).collect())]).await?;
    for row in &rows {
        let index = usize::try_from(read_number(row, 0)?).map_err(decode_error)?;
        let document = Document { version: read_number(row, 1)?, json: row.text(2)? };
        if let Some(asked) = documents.get_mut(index) {
            *asked = Some(document);
        }
    }
    Ok(documents)
}

/// Answers the new version.
pub(super) async fn put<C: SqlConnection>(sql: &mut C, put: DocumentPut) -> QueryResult<u64> {
    let state = DocumentState::lock(sql, &put.key).await?;
    bounds::document_version(state.version, put.expected)?;
    if state.version.is_none() {
        bounds::document_count(usize::try_from(state.count).unwrap_or(usize::MAX).saturating_add(1))?;
    }
    let mut parameters = key_parameters(&put.key);
    parameters.push(put.json.as_str().into());
    run(sql, C::STATEMENTS.put_document, parameters).await?;
    let growth = signed(bounds::document_bytes(&put.key.name, put.json.len() as u64)) - signed(state.bytes);
    if growth != 0 {
        let all = count(sql, &put.key.scope.function, growth).await?;
        bounds::documents_bytes(&put, all, growth)?;
    }
    Ok(state.version.unwrap_or_default().saturating_add(1))
}

pub(super) async fn delete<C: SqlConnection>(sql: &mut C, key: DocumentKey, expected: u64) -> QueryResult<()> {
    let state = DocumentState::lock(sql, &key).await?;
    if state.version.is_none() {
        return Ok(());
    }
    bounds::document_version(state.version, Some(expected))?;
    run(sql, C::STATEMENTS.delete_document, key_parameters(&key)).await?;
    count(sql, &key.scope.function, -signed(state.bytes)).await.map(|_| ())
}

/// Adds to the bytes of all documents of a function, and answers the sum.
async fn count<C: SqlConnection>(sql: &mut C, function: &str, growth: i64) -> QueryResult<u64> {
    let rows = sql.rows(C::STATEMENTS.count_document_bytes, vec![function.into(), Parameter::Number(growth)]).await?;
    let row = rows.first().ok_or(sqlx::Error::RowNotFound)?;
    Ok(read_number(row, 0)?)
}

/// Deletes all documents of an owner, whichever function keeps them.
pub(super) async fn erase<C: SqlConnection>(sql: &mut C, owner: Owner) -> QueryResult<()> {
    let (kind, id) = owner_columns(owner);
    run(sql, C::STATEMENTS.erase_documents, vec![Parameter::Number(kind), Parameter::Id(id)]).await
}

/// Answers the names in ascending order of their bytes.
pub(super) async fn names<C: SqlConnection>(sql: &mut C, scope: DocumentScope) -> QueryResult<Vec<String>> {
    let rows = sql.rows(C::STATEMENTS.document_names, scope_parameters(&scope)).await?;
    Ok(rows.iter().map(|row| row.text(0)).collect::<Result<_, _>>()?)
}

/// What a change must know.
struct DocumentState {
    /// The number of documents of the same function and owner.
    count: u64,
    /// The document's version; `None`: it does not exist.
    version: Option<u64>,
    /// What the document counts in the bytes of the function; nothing if it does not exist.
    bytes: u64,
}

impl DocumentState {
    /// Reads the state, which nobody else changes until the transaction ends.
    async fn lock<C: SqlConnection>(sql: &mut C, key: &DocumentKey) -> QueryResult<Self> {
        lock(sql, C::STATEMENTS.lock_documents, scope_parameters(&key.scope)).await?;
        let rows = sql.rows(C::STATEMENTS.document_state, key_parameters(key)).await?;
        let row = rows.first().ok_or(sqlx::Error::RowNotFound)?;
        let count = read_number(row, 0)?;
        if row.is_null(1)? {
            return Ok(Self { count, version: None, bytes: 0 });
        }
        let bytes = bounds::document_bytes(&key.name, read_number(row, 2)?);
        Ok(Self { count, version: Some(read_number(row, 1)?), bytes })
    }
}

/// The owner as the schema stores it: the number of its kind, and an id. A shard's number is its id, and the id of a
/// message is the only one, because no two messages have the same.
const fn owner_columns(owner: Owner) -> (i64, u128) {
    match owner {
        Owner::User(user) => (0, user.as_u128()),
        Owner::Conversation(conversation) => (1, conversation.as_u128()),
        Owner::Shard(shard) => (2, shard as u128),
        Owner::Message { message, .. } => (3, message.as_u128()),
    }
}

fn scope_parameters(scope: &DocumentScope) -> Vec<Parameter> {
    let (kind, id) = owner_columns(scope.owner);
    vec![Parameter::Number(kind), Parameter::Id(id), scope.function.as_str().into()]
}

fn key_parameters(key: &DocumentKey) -> Vec<Parameter> {
    let mut parameters = scope_parameters(&key.scope);
    parameters.push(key.name.as_str().into());
    parameters
}

fn listed(key: DocumentKey) -> ListedDocument {
    let (owner_kind, owner) = owner_columns(key.scope.owner);
    ListedDocument { owner_kind, owner, function: key.scope.function, name: key.name }
}
