//! The settings of a test's server beyond the common ones, and the data that it starts with after a restart.

/// The program of a server that is no Redis, but compatible with it.
pub const VALKEY: &str = "valkey-server";

/// Settings of a server, as arguments of its command line.
#[derive(Clone, Debug, Default)]
pub struct Options {
    pub(super) program: Option<&'static str>,
    pub(super) arguments: Vec<String>,
    pub(super) tls: bool,
    pub(super) password: Option<String>,
}

impl Options {
    /// No further settings.
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

    pub(super) fn program_name(&self) -> &'static str {
        self.program.unwrap_or("redis-server")
    }

    /// Runs this program instead of `redis-server`.
    #[must_use]
    pub const fn program(mut self, program: &'static str) -> Self {
        self.program = Some(program);
        self
    }

    /// Accepts TLS connections only, with these PEM files; clients need no certificate.
    #[must_use]
    pub fn tls(mut self, certificate: &str, key: &str, authority: &str) -> Self {
        self.tls = true;
        self.set("tls-cert-file", &[certificate])
            .set("tls-key-file", &[key])
            .set("tls-ca-cert-file", &[authority])
            .set("tls-auth-clients", &["no"])
    }

    /// Requires this password of the default user.
    #[must_use]
    pub fn password(mut self, password: &str) -> Self {
        self.password = Some(password.to_owned());
        self.set("requirepass", &[password])
    }
}

/// The data that a restarted server starts with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Data {
    /// The last snapshot that a test took with `save`, or no data if it took none.
    Snapshot,
    /// No data at all.
    Empty,
}
