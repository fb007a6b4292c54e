//! The part of the configuration that concerns functions.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::config::FunctionConfig;

/// What functions may use, and where their compiled form is cached.
#[derive(Clone, Debug)]
pub struct Options {
    /// For every function that has no settings of its own.
    pub defaults: FunctionConfig,
    /// The settings of single functions, by the name in their manifest.
    pub named: BTreeMap<String, FunctionConfig>,
    /// The folder of the compilation cache; without one, every start compiles all functions.
    pub cache_dir: Option<PathBuf>,
}

impl Options {
    /// The settings of the function with this name.
    pub fn of(&self, name: &str) -> &FunctionConfig {
        self.named.get(name).unwrap_or(&self.defaults)
    }
}
