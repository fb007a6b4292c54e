//! A client that costs little CPU, because it shares the machine with the measured server: requests are rendered in
//! advance, and one connection carries one after the other. Bodies are read to their end but not parsed.

use std::io;
use std::net::SocketAddr;

use roost::runtime::Caller;
use roost_tests::scenario::ApiRequest;
use roost_tests::token::{SERVICE_KEY, Token};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use uuid::Uuid;

/// The largest number of headers; no answer has more.
const HEADERS_MAX: usize = 32;

/// The bytes of a request. The caller signs the token, once for each user.
pub fn render(ask: &ApiRequest, token: &str) -> Vec<u8> {
    let (method, path) = ask.question.route();
    let head = format!("{method} {path} HTTP/1.1\r\nhost: roost\r\nauthorization: Bearer {token}\r\n");
    if !ask.question.has_body() {
        return format!("{head}\r\n").into_bytes();
    }
    let length = ask.body.len();
    format!("{head}content-type: application/json\r\ncontent-length: {length}\r\n\r\n{}", ask.body).into_bytes()
}

/// The token or key of a caller.
pub fn token(caller: Caller) -> String {
    match caller {
        Caller::User(user) => Token::of(Uuid::from_u128(user.as_u128())).sign(),
        _ => SERVICE_KEY.to_owned(),
    }
}

/// A kept-alive connection.
pub struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Connection {
    pub async fn open(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, buffer: Vec::with_capacity(16 * 1024) })
    }

    /// Sends a request and waits for the whole answer; `Err` describes an answer other than success.
    pub async fn ask(&mut self, request: &[u8]) -> anyhow::Result<()> {
        let status = self.status_of(request).await?;
        if !(200..300).contains(&status) {
            anyhow::bail!("{}", String::from_utf8_lossy(&self.buffer));
        }
        Ok(())
    }

    /// Sends a request and waits for the whole answer; returns its status.
    pub async fn status_of(&mut self, request: &[u8]) -> anyhow::Result<u16> {
        self.stream.write_all(request).await?;
        self.buffer.clear();
        let (status, length) = loop {
            if let Some(head) = head(&self.buffer)? {
                break head;
            }
            self.more().await?;
        };
        while self.buffer.len() < length {
            self.more().await?;
        }
        Ok(status)
    }

    async fn more(&mut self) -> io::Result<()> {
        match self.stream.read_buf(&mut self.buffer).await? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(()),
        }
    }
}

/// The status and the length of the whole answer, once its head is complete.
fn head(bytes: &[u8]) -> anyhow::Result<Option<(u16, usize)>> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut response = httparse::Response::new(&mut headers);
    let httparse::Status::Complete(head) = response.parse(bytes)? else {
        return Ok(None);
    };
    let length = response.headers.iter().find(|header| header.name.eq_ignore_ascii_case("content-length"));
    let body: usize =
        length.map_or(Ok(0), |header| std::str::from_utf8(header.value)?.parse().map_err(anyhow::Error::from))?;
    Ok(Some((response.code.unwrap_or_default(), head + body)))
}
