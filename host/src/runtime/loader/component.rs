//! Machine code for a component: from the cache, or compiled.

use std::time::Instant;

use wasmtime::component::Component;

use super::DeployFailure;
use super::cache::Cache;
use crate::ops::log::milliseconds;
use crate::runtime::engine::Engine;

/// The name under which the cache has the code of single functions. It is no digest, so it is never that of a
/// component.
const FUNCTIONS: &str = "functions";

/// The component with this digest. It is compiled if the cache does not have it.
pub(super) fn compile(
    engine: &Engine,
    cache: Option<&Cache>,
    bytes: &[u8],
    digest: &str,
) -> Result<Component, DeployFailure> {
    if let Some(component) = cache.and_then(|cache| load_cached(engine, cache, digest)) {
        return Ok(component);
    }
    let failed = |error: wasmtime::Error| DeployFailure::Compile(format!("{error:#}"));
    let functions = engine.compiled_functions();
    if let Some(cache) = cache {
        functions.restore(|| cache.load(FUNCTIONS));
    }
    let began = Instant::now();
    let component = Component::from_binary(engine.wasm(), bytes).map_err(failed)?;
    let took_ms = milliseconds(began.elapsed());
    tracing::debug!(digest, took_ms, "component compiled");
    if let Some(cache) = cache {
        cache.store(digest, &component.serialize().map_err(failed)?);
        let (cache, functions) = (cache.clone(), functions.clone());
        // Nobody waits for it.
        rayon::spawn(move || functions.store_if_changed(|encoded| cache.store(FUNCTIONS, encoded)));
    }
    Ok(component)
}

fn load_cached(engine: &Engine, cache: &Cache, digest: &str) -> Option<Component> {
    let compiled = cache.load(digest)?;
    // SAFETY: the bytes are the output of `Component::serialize` for this digest and this engine's compatibility hash:
    // the tag of the entry covers all three, and only who can read the key of this host can make it. The key's file is
    // readable by the user of the host alone, and it and the folder belong to this user or to root; `cache_key` has
    // checked both.
    #[allow(unsafe_code, reason = "wasmtime cannot check that the bytes are its own")]
    let component = unsafe { Component::deserialize(engine.wasm(), &compiled) };
    match component {
        Ok(component) => Some(component),
        Err(error) => {
            tracing::warn!(
                digest,
                "an entry of the compilation cache cannot be used, the component is compiled again: {error:#}"
            );
            None
        }
    }
}
