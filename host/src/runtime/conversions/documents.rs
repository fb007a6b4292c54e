//! Translates documents. The function that calls is added here, and nowhere else: a function cannot name another one.

use roost_core::port::{Document, DocumentKey, DocumentPut, DocumentScope};

use super::super::bindings::records as wit;

/// The documents that a function means with this owner.
pub(in super::super) fn document_scope(function: &str, owner: wit::Owner) -> DocumentScope {
    DocumentScope { function: function.to_owned(), owner: owner.into() }
}

/// The document that a function means with this key.
pub(in super::super) fn document_key(function: &str, key: wit::DocumentKey) -> DocumentKey {
    DocumentKey { scope: document_scope(function, key.owner), name: key.name }
}

/// The document that a function puts.
pub(in super::super) fn document_put(function: &str, put: wit::DocumentPut) -> DocumentPut {
    DocumentPut::new(document_key(function, put.key), put.json, put.expected)
}

impl From<Document> for wit::Document {
    fn from(document: Document) -> Self {
        Self { version: document.version, json: document.json }
    }
}

#[cfg(test)]
mod tests {
    use roost_core::key::Owner;

    use super::*;

    #[test]
    fn a_document_belongs_to_the_function_that_calls() {
        let key = || wit::DocumentKey { owner: wit::Owner::Shard(3), name: "a/b".to_owned() };
        let scope = DocumentScope { function: "polls".to_owned(), owner: Owner::Shard(3) };
        let expected = DocumentKey { scope: scope.clone(), name: "a/b".to_owned() };
        assert_eq!(document_scope("polls", wit::Owner::Shard(3)), scope);
        assert_eq!(document_key("polls", key()), expected);
        let put = document_put("polls", wit::DocumentPut { key: key(), json: "1".to_owned(), expected: Some(2) });
        assert_eq!(put, DocumentPut::new(expected, "1".to_owned(), Some(2)));
    }
}
