//! A TCP proxy on loopback between a host and what it depends on: a network that a test can spoil.
//!
//! It passes, delays, holds one or both directions, cuts connections, and cuts an answer in its middle. It knows no
//! protocol.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::sleep;

/// Read at a time.
const PIECE_BYTES: usize = 16 * 1_024;

/// A direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// From whoever connected.
    Requests,
    /// From what lies behind the proxy.
    Answers,
}

/// What the network does to every connection, those there are and those to come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Line {
    /// Everything passes.
    Open,
    /// Every piece is this late.
    Late(Duration),
    /// Nothing passes this way for now; nobody is told, and nothing is lost when it opens again.
    HalfHeld(Way),
    /// Nothing passes for now.
    Held,
    /// The next answer is cut in its middle, and the connection with it.
    Halved,
    /// Connections are reset, and no new one comes about.
    Down,
}

impl Line {
    fn holds(self, way: Way) -> bool {
        self == Self::Held || self == Self::HalfHeld(way)
    }
}

/// Connections that can be cut, the newest last.
type Connections = Arc<Mutex<BTreeMap<u64, oneshot::Sender<()>>>>;

/// Stands before one address. Everything that passes through it is reset when it is dropped.
pub struct Proxy {
    /// Where to connect instead.
    pub address: SocketAddr,
    line: watch::Sender<Line>,
    connections: Connections,
    _accepting: JoinSet<()>,
}

impl Proxy {
    /// Before this address.
    pub async fn before(target: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let line = watch::Sender::new(Line::Open);
        let connections = Connections::default();
        let mut accepting = JoinSet::new();
        accepting.spawn(accept(listener, target, line.clone(), connections.clone()));
        Self { address, line, connections, _accepting: accepting }
    }

    /// From now on the network does this.
    pub fn set(&self, line: Line) {
        self.line.send_replace(line);
    }

    /// Resets every connection; new ones come about.
    pub fn cut(&self) {
        self.connections.lock().unwrap().clear();
    }

    /// Resets the connection that came last. Answers whether there was one.
    pub fn cut_newest(&self) -> bool {
        self.connections.lock().unwrap().pop_last().is_some()
    }

    /// Open connections.
    pub fn connections(&self) -> usize {
        self.connections.lock().unwrap().len()
    }
}

async fn accept(listener: TcpListener, target: SocketAddr, line: watch::Sender<Line>, connections: Connections) {
    let mut carried = JoinSet::new();
    let mut number = 0;
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let Ok((client, _)) = accepted else { continue };
                number += 1;
                let (keep, cut) = oneshot::channel();
                connections.lock().unwrap().insert(number, keep);
                let (line, connections) = (line.subscribe(), connections.clone());
                carried.spawn(async move {
                    carry(client, target, line, cut).await;
                    connections.lock().unwrap().remove(&number);
                });
            }
            Some(_) = carried.join_next() => {}
        }
    }
}

/// Carries both directions until both ends are done or the connection is cut.
async fn carry(mut client: TcpStream, target: SocketAddr, line: watch::Receiver<Line>, cut: oneshot::Receiver<()>) {
    if *line.borrow() == Line::Down {
        return reset(&client);
    }
    let Ok(mut server) = TcpStream::connect(target).await else { return reset(&client) };
    for stream in [&client, &server] {
        stream.set_nodelay(true).expect("an open socket");
    }
    let mut down = line.clone();
    let done = {
        let ((asked, answer), (answered, ask)) = (client.split(), server.split());
        let requests = pump(asked, ask, Way::Requests, line.clone());
        let answers = pump(answered, answer, Way::Answers, line);
        tokio::select! {
            carried = async { tokio::try_join!(requests, answers) } => carried.is_ok(),
            _ = cut => false,
            _ = down.wait_for(|line| *line == Line::Down) => false,
        }
    };
    if !done {
        reset(&client);
        reset(&server);
    }
}

/// The connection is reset when it is dropped.
fn reset(stream: &TcpStream) {
    // Whoever closed first has nothing left to reset.
    let _ = stream.set_zero_linger();
}

