//! How a test wants its server: beyond the common settings, and with which data after a restart.

/// Settings of a server, as its command line takes them.
#[derive(Clone, Debug, Default)]
pub struct Options {
    pub(super) arguments: Vec<String>,
    pub(super) tls: bool,
    pub(super) password: Option<String>,
}

impl Options {
    /// Nothing special.
    pub fn new() -> Self {
        Self::default()
    }

    /// A setting of `redis.conf` with its values.
    #[must_use]
    pub fn set(mut self, name: &str, values: &[&str]) -> Self {
        self.arguments.push(format!("--{name}"));
        self.arguments.extend(values.iter().map(|value| (*value).to_owned()));
        self
    }

    /// Speaks TLS only, with these PEM files; clients need no certificate.
    #[must_use]
    pub fn tls(mut self, certificate: &str, key: &str, authority: &str) -> Self {
        self.tls = true;
        self.set("tls-cert-file", &[certificate])
            .set("tls-key-file", &[key])
            .set("tls-ca-cert-file", &[authority])
            .set("tls-auth-clients", &["no"])
    }

    /// Asks the default user for this password.
    #[must_use]
    pub fn password(mut self, password: &str) -> Self {
        self.password = Some(password.to_owned());
        self.set("requirepass", &[password])
    }
}

/// What a restarted server begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Data {
    /// The last snapshot that a test took with `save`; nothing, if it took none.
    Snapshot,
    /// Nothing.
    Empty,
}
