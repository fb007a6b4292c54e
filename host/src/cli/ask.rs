//! Asks the admin listener of a running host: one request over a connection of its own, which ends with the answer.

use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::config::Config;

const TIMEOUT: Duration = Duration::from_secs(30);

/// The answer, if it is one; otherwise why the host refused.
pub(super) async fn ask(config: &Config, method: &str, path: &str, body: &str) -> anyhow::Result<Value> {
    let admin = config.admin_listen;
    let (status, body) = tokio::time::timeout(TIMEOUT, exchange(config, method, path, body))
        .await
        .map_err(|_| anyhow!("no answer within {} s", TIMEOUT.as_secs()))
        .and_then(|answer| answer)
        .with_context(|| format!("asking the host at {admin} (--admin-listen)"))?;
    let answer: Value = serde_json::from_str(&body).context("the admin listener's answer is no JSON")?;
    if status != 200 {
        let detail = answer.get("detail").and_then(Value::as_str).unwrap_or("no reason given");
        bail!("the host at {admin} refused: {detail} ({status})");
    }
    Ok(answer)
}

async fn exchange(config: &Config, method: &str, path: &str, body: &str) -> anyhow::Result<(u16, String)> {
    let admin = config.admin_listen;
    let mut stream = TcpStream::connect(admin).await.context("is it running?")?;
    let key = config.auth.admin_key.as_ref();
    let credentials = key.map(|key| format!("authorization: Bearer {}\r\n", key.0)).unwrap_or_default();
    let length = body.len();
    let request =
        format!("{method} {path} HTTP/1.0\r\nhost: {admin}\r\ncontent-length: {length}\r\n{credentials}\r\n{body}");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    let (head, body) = answer.split_once("\r\n\r\n").context("the answer is no HTTP")?;
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).context("the answer has no status")?;
    Ok((status, body.to_owned()))
}
