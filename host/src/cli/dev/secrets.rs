//! The secrets that `roost dev` generates: random, once for each data directory so that tokens survive a restart, and
//! readable only by the owner. A secret that is configured is never replaced.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

use anyhow::Context;
use serde::{Deserialize, Serialize};

use crate::config::{AuthConfig, Config, Secret, TokenKey};
use crate::server::auth::issuer;

const FILE: &str = "dev-secrets.json";

#[derive(Debug, Serialize, Deserialize)]
struct Secrets {
    token_secret: String,
    service_key: String,
    admin_key: String,
}

/// Completes the configuration with generated secrets: those in the data directory, or new ones.
pub(crate) fn fill_secrets(config: &mut Config) -> anyhow::Result<()> {
    let secrets = match read(&config.data_dir)? {
        Some(secrets) => secrets,
        None => make(&config.data_dir)?,
    };
    secrets.complete(&mut config.auth);
    Ok(())
}

/// Completes the configuration with the secrets in the data directory, if there are any.
pub(crate) fn use_known_secrets(config: &mut Config) -> anyhow::Result<()> {
    if let Some(secrets) = read(&config.data_dir)? {
        secrets.complete(&mut config.auth);
    }
    Ok(())
}

impl Secrets {
    fn complete(self, auth: &mut AuthConfig) {
        if issuer::secret(auth).is_none() {
            auth.keys.push(TokenKey::Secret(Secret(self.token_secret)));
        }
        if auth.service_keys.is_empty() {
            auth.service_keys.push(Secret(self.service_key));
        }
        auth.admin_key.get_or_insert(Secret(self.admin_key));
    }
}

fn read(data_dir: &Path) -> anyhow::Result<Option<Secrets>> {
    let path = data_dir.join(FILE);
    match fs::read_to_string(&path) {
        Ok(text) => {
            let secrets = serde_json::from_str(&text);
            secrets.map(Some).with_context(|| {
                format!("{} is damaged; delete the file, and new secrets are generated", path.display())
            })
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("{} cannot be read", path.display())),
    }
}

fn make(data_dir: &Path) -> anyhow::Result<Secrets> {
    let secrets = Secrets { token_secret: random(), service_key: random(), admin_key: random() };
    let path = data_dir.join(FILE);
    let write = || -> io::Result<()> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(data_dir)?;
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
        file.write_all(serde_json::to_string_pretty(&secrets)?.as_bytes())
    };
    write().with_context(|| format!("{} cannot be written", path.display()))?;
    Ok(secrets)
}

/// 256 bits in hexadecimal.
fn random() -> String {
    rand::random::<[u8; 32]>().iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::path::PathBuf;

    use super::*;
    use crate::config::Sources;

    fn config(data_dir: &Path, variables: &[(&str, &str)]) -> Config {
        let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let defaults = vec![("data_dir", data_dir.display().to_string())];
        Sources { defaults, environment: variables.collect(), ..Sources::default() }.load().unwrap()
    }

    fn folder(name: &str) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("roost-secrets-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        folder
    }

    #[test]
    fn generated_secrets_survive_a_restart_and_only_the_owner_reads_them() {
        let folder = folder("kept");
        let (mut first, mut second) = (config(&folder, &[]), config(&folder, &[]));
        use_known_secrets(&mut first).unwrap();
        assert!(first.auth.keys.is_empty(), "nothing is generated yet");
        fill_secrets(&mut first).unwrap();
        fill_secrets(&mut second).unwrap();
        assert!(first.auth.admin_key.is_some() && first.auth.admin_key == second.auth.admin_key);
        assert_eq!(issuer::secret(&first.auth).map(|secret| secret.0.len()), Some(64));
        assert_eq!(fs::metadata(folder.join(FILE)).unwrap().permissions().mode() & 0o777, 0o600);
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn a_configured_secret_is_not_replaced() {
        let folder = folder("configured");
        let mut config = config(&folder, &[("ROOST_ADMIN_KEY", "the-operators-own")]);
        fill_secrets(&mut config).unwrap();
        assert_eq!(config.auth.admin_key, Some(Secret("the-operators-own".to_owned())));
        assert_eq!(config.auth.service_keys.len(), 1);
        fs::remove_dir_all(folder).unwrap();
    }
}
