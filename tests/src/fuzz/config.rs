//! Targets for the configuration: its file, its environment variables, and the URLs in it.

use std::path::PathBuf;
use std::sync::OnceLock;

use roost::config::{RedisUrl, Sources};
use tempfile::TempDir;

use super::text;

/// Loads a configuration; all errors in it must be reported with a text.
fn load(sources: Sources) {
    if let Err(errors) = sources.load() {
        assert!(!errors.to_string().trim().is_empty(), "errors without a text");
    }
}

/// A configuration file. Each thread has its own file, because tests can run in parallel.
pub(super) fn config_file(input: &[u8]) {
    static FOLDER: OnceLock<TempDir> = OnceLock::new();
    let folder = FOLDER.get_or_init(|| tempfile::tempdir().expect("a temporary folder"));
    let path: PathBuf = folder.path().join(format!("{:?}.toml", std::thread::current().id()));
    std::fs::write(&path, input).expect("the file can be written");
    load(Sources { file: Some(path), ..Sources::default() });
}

/// Environment variables: lines of a name after `ROOST_`, an equals sign and a value.
pub(super) fn config_environment(input: &[u8]) {
    let text = text(input);
    let pairs = text.lines().filter_map(|line| line.split_once('='));
    let environment = pairs.map(|(name, value)| (format!("ROOST_{name}"), value.to_owned())).collect();
    load(Sources { environment, ..Sources::default() });
}

/// A URL of Redis, which has parts of its own, and the same text as the URLs of store and records.
pub(super) fn config_url(input: &[u8]) {
    let text = text(input);
    drop(RedisUrl::parse(&text));
    let environment =
        ["STORE_URL", "RECORDS_URL"].map(|name| (format!("ROOST_{name}"), text.clone())).into_iter().collect();
    load(Sources { environment, ..Sources::default() });
}
