//! A running host, seen from another process: its configuration, and requests to its admin listener, each over a
//! connection of its own.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, anyhow};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

use super::args::{AdminUrl, SettingArgs};
use super::{dev, pinned_certificate, source};
use crate::config::{Config, Secret, Sources};

const TIMEOUT: Duration = Duration::from_secs(30);
/// For uploads, and for what compiles: the largest components take minutes where a host has little time to compile.
const LONG_TIMEOUT: Duration = Duration::from_secs(600);

/// The configuration of a running host, which may be one of `roost dev`: then with the secrets generated for it.
pub(super) fn config(args: &SettingArgs) -> anyhow::Result<Config> {
    let defaults = source::find(None).map_or_else(|_| Vec::new(), |root| dev::defaults(&root));
    let mut config = Sources { defaults, ..args.sources() }.load()?;
    dev::use_known_secrets(&mut config)?;
    Ok(config)
}

/// The admin listener of a running host, and the key for it.
pub(super) struct RunningHost<'c> {
    /// The host and port.
    authority: String,
    /// The certificate that the host must show; `None`: it serves plain HTTP.
    certificate: Option<&'c Path>,
    key: Option<&'c Secret>,
}

impl<'c> RunningHost<'c> {
    /// The host of this configuration, or another one with the same key and certificate.
    pub(super) fn new(config: &'c Config, to: Option<&AdminUrl>) -> anyhow::Result<Self> {
        let configured = config.admin_tls_cert.as_deref();
        let (authority, certificate) = match to {
            None => (config.admin_listen.to_string(), configured),
            Some(AdminUrl { authority, is_encrypted: false }) => (authority.clone(), None),
            Some(AdminUrl { authority, is_encrypted: true }) => {
                let certificate = configured
                    .context("set admin_tls_cert (ROOST_ADMIN_TLS_CERT) to the certificate that the host must show")?;
                (authority.clone(), Some(certificate))
            }
        };
        Ok(Self { authority, certificate, key: config.auth.admin_key.as_ref() })
    }

    /// The host and port.
    pub(super) fn authority(&self) -> &str {
        &self.authority
    }

    /// Sends a request and returns the answer. An answer other than 200 is an error with the reason that the host
    /// gives.
    pub(super) async fn request(&self, method: &str, path: &str, body: &[u8]) -> anyhow::Result<Value> {
        let mut text = String::new();
        let status = self.within(TIMEOUT, self.exchange(method, path, body, |line| text.push_str(line))).await?;
        let answer: Value = serde_json::from_str(&text).context("the answer of the admin listener is not JSON")?;
        if status != 200 {
            return Err(self.refused(&answer));
        }
        Ok(answer)
    }

    /// Sends a request whose answer is one JSON value a line, and hands over each value as it arrives. A single value
    /// without a line break is handed over, too.
    pub(super) async fn request_lines(
        &self,
        request: (&str, &str, &[u8]),
        on_line: impl FnMut(Value),
    ) -> anyhow::Result<()> {
        match self.within(LONG_TIMEOUT, self.lines(request, on_line)).await? {
            Some(refused) => Err(refused),
            None => Ok(()),
        }
    }

    /// As [`RunningHost::request_lines`], for an answer that may take as long as it likes. The answer is the reason if
    /// the host refused the request, the error if the connection failed.
    pub(super) async fn lines(
        &self,
        (method, path, body): (&str, &str, &[u8]),
        mut on_line: impl FnMut(Value),
    ) -> anyhow::Result<Option<anyhow::Error>> {
        let mut refusal = None;
        let exchange = self.exchange(method, path, body, |line| match serde_json::from_str(line) {
            Ok(value) if refusal.is_none() => {
                on_line(Value::clone(&value));
                refusal = Some(value).filter(|value| value.get("detail").is_some());
            }
            _ => {}
        });
        let status = exchange.await?;
        Ok(match refusal {
            Some(answer) if status != 200 => Some(self.refused(&answer)),
            None if status != 200 => {
                Some(anyhow!("the host at {} refused: no reason given ({status})", self.authority))
            }
            _ => None,
        })
    }

    /// The error for an answer that is a problem document.
    pub(super) fn refused(&self, problem: &Value) -> anyhow::Error {
        let text = |key: &str| problem.get(key).and_then(Value::as_str).map(str::to_owned);
        let detail = text("detail").unwrap_or_else(|| "no reason given".to_owned());
        let status =
            problem.get("status").and_then(Value::as_u64).map_or_else(String::new, |status| status.to_string());
        let code = text("code").map_or_else(String::new, |code| format!(", {code}"));
        anyhow!("the host at {} refused: {detail} ({status}{code})", self.authority)
    }

    async fn within<T>(&self, limit: Duration, exchange: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
        tokio::time::timeout(limit, exchange)
            .await
            .map_err(|_| anyhow!("no answer within {} s", limit.as_secs()))
            .and_then(|answer| answer)
            .with_context(|| format!("the host at {} (--admin-listen) cannot be asked", self.authority))
    }

    async fn exchange(&self, method: &str, path: &str, body: &[u8], on_line: impl FnMut(&str)) -> anyhow::Result<u16> {
        let stream = TcpStream::connect(&self.authority).await.context("no connection; is it running?")?;
        let credentials = self.key.map(|key| format!("authorization: Bearer {}\r\n", key.0)).unwrap_or_default();
        let (authority, length) = (&self.authority, body.len());
        let head =
            format!("{method} {path} HTTP/1.0\r\nhost: {authority}\r\ncontent-length: {length}\r\n{credentials}\r\n");
        let request = [head.as_bytes(), body].concat();
        match self.certificate {
            Some(certificate) => {
                let address = stream.peer_addr()?;
                ask(pinned_certificate::encrypt(stream, address, certificate).await?, &request, on_line).await
            }
            None => ask(stream, &request, on_line).await,
        }
    }
}

/// Sends a request to the host of this configuration.
pub(super) async fn request(config: &Config, method: &str, path: &str, body: &str) -> anyhow::Result<Value> {
    RunningHost::new(config, None)?.request(method, path, body.as_bytes()).await
}

/// Sends a request, and hands over the lines of the answer until the host closes the connection. Returns the status.
async fn ask(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    request: &[u8],
    mut on_line: impl FnMut(&str),
) -> anyhow::Result<u16> {
    let (reader, mut writer) = tokio::io::split(stream);
    let mut lines = BufReader::new(reader);
    // A host that refuses a request early answers it without reading all of it.
    let sent = async {
        writer.write_all(request).await?;
        writer.flush().await
    };
    let answered = async {
        let mut line = String::new();
        lines.read_line(&mut line).await?;
        let status = line.split(' ').nth(1).and_then(|status| status.parse().ok()).context("the answer is not HTTP")?;
        while line.trim_end() != "" {
            line.clear();
            lines.read_line(&mut line).await?;
        }
        loop {
            line.clear();
            if lines.read_line(&mut line).await? == 0 {
                return anyhow::Ok(status);
            }
            on_line(&line);
        }
    };
    let (sent, answered) = tokio::join!(sent, answered);
    match (answered, sent) {
        (Ok(status), _) => Ok(status),
        (Err(_), Err(error)) => Err(error.into()),
        (Err(error), Ok(())) => Err(error),
    }
}
