//! A running host, seen from another process: its configuration, and requests to its admin listener, each over a
//! connection of its own.

use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

use super::args::SettingArgs;
use super::{dev, pinned_certificate, source};
use crate::config::{Config, Sources};

const TIMEOUT: Duration = Duration::from_secs(30);

/// The configuration of a running host, which may be one of `roost dev`: then with the secrets generated for it.
pub(super) fn config(args: &SettingArgs) -> anyhow::Result<Config> {
    let defaults = source::find(None).map_or_else(|_| Vec::new(), |root| dev::defaults(&root));
    let mut config = Sources { defaults, ..args.sources() }.load()?;
    dev::use_known_secrets(&mut config)?;
    Ok(config)
}

/// Sends a request and returns the answer. An answer other than 200 is an error with the reason that the host gives.
pub(super) async fn request(config: &Config, method: &str, path: &str, body: &str) -> anyhow::Result<Value> {
    let admin = config.admin_listen;
    let (status, body) = tokio::time::timeout(TIMEOUT, exchange(config, method, path, body))
        .await
        .map_err(|_| anyhow!("no answer within {} s", TIMEOUT.as_secs()))
        .and_then(|answer| answer)
        .with_context(|| format!("the host at {admin} (--admin-listen) cannot be asked"))?;
    let answer: Value = serde_json::from_str(&body).context("the answer of the admin listener is not JSON")?;
    if status != 200 {
        let detail = answer.get("detail").and_then(Value::as_str).unwrap_or("no reason given");
        bail!("the host at {admin} refused: {detail} ({status})");
    }
    Ok(answer)
}

async fn exchange(config: &Config, method: &str, path: &str, body: &str) -> anyhow::Result<(u16, String)> {
    let admin = config.admin_listen;
    let stream = TcpStream::connect(admin).await.context("no connection; is it running?")?;
    let key = config.auth.admin_key.as_ref();
    let credentials = key.map(|key| format!("authorization: Bearer {}\r\n", key.0)).unwrap_or_default();
    let length = body.len();
    let request =
        format!("{method} {path} HTTP/1.0\r\nhost: {admin}\r\ncontent-length: {length}\r\n{credentials}\r\n{body}");
    let answer = match &config.admin_tls_cert {
        Some(certificate) => ask(pinned_certificate::encrypt(stream, admin, certificate).await?, &request).await?,
        None => ask(stream, &request).await?,
    };
    let (head, body) = answer.split_once("\r\n\r\n").context("the answer is not HTTP")?;
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).context("the answer has no status")?;
    Ok((status, body.to_owned()))
}

/// Sends a request and reads until the host closes the connection.
async fn ask(mut stream: impl AsyncRead + AsyncWrite + Unpin, request: &str) -> anyhow::Result<String> {
    stream.write_all(request.as_bytes()).await?;
    stream.flush().await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer)
}
