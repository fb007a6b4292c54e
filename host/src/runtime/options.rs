//! The part of the configuration that concerns functions.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::config::{FunctionConfig, SigningKeys};

/// What functions may use, and where their compiled form is cached.
#[derive(Clone, Debug)]
pub struct Options {
    /// For every function that has no settings of its own.
    pub defaults: FunctionConfig,
    /// The settings of single functions, by the name in their manifest.
    pub named: BTreeMap<String, FunctionConfig>,
    /// The folder of the compilation cache; without one, every start compiles all functions. The key that authenticates the
    /// entries is beside it, with the extension `key`.
    pub cache_dir: Option<PathBuf>,
    /// If there are any, each component needs a signature of one of them.
    pub signing_keys: SigningKeys,
}

impl Options {
    /// The settings of the function with this name.
    pub fn of(&self, name: &str) -> &FunctionConfig {
        self.named.get(name).unwrap_or(&self.defaults)
    }
}
