//! Self-signed certificates for 127.0.0.1, in files as servers and hosts read them.

use std::fs;
use std::path::Path;

use tokio_rustls::rustls::pki_types::CertificateDer;

/// A certificate that is its own authority, and its private key.
pub struct SelfSigned {
    /// The path of the certificate, a PEM file.
    pub certificate: String,
    /// The path of the private key, a PEM file.
    pub key: String,
    /// The certificate itself.
    pub der: CertificateDer<'static>,
}

impl SelfSigned {
    /// Makes a certificate and writes `<name>.pem` and `<name>.key` into the folder.
    pub fn write(folder: &Path, name: &str) -> Self {
        let signed = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).expect("a certificate");
        let write = |extension: &str, text: String| {
            let path = folder.join(name).with_extension(extension);
            fs::write(&path, text).expect("the file is written");
            path.display().to_string()
        };
        let (certificate, key) = (write("pem", signed.cert.pem()), write("key", signed.signing_key.serialize_pem()));
        Self { certificate, key, der: signed.cert.der().clone() }
    }
}
