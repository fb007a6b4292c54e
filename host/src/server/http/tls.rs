//! TLS of a listener: reads the certificate and the private key.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, bail};
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::TlsAcceptor;

/// Encrypts connections with the certificate chain and the private key in these PEM files.
pub(crate) fn acceptor(certificate: &Path, key: &Path) -> anyhow::Result<TlsAcceptor> {
    let shown = certificate.display();
    let chain = CertificateDer::pem_file_iter(certificate).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let chain = chain.with_context(|| format!("{shown} is not a PEM file with certificates"))?;
    if chain.is_empty() {
        bail!("{shown} has no certificate: it needs a block that begins with `-----BEGIN CERTIFICATE-----`");
    }
    let private = PrivateKeyDer::from_pem_file(key)
        .with_context(|| format!("{} is not a PEM file with a private key", key.display()))?;
    let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, private);
    let mut config = config.with_context(|| {
        format!("the certificate in {shown} and the private key in {} cannot be used together", key.display())
    })?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}
