//! The documents of functions.

use std::collections::BTreeMap;

use crate::key::Owner;
use crate::port::{Answer, Document, DocumentKey, DocumentPut, DocumentScope, records_bounds as bounds};

/// All documents, by scope and name.
#[derive(Debug, Default)]
pub(super) struct FakeDocuments {
    kept: BTreeMap<DocumentScope, BTreeMap<String, Document>>,
    /// The bytes of all documents of each function.
    bytes: BTreeMap<String, u64>,
}

impl FakeDocuments {
    pub(super) fn read(&self, key: &DocumentKey) -> Option<Document> {
        self.kept.get(&key.scope)?.get(&key.name).cloned()
    }

    fn version(&self, key: &DocumentKey) -> Option<u64> {
        Some(self.kept.get(&key.scope)?.get(&key.name)?.version)
    }

    /// What the document counts; nothing if it does not exist.
    fn bytes(&self, key: &DocumentKey) -> u64 {
        self.read(key).map_or(0, |document| counted(&key.name, &document.json))
    }

    pub(super) fn put(&mut self, put: DocumentPut) -> Answer<u64> {
        let present = self.version(&put.key);
        bounds::document_version(present, put.expected)?;
        if present.is_none() {
            let count = self.kept.get(&put.key.scope).map_or(0, BTreeMap::len);
            bounds::document_count(count + 1)?;
        }
        let (before, now) = (self.bytes(&put.key), counted(&put.key.name, &put.json));
        let function = put.key.scope.function.clone();
        let after = self.bytes.get(&function).copied().unwrap_or_default() - before + now;
        bounds::documents_bytes(&put, after, now.cast_signed() - before.cast_signed())?;
        self.bytes.insert(function, after);
        let version = present.unwrap_or_default() + 1;
        let document = Document { version, json: put.json };
        self.kept.entry(put.key.scope).or_default().insert(put.key.name, document);
        Ok(version)
    }

    pub(super) fn delete(&mut self, key: &DocumentKey, expected: u64) -> Answer<()> {
        let Some(present) = self.version(key) else { return Ok(()) };
        bounds::document_version(Some(present), Some(expected))?;
        self.remove(key);
        Ok(())
    }

    /// Deletes the documents of this owner, whichever function keeps them.
    pub(super) fn erase(&mut self, owner: Owner) {
        let of_owner = self.kept.iter().filter(|(scope, _)| scope.owner == owner);
        let keys: Vec<DocumentKey> = of_owner
            .flat_map(|(scope, documents)| {
                documents.keys().map(|name| DocumentKey { scope: scope.clone(), name: name.clone() })
            })
            .collect();
        keys.iter().for_each(|key| self.remove(key));
    }

    fn remove(&mut self, key: &DocumentKey) {
        let bytes = self.bytes(key);
        if let Some(all) = self.bytes.get_mut(&key.scope.function) {
            *all -= bytes;
        }
        if let Some(documents) = self.kept.get_mut(&key.scope) {
            documents.remove(&key.name);
        }
    }

    pub(super) fn names(&self, scope: &DocumentScope) -> Vec<String> {
        self.kept.get(scope).map(|documents| documents.keys().cloned().collect()).unwrap_or_default()
    }
}

fn counted(name: &str, json: &str) -> u64 {
    bounds::document_bytes(name, json.len() as u64)
}
