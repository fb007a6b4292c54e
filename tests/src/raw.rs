//! A connection on which a test writes bytes as they are, and reads HTTP answers and WebSocket frames as they come.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::eventually::DEADLINE;

/// The mask of every frame that [`client_frame`] makes.
const MASK: [u8; 4] = [0x12, 0xfe, 0x00, 0x9a];

/// A connection without a protocol.
pub struct RawConnection {
    stream: TcpStream,
    /// What has arrived and is not read yet.
    arrived: Vec<u8>,
}

/// An HTTP answer.
#[derive(Clone, Debug)]
pub struct RawAnswer {
    /// The HTTP status.
    pub status: u16,
    /// The status line and the headers.
    pub head: String,
    /// The body, without the frames of a chunked one.
    pub body: String,
}

/// A WebSocket frame of the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RawFrame {
    /// The bits `FIN` and the reserved ones, and the opcode.
    pub first_byte: u8,
    /// The payload, which a host never masks.
    pub payload: Vec<u8>,
}

impl RawConnection {
    /// Connects to this address.
    pub async fn open(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.expect("the host accepts");
        stream.set_nodelay(true).expect("an open connection");
        Self { stream, arrived: Vec::new() }
    }

    /// Sends these bytes.
    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        timeout(DEADLINE, self.stream.write_all(bytes.as_ref())).await.expect("in time").expect("an open connection");
    }

    /// Sends nothing any more, and goes on reading.
    pub async fn end_sending(&mut self) {
        self.stream.shutdown().await.expect("an open connection");
    }

    /// The status line and the headers of the next answer, for answers that have no body.
    pub async fn head(&mut self) -> RawAnswer {
        let head = String::from_utf8(self.until(b"\r\n\r\n").await).expect("a head is text");
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
        RawAnswer { status: status.unwrap_or_else(|| panic!("no status: {head}")), head, body: String::new() }
    }

    /// The next answer with its body.
    pub async fn answer(&mut self) -> RawAnswer {
        let mut answer = self.head().await;
        let body = match (answer.header("transfer-encoding"), answer.header("content-length")) {
            (Some(_), _) => self.chunks().await,
            (None, Some(length)) => {
                let length = length.parse().expect("a length");
                self.exactly(length).await
            }
            // An answer without a length ends with its connection, unless it has no body at all.
            (None, None) if answer.status == 204 => Vec::new(),
            (None, None) => self.rest().await,
        };
        answer.body = String::from_utf8(body).expect("a body is text");
        answer
    }

    /// The next frame of an open socket.
    pub async fn frame(&mut self) -> RawFrame {
        let head = self.exactly(2).await;
        assert_eq!(head[1] & 0x80, 0, "a host does not mask its frames");
        let length = match head[1] {
            126 => u64::from(u16::from_be_bytes(self.exactly(2).await.try_into().expect("two bytes"))),
            127 => u64::from_be_bytes(self.exactly(8).await.try_into().expect("eight bytes")),
            length => u64::from(length),
        };
        let payload = self.exactly(usize::try_from(length).expect("a length")).await;
        RawFrame { first_byte: head[0], payload }
    }

    /// Everything until the host closes the connection.
    ///
    /// # Panics
    /// If the host resets it, or keeps it open.
    pub async fn rest(&mut self) -> Vec<u8> {
        let mut rest = std::mem::take(&mut self.arrived);
        let read = timeout(DEADLINE, self.stream.read_to_end(&mut rest)).await;
        read.expect("the host closes in time").expect("the host closes without a reset");
        rest
    }

    async fn chunks(&mut self) -> Vec<u8> {
        let mut body = Vec::new();
        loop {
            let line = String::from_utf8(self.until(b"\r\n").await).expect("a size is text");
            let size = usize::from_str_radix(line.trim(), 16).expect("a size");
            let chunk = self.exactly(size + 2).await;
            if size == 0 {
                return body;
            }
            body.extend_from_slice(&chunk[..size]);
        }
    }

    /// Reads up to these bytes and with them.
    async fn until(&mut self, end: &[u8]) -> Vec<u8> {
        loop {
            if let Some(at) = self.arrived.windows(end.len()).position(|window| window == end) {
                return self.arrived.drain(..at + end.len()).collect();
            }
            self.read_more().await;
        }
    }

    async fn exactly(&mut self, length: usize) -> Vec<u8> {
        while self.arrived.len() < length {
            self.read_more().await;
        }
        self.arrived.drain(..length).collect()
    }

    async fn read_more(&mut self) {
        let read = timeout(DEADLINE, self.stream.read_buf(&mut self.arrived)).await;
        let shown = || String::from_utf8_lossy(&self.arrived).into_owned();
        let length = read.unwrap_or_else(|_| panic!("nothing arrives; before: {}", shown())).expect("no reset");
        assert!(length > 0, "the host closed the connection; before: {}", shown());
    }
}

impl RawAnswer {
    /// The value of a header; the first one if it was sent more than once.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (found, value) = line.split_once(':')?;
            found.eq_ignore_ascii_case(name).then_some(value.trim())
        })
    }

    /// Whether the answer announces that its connection closes.
    pub fn closes(&self) -> bool {
        self.header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"))
    }
}

/// A masked frame. The first byte has `FIN`, the reserved bits and the opcode.
pub fn client_frame(first_byte: u8, payload: &[u8]) -> Vec<u8> {
    let length = match payload.len() {
        short @ 0..126 => vec![0x80 | u8::try_from(short).expect("a byte")],
        middle @ 126..65_536 => [&[0xfe], &u16::try_from(middle).expect("two bytes").to_be_bytes()[..]].concat(),
        long => [&[0xff], &(long as u64).to_be_bytes()[..]].concat(),
    };
    let masked = payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask);
    [first_byte].into_iter().chain(length).chain(MASK).chain(masked).collect()
}
