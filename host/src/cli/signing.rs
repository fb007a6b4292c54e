//! `roost keygen` makes a key pair, and `roost sign` signs components with its secret key.

use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, anyhow, bail};

use super::args::{KeygenArgs, SignArgs};
use super::print::print;
use crate::runtime::{signature, write_atomically};

/// The extension of the file with the public key.
const PUBLIC_EXTENSION: &str = "pub";

pub(super) fn keygen(args: &KeygenArgs) -> anyhow::Result<ExitCode> {
    let (secret_file, public_file) = (&args.out, &args.out.with_extension(PUBLIC_EXTENSION));
    if secret_file == public_file {
        bail!(
            "--out {} names the file of the secret key; the public key gets the same name with the extension \
             `{PUBLIC_EXTENSION}`, so choose another one",
            secret_file.display()
        );
    }
    let (secret, public) = signature::generate_keys();
    create(secret_file, &secret, 0o600)?;
    if let Err(error) = create(public_file, &public, 0o644) {
        // Without its public key a secret key is of no use. The caller needs the first error.
        let _ = fs::remove_file(secret_file);
        return Err(error);
    }
    let (secret_file, public_file) = (secret_file.display(), public_file.display());
    print(&format!(
        "{secret_file}: the secret key, for `roost sign FILE --key {secret_file}`; do not copy it to the hosts\n\
         {public_file}: the public key, for the hosts: `signing_keys = [\"{public_file}\"]`"
    ))?;
    Ok(ExitCode::SUCCESS)
}

/// Creates a file, and never replaces one: a lost secret key cannot be restored.
fn create(path: &Path, text: &str, mode: u32) -> anyhow::Result<()> {
    let opened = OpenOptions::new().write(true).create_new(true).mode(mode).open(path);
    let written = opened.and_then(|mut file| file.write_all(text.as_bytes()));
    written.map_err(|error| match error.kind() {
        ErrorKind::AlreadyExists => {
            anyhow!("{} exists, and no key is replaced; name another file with --out", path.display())
        }
        _ => anyhow!("{} cannot be written: {error}; name another file with --out", path.display()),
    })
}

pub(super) fn sign(args: &SignArgs) -> anyhow::Result<ExitCode> {
    let key_file = args.key.display();
    let key = fs::read(&args.key).with_context(|| format!("--key {key_file} cannot be read"))?;
    let key = signature::parse_secret_key(&key)
        .with_context(|| format!("--key {key_file} is not an Ed25519 secret key, as `roost keygen` writes it"))?;
    if args.out.is_some() && args.files.len() > 1 {
        bail!("--out names the file of one signed component, but {} are given; sign them one by one", args.files.len());
    }
    for file in &args.files {
        let component = fs::read(file).with_context(|| format!("{} cannot be read", file.display()))?;
        let signed = signature::sign(&component, &key).with_context(|| file.display().to_string())?;
        let out = args.out.as_ref().unwrap_or(file);
        write_atomically(out, &signed).with_context(|| format!("{} cannot be written", out.display()))?;
        print(&format!("{}: signed", out.display()))?;
    }
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::config::SigningKeys;

    const COMPONENT: &[u8] = b"\0asm\x0d\0\x01\0";

    #[test]
    fn a_component_is_signed_with_a_key_that_only_its_owner_reads() {
        let folder = tempfile::tempdir().unwrap();
        let within = |name: &str| folder.path().join(name);
        let (secret, public, plain, signed) =
            (within("ops.key"), within("ops.pub"), within("a.wasm"), within("signed.wasm"));
        keygen(&KeygenArgs { out: secret.clone() }).unwrap();
        assert_eq!(fs::metadata(&secret).unwrap().permissions().mode() & 0o777, 0o600);
        fs::write(&plain, COMPONENT).unwrap();
        let sign_into = |out| sign(&SignArgs { files: vec![plain.clone()], key: secret.clone(), out });
        sign_into(Some(signed.clone())).unwrap();
        assert_eq!(fs::read(&plain).unwrap(), COMPONENT);
        sign_into(None).unwrap();
        assert_eq!(fs::read(&plain).unwrap(), fs::read(&signed).unwrap(), "without --out the file is replaced");
        let mut keys = SigningKeys::default();
        assert!(keys.add(&fs::read(&public).unwrap()));
    }

    #[test]
    fn keys_are_never_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let (secret, public) = (folder.path().join("ops.key"), folder.path().join("ops.pub"));
        fs::write(&public, "of an older key").unwrap();
        let error = keygen(&KeygenArgs { out: secret.clone() }).unwrap_err().to_string();
        assert!(error.contains("ops.pub exists, and no key is replaced"), "{error}");
        assert!(!secret.exists(), "a secret key without its public key remains");
        fs::remove_file(&public).unwrap();
        keygen(&KeygenArgs { out: secret.clone() }).unwrap();
        let (kept, kept_public) = (fs::read(&secret).unwrap(), fs::read(&public).unwrap());
        assert!(keygen(&KeygenArgs { out: secret.clone() }).unwrap_err().to_string().contains("ops.key exists"));
        assert_eq!((fs::read(&secret).unwrap(), fs::read(&public).unwrap()), (kept, kept_public));
    }
}