async fn pump(
    mut from: ReadHalf<'_>,
    mut to: WriteHalf<'_>,
    way: Way,
    mut line: watch::Receiver<Line>,
) -> io::Result<()> {
    let mut piece = vec![0; PIECE_BYTES];
    loop {
        let length = from.read(&mut piece).await?;
        let now = line.wait_for(|line| !line.holds(way)).await.map(|line| *line).unwrap_or(Line::Down);
        if length == 0 {
            return to.shutdown().await;
        }
        if let Line::Late(by) = now {
            sleep(by).await;
        }
        if now == Line::Halved && way == Way::Answers {
            to.write_all(&piece[..length / 2]).await?;
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        to.write_all(&piece[..length]).await?;
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncBufReadExt, BufReader};
    use tokio::time::{Instant, timeout};

    use super::*;

    const SHORT: Duration = Duration::from_millis(100);
    const LONG: Duration = Duration::from_secs(10);

    /// Answers every line with the line.
    async fn echo() -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let (mut read, mut write) = stream.split();
                    tokio::io::copy(&mut read, &mut write).await
                });
            }
        });
        address
    }

    async fn connect(proxy: &Proxy) -> BufReader<TcpStream> {
        BufReader::new(TcpStream::connect(proxy.address).await.unwrap())
    }

    async fn say(stream: &mut BufReader<TcpStream>, line: &str) {
        stream.get_mut().write_all(line.as_bytes()).await.unwrap();
    }

    async fn hear(stream: &mut BufReader<TcpStream>) -> io::Result<String> {
        let mut line = String::new();
        timeout(LONG, stream.read_line(&mut line)).await.expect("in time")?;
        Ok(line)
    }

    #[tokio::test]
    async fn an_open_line_passes_and_a_late_one_passes_later() {
        let proxy = Proxy::before(echo().await).await;
        let mut stream = connect(&proxy).await;
        say(&mut stream, "one\n").await;
        assert_eq!(hear(&mut stream).await.unwrap(), "one\n");
        proxy.set(Line::Late(SHORT));
        let asked = Instant::now();
        say(&mut stream, "two\n").await;
        assert_eq!(hear(&mut stream).await.unwrap(), "two\n");
        assert!(asked.elapsed() >= 2 * SHORT, "{:?}", asked.elapsed());
    }

    #[tokio::test]
    async fn what_is_held_comes_when_the_line_opens_again() {
        let proxy = Proxy::before(echo().await).await;
        for line in [Line::Held, Line::HalfHeld(Way::Requests), Line::HalfHeld(Way::Answers)] {
            proxy.set(line);
            let mut stream = connect(&proxy).await;
            say(&mut stream, "late\n").await;
            assert!(timeout(SHORT, stream.fill_buf()).await.is_err(), "{line:?} passed something");
            proxy.set(Line::Open);
            assert_eq!(hear(&mut stream).await.unwrap(), "late\n", "{line:?}");
        }
    }

    #[tokio::test]
    async fn a_cut_resets_every_connection_or_the_newest_alone() {
        let proxy = Proxy::before(echo().await).await;
        let (mut old, mut new) = (connect(&proxy).await, connect(&proxy).await);
        for stream in [&mut old, &mut new] {
            say(stream, "here\n").await;
            assert_eq!(hear(stream).await.unwrap(), "here\n");
        }
        assert!(proxy.cut_newest());
        hear(&mut new).await.unwrap_err();
        say(&mut old, "still\n").await;
        assert_eq!(hear(&mut old).await.unwrap(), "still\n");
        proxy.cut();
        hear(&mut old).await.unwrap_err();
        assert!(!proxy.cut_newest());
    }

    #[tokio::test]
    async fn a_halved_answer_ends_in_its_middle_and_a_line_that_is_down_takes_nobody() {
        let proxy = Proxy::before(echo().await).await;
        let mut stream = connect(&proxy).await;
        proxy.set(Line::Halved);
        say(&mut stream, "abcdefgh").await;
        let mut heard = [0; 8];
        let halved = timeout(LONG, stream.read_exact(&mut heard)).await.expect("in time");
        assert!(halved.is_err() && !heard.ends_with(b"h"), "{heard:?}");
        proxy.set(Line::Down);
        let mut refused = connect(&proxy).await;
        let answer = hear(&mut refused).await;
        assert!(answer.is_err() || answer.is_ok_and(|line| line.is_empty()));
    }
}
