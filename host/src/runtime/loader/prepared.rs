//! What a component is before it is a revision: bytes with their digest; checked, so that work may go into it;
//! prepared, so that only what its deployment decides is missing.

use std::sync::Arc;

use bytes::Bytes;

use super::{DeployFailure, check_kind, digest};
use crate::config::SigningKeys;
use crate::runtime::instance::Blueprint;
use crate::runtime::manifest::Manifest;
use crate::runtime::signature;

/// The bytes of a component and their digest, which is computed once. Clones share the bytes.
#[derive(Clone)]
pub(in crate::runtime) struct ComponentBytes {
    bytes: Bytes,
    digest: String,
}

impl ComponentBytes {
    /// Computes the digest. A large component takes many milliseconds.
    pub(in crate::runtime) fn of(bytes: Vec<u8>) -> Self {
        Self { digest: digest(&bytes), bytes: bytes.into() }
    }

    pub(in crate::runtime) const fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// SHA-256 of the component, in hexadecimal.
    pub(in crate::runtime) fn digest(&self) -> &str {
        &self.digest
    }
}

/// A component that passed the checks that cost little: its size, its kind, and its signature if there are signing
/// keys.
#[derive(Clone)]
pub(in crate::runtime) struct CheckedComponent(ComponentBytes);

impl CheckedComponent {
    /// Checks a component. A signature takes as long as the digest.
    pub(super) fn check(component: ComponentBytes, keys: &SigningKeys) -> Result<Self, DeployFailure> {
        check_kind(&component.bytes)?;
        signature::verify(&component.bytes, keys)?;
        Ok(Self(component))
    }

    pub(in crate::runtime) const fn bytes(&self) -> &Bytes {
        self.0.bytes()
    }

    /// SHA-256 of the component, in hexadecimal.
    pub(in crate::runtime) fn digest(&self) -> &str {
        self.0.digest()
    }
}

/// A component that is compiled, linked and described. Its grants are decided when it becomes a revision.
pub(in crate::runtime) struct PreparedComponent {
    pub(super) manifest: Arc<Manifest>,
    pub(super) digest: String,
    pub(super) blueprint: Blueprint,
}
