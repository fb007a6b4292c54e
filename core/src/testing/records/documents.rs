//! The documents of functions.

use std::collections::BTreeMap;

use crate::port::{Answer, Document, DocumentKey, DocumentPut, DocumentScope, records_bounds as bounds};

/// All documents, by scope and name.
#[derive(Debug, Default)]
pub(super) struct FakeDocuments(BTreeMap<DocumentScope, BTreeMap<String, Document>>);

impl FakeDocuments {
    pub(super) fn read(&self, key: &DocumentKey) -> Option<Document> {
        self.0.get(&key.scope)?.get(&key.name).cloned()
    }

    fn version(&self, key: &DocumentKey) -> Option<u64> {
        Some(self.0.get(&key.scope)?.get(&key.name)?.version)
    }

    pub(super) fn put(&mut self, put: DocumentPut) -> Answer<u64> {
        let present = self.version(&put.key);
        bounds::document_version(present, put.expected)?;
        let documents = self.0.entry(put.key.scope).or_default();
        if present.is_none() {
            bounds::document_count(documents.len() + 1)?;
        }
        let version = present.unwrap_or_default() + 1;
        documents.insert(put.key.name, Document { version, json: put.json });
        Ok(version)
    }

    pub(super) fn delete(&mut self, key: &DocumentKey, expected: u64) -> Answer<()> {
        let Some(present) = self.version(key) else { return Ok(()) };
        bounds::document_version(Some(present), Some(expected))?;
        if let Some(documents) = self.0.get_mut(&key.scope) {
            documents.remove(&key.name);
        }
        Ok(())
    }

    pub(super) fn names(&self, scope: &DocumentScope) -> Vec<String> {
        self.0.get(scope).map(|documents| documents.keys().cloned().collect()).unwrap_or_default()
    }
}
