//! The machine code of single WebAssembly functions, by what they were compiled from. Versions of a component have most
//! of their functions in common, so a new version is compiled several times faster than the first one.
//!
//! The code is kept in memory within a bound. `loader` also writes it to disk, so that the first new version after a
//! start is compiled fast as well.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;
use std::mem;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use bytes::{Buf, BufMut};
use wasmtime::CacheStore;

use super::compiler;

/// The largest size of all code, with its keys: half as much again as the functions that come with Roost need.
/// Cranelift gives a tenth of the functions of a component another key each time it compiles them, so that versions
/// fill any bound.
const BYTES_MAX: usize = 16 << 20;

/// Everything is stored again once what was added since is at least this part of it. Nearly every version adds a few
/// functions, and writing all of it for each would cost as much as compiling a small component.
const STORED_AGAIN_FROM: usize = 32;

/// The code of functions that were compiled or used last. It is cheap to clone.
#[derive(Clone, Default)]
pub(in crate::runtime) struct CompiledFunctions {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    restored: OnceLock<()>,
    is_storing: AtomicBool,
    generations: Mutex<Generations>,
}

/// The older generation is dropped as soon as the younger one has half of the bytes that are allowed. What is used
/// moves to the younger one.
#[derive(Default)]
struct Generations {
    younger: HashMap<Vec<u8>, Vec<u8>>,
    younger_bytes: usize,
    older: HashMap<Vec<u8>, Vec<u8>>,
    older_bytes: usize,
    /// The bytes that were added since the code was encoded last.
    added_bytes: usize,
}

impl Generations {
    fn get(&mut self, key: &[u8]) -> Option<Vec<u8>> {
        if let Some(code) = self.younger.get(key) {
            return Some(code.clone());
        }
        let (key, code) = self.older.remove_entry(key)?;
        self.older_bytes = self.older_bytes.saturating_sub(key.len() + code.len());
        self.insert(key, code.clone());
        Some(code)
    }

    /// Keeps the code of a function, unless it is too large; returns whether it did.
    fn insert(&mut self, key: Vec<u8>, code: Vec<u8>) -> bool {
        let key_bytes = key.len();
        let bytes = key_bytes + code.len();
        if bytes > BYTES_MAX / 2 {
            return false;
        }
        if self.younger_bytes + bytes > BYTES_MAX / 2 {
            self.older = mem::take(&mut self.younger);
            self.older_bytes = mem::take(&mut self.younger_bytes);
        }
        self.younger_bytes += bytes;
        if let Some(replaced) = self.younger.insert(key, code) {
            self.younger_bytes = self.younger_bytes.saturating_sub(key_bytes + replaced.len());
        }
        true
    }

    /// Whether so much was added that everything is worth storing again.
    const fn is_changed(&self) -> bool {
        self.added_bytes * STORED_AGAIN_FROM > self.younger_bytes + self.older_bytes
    }

    fn encoded(&self) -> Vec<u8> {
        let lengths = (self.older.len() + self.younger.len()) * 2 * size_of::<u64>();
        let mut encoded = Vec::with_capacity(lengths + self.older_bytes + self.younger_bytes);
        // The younger ones last: they remain if there is too much when all is read.
        for (key, code) in self.older.iter().chain(&self.younger) {
            for part in [key, code] {
                encoded.put_u64(part.len() as u64);
                encoded.put_slice(part);
            }
        }
        encoded
    }

    fn decode(&mut self, mut encoded: &[u8]) {
        while let Some((key, code)) = part(&mut encoded).zip(part(&mut encoded)) {
            self.insert(key, code);
        }
    }
}

fn part(encoded: &mut &[u8]) -> Option<Vec<u8>> {
    let length = usize::try_from(encoded.try_get_u64().ok()?).ok()?;
    let (part, rest) = encoded.split_at_checked(length)?;
    *encoded = rest;
    Some(part.to_vec())
}

impl CompiledFunctions {
    /// Adds what an earlier process kept with [`Self::store_if_changed`]; only the first call has an effect.
    pub(in crate::runtime) fn restore<E: AsRef<[u8]>>(&self, read: impl FnOnce() -> Option<E>) {
        self.shared.restored.get_or_init(|| {
            if let Some(encoded) = read() {
                self.lock().decode(encoded.as_ref());
            }
        });
    }

    /// Stores everything, encoded, if enough was added since the last call. If it is being stored already, this returns
    /// at once, and what was added is stored after that: threads that compile do not wait.
    pub(in crate::runtime) fn store_if_changed(&self, mut store: impl FnMut(&[u8])) {
        loop {
            if self.shared.is_storing.swap(true, Ordering::AcqRel) {
                return;
            }
            if let Some(encoded) = self.encoded_if_changed() {
                store(&encoded);
            }
            self.shared.is_storing.store(false, Ordering::Release);
            if !self.lock().is_changed() {
                return;
            }
        }
    }

