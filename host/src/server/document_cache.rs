//! A document about the live functions, which is composed once for each generation of them.

use std::sync::{Arc, Mutex, PoisonError};

use serde_json::Value;

use crate::runtime::dispatcher::Dispatcher;

/// Composes one document, and keeps its text until the functions change.
#[derive(Debug)]
pub(crate) struct DocumentCache<F> {
    compose: fn(&F) -> Value,
    /// Shared by all clones.
    composed: Arc<Mutex<Option<Composed>>>,
}

#[derive(Debug)]
struct Composed {
    /// The generation of the functions that the document describes.
    generation: u64,
    document: Arc<str>,
}

impl<F> Clone for DocumentCache<F> {
    fn clone(&self) -> Self {
        Self { compose: self.compose, composed: Arc::clone(&self.composed) }
    }
}

impl<F: Dispatcher> DocumentCache<F> {
    pub(crate) fn new(compose: fn(&F) -> Value) -> Self {
        Self { compose, composed: Arc::default() }
    }

    /// The current document.
    pub(crate) fn get(&self, functions: &F) -> Arc<str> {
        // The generation is read first: if the functions change meanwhile, the document is composed once more.
        let generation = *functions.changes().borrow();
        let mut composed = self.composed.lock().unwrap_or_else(PoisonError::into_inner);
        match &*composed {
            Some(known) if known.generation == generation => known.document.clone(),
            _ => {
                let document: Arc<str> = (self.compose)(functions).to_string().into();
                *composed = Some(Composed { generation, document: document.clone() });
                document
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::fake::FakeFunctions;
    use crate::server::openapi;

    #[test]
    fn a_document_is_composed_again_when_the_functions_change() {
        let (cache, functions) = (DocumentCache::new(openapi::compose), FakeFunctions::new());
        let first = cache.get(functions.as_ref());
        assert!(Arc::ptr_eq(&first, &cache.clone().get(functions.as_ref())), "composed once");
        functions.changes.send_replace(2);
        let second = cache.get(functions.as_ref());
        assert!(!Arc::ptr_eq(&first, &second));
        assert_eq!(first, second);
    }
}
