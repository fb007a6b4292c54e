//! What the operator says of functions.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::config::FunctionConfig;

/// What functions may use, and where their compiled forms are kept.
#[derive(Clone, Debug)]
pub struct Options {
    /// For every function that is not named.
    pub defaults: FunctionConfig,
    /// By the manifest's name.
    pub named: BTreeMap<String, FunctionConfig>,
    /// `None`: every start compiles again.
    pub cache_dir: Option<PathBuf>,
}

impl Options {
    /// What this function may use.
    pub fn of(&self, name: &str) -> &FunctionConfig {
        self.named.get(name).unwrap_or(&self.defaults)
    }
}