    fn encoded_if_changed(&self) -> Option<Vec<u8>> {
        let mut generations = self.lock();
        if !generations.is_changed() {
            return None;
        }
        generations.added_bytes = 0;
        Some(generations.encoded())
    }

    fn lock(&self) -> MutexGuard<'_, Generations> {
        self.shared.generations.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl CacheStore for CompiledFunctions {
    fn get(&self, key: &[u8]) -> Option<Cow<'_, [u8]>> {
        // Cranelift asks before it compiles a function: the one place between two of them.
        compiler::pause_if_due();
        self.lock().get(key).map(Cow::Owned)
    }

    fn insert(&self, key: &[u8], code: Vec<u8>) -> bool {
        let mut generations = self.lock();
        let bytes = key.len() + code.len();
        let is_kept = generations.insert(key.to_vec(), code);
        if is_kept {
            generations.added_bytes += bytes;
        }
        is_kept
    }
}

impl fmt::Debug for CompiledFunctions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let generations = self.lock();
        write!(f, "CompiledFunctions({})", generations.younger.len() + generations.older.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(generations: &Generations) -> usize {
        let sizes = generations.younger.iter().chain(&generations.older).map(|(key, code)| key.len() + code.len());
        sizes.sum()
    }

    #[test]
    fn what_is_used_remains_and_the_rest_goes_when_there_is_too_much() {
        let mut generations = Generations::default();
        let large = BYTES_MAX / 16;
        for number in 0..100 {
            assert!(generations.insert(vec![number], vec![number; large]));
            assert!(generations.get(&[0]).is_some(), "used all the time, and gone after {number}");
            assert!(bytes(&generations) <= BYTES_MAX, "{} after {number}", bytes(&generations));
        }
        assert_eq!(generations.get(&[99]).unwrap(), vec![99; large]);
        assert!(generations.get(&[50]).is_none());
        assert!(!generations.insert(vec![1, 2], vec![0; BYTES_MAX]), "larger than everything may be");
    }

    #[test]
    fn a_replaced_entry_is_counted_once() {
        let mut generations = Generations::default();
        for _ in 0..1_000 {
            generations.insert(vec![1], vec![0; BYTES_MAX / 8]);
        }
        assert_eq!(generations.younger_bytes, bytes(&generations));
    }

    #[test]
    fn code_is_stored_only_if_enough_was_added() {
        let functions = CompiledFunctions::default();
        let stored = |functions: &CompiledFunctions| {
            let mut stored = None;
            functions.store_if_changed(|encoded| stored = Some(encoded.to_vec()));
            stored
        };
        assert_eq!(stored(&functions), None);
        assert!(functions.insert(&[1], vec![2]));
        let encoded = stored(&functions).expect("something was added");
        assert_eq!(stored(&functions), None);
        let restored = CompiledFunctions::default();
        restored.restore(|| Some(encoded));
        assert_eq!(restored.get(&[1]).as_deref(), Some(&[2][..]));
        assert_eq!(stored(&restored), None, "what was read is stored already");

        assert!(functions.insert(&[2], vec![0; 1_000]));
        assert!(stored(&functions).is_some());
        assert!(functions.insert(&[3], vec![0; 10]));
        assert_eq!(stored(&functions), None, "too little was added");
        assert!(functions.insert(&[4], vec![0; 100]));
        assert!(stored(&functions).is_some(), "with what was added before, it is enough");
    }

    #[test]
    fn the_bytes_of_both_generations_are_counted() {
        let mut generations = Generations::default();
        for number in 0..200_u8 {
            generations.insert(vec![number], vec![number; BYTES_MAX / 64]);
            generations.get(&[number / 2]);
            assert_eq!(generations.younger_bytes + generations.older_bytes, bytes(&generations), "after {number}");
        }
    }

    #[test]
    fn what_is_encoded_is_decoded_as_far_as_it_is_whole() {
        let mut generations = Generations::default();
        for number in 0..10 {
            generations.insert(vec![number], vec![number; usize::from(number)]);
        }
        let encoded = generations.encoded();
        let mut decoded = Generations::default();
        decoded.decode(&encoded);
        assert_eq!(decoded.younger, generations.younger);
        for length in 0..encoded.len() {
            let mut partial = Generations::default();
            partial.decode(&encoded[..length]);
            assert!(partial.younger.len() < 10, "{length} of {} bytes", encoded.len());
        }
    }
}
