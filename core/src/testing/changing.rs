//! Records that something else changes while a use case is in the middle of its work.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::{FakeRecords, FakeStore, FakeWorld, TestWorld};
use crate::port::{Answer, Operation, Records};

type Change = Box<dyn FnOnce(&FakeRecords) + Send>;

/// Fake records that are changed once: right after an answer to one operation.
pub(crate) struct ChangingRecords {
    records: FakeRecords,
    operation: Operation,
    /// The number of answers until then.
    left: AtomicUsize,
    change: Mutex<Option<Change>>,
}

impl ChangingRecords {
    fn answered(&self, operation: Operation) {
        if operation != self.operation || self.left.fetch_sub(1, Ordering::SeqCst) != 1 {
            return;
        }
        let change = self.change.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(change) = change {
            change(&self.records);
        }
    }
}

impl FakeWorld {
    /// The same world, with records that are changed right after so many answers to this operation.
    pub(crate) fn changed_after(
        &self,
        (operation, answers): (Operation, usize),
        change: impl FnOnce(&FakeRecords) + Send + 'static,
    ) -> TestWorld<FakeStore, ChangingRecords> {
        let records = ChangingRecords {
            records: (*self.records).clone(),
            operation,
            left: AtomicUsize::new(answers),
            change: Mutex::new(Some(Box::new(change))),
        };
        TestWorld {
            store: Arc::clone(&self.store),
            records: Arc::new(records),
            clock: self.clock.clone(),
            telemetry: self.telemetry.clone(),
        }
    }
}

macro_rules! delegate {
    ($($(#[$doc:meta])* $operation:ident $name:literal
        $method:ident($($argument:ident: $type:ty),*) -> $answer:ty;)*) => {
        impl Records for ChangingRecords {
            $(async fn $method(&self, $($argument: $type),*) -> Answer<$answer> {
                let answer = self.records.$method($($argument),*).await;
                self.answered(Operation::$operation);
                answer
            })*
        }
    };
}

crate::records_operations!(delegate);
