//! Conversions of documents. The function of a [`roost_core::port::DocumentScope`] is not sent: the host knows which
//! function calls.

use roost_core::port::{Document, DocumentKey, DocumentPut};

use crate::bindings::roost::edge::records as wire;

impl<'a> From<&'a DocumentKey> for wire::DocumentKey<'a> {
    fn from(key: &'a DocumentKey) -> Self {
        Self { owner: key.scope.owner.into(), name: &key.name }
    }
}

impl<'a> From<&'a DocumentPut> for wire::DocumentPut<'a> {
    fn from(put: &'a DocumentPut) -> Self {
        Self { key: (&put.key).into(), json: &put.json, expected: put.expected }
    }
}

impl From<wire::Document> for Document {
    fn from(document: wire::Document) -> Self {
        Self { version: document.version, json: document.json }
    }
}
