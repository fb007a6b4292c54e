//! A TCP proxy on loopback between a host and a server that it depends on. Tests use it to inject network faults.
//!
//! It passes, delays or holds data in one or both directions, resets connections, truncates an answer, and refuses
//! upgrades. It knows no protocol beyond the header `Upgrade` of HTTP.

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

/// How much is read at a time.
const PIECE_BYTES: usize = 16 * 1_024;

/// The direction of a transfer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From the client that connected.
    Requests,
    /// From the server behind the proxy.
    Answers,
}

/// The condition of the network, for existing and new connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NetworkCondition {
    /// All data passes.
    Normal,
    /// Every piece of data is delayed by this time.
    Delayed(Duration),
    /// Data in this direction is held back. Nothing is lost; it passes when the condition is normal again.
    HeldOneWay(Direction),
    /// Data in both directions is held back.
    Held,
    /// The next answer is cut in the middle, and its connection is reset.
    TruncateNextAnswer,
    /// A connection is reset if a request on it asks for another protocol, as that of a WebSocket does. Everything else
    /// passes.
    WithoutUpgrades,
    /// Existing connections are reset, and new ones are refused.
    Down,
}

impl NetworkCondition {
    fn holds(self, direction: Direction) -> bool {
        self == Self::Held || self == Self::HeldOneWay(direction)
    }
}

/// The network between a client and a server.
#[derive(Clone)]
struct Network {
    condition: watch::Sender<NetworkCondition>,
    /// The text from whose first occurrence in a request on everything is held.
    held_from: Arc<Mutex<Option<String>>>,
}

impl Network {
    /// Holds the network if this part of a request contains the text.
    fn inspect(&self, request: &[u8]) {
        let mut held_from = self.held_from.lock().unwrap();
        let is_in = |text: &String| request.windows(text.len()).any(|window| window == text.as_bytes());
        if held_from.as_ref().is_some_and(is_in) {
            *held_from = None;
            self.condition.send_replace(NetworkCondition::Held);
        }
    }
}

/// Open connections by number, the newest last. Dropping the sender resets the connection.
type Connections = Arc<Mutex<BTreeMap<u64, oneshot::Sender<()>>>>;

/// A proxy for one address. Dropping it resets every connection through it.
pub struct Proxy {
    /// The address to connect to instead of the target.
    pub address: SocketAddr,
    network: Network,
    connections: Connections,
    _accepting: JoinSet<()>,
}

impl Proxy {
    /// Starts a proxy for this address.
    pub async fn before(target: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let network = Network { condition: watch::Sender::new(NetworkCondition::Normal), held_from: Arc::default() };
        let connections = Connections::default();
        let mut accepting = JoinSet::new();
        accepting.spawn(accept(listener, target, network.clone(), connections.clone()));
        Self { address, network, connections, _accepting: accepting }
    }

    /// Sets the condition of the network from now on.
    pub fn set(&self, condition: NetworkCondition) {
        self.network.condition.send_replace(condition);
    }

    /// Holds everything from the first request on that contains this text. The text must not be cut by the size of a
    /// read.
    pub fn hold_from(&self, text: &str) {
        *self.network.held_from.lock().unwrap() = Some(text.to_owned());
    }

    /// Whether data in both directions is held back.
    pub fn is_holding(&self) -> bool {
        *self.network.condition.borrow() == NetworkCondition::Held
    }

    /// Resets every connection; new ones can be opened.
    pub fn cut(&self) {
        self.connections.lock().unwrap().clear();
    }

    /// Resets the newest connection. Returns whether there was one.
    pub fn cut_newest(&self) -> bool {
        self.connections.lock().unwrap().pop_last().is_some()
    }

    /// The number of open connections.
    pub fn connections(&self) -> usize {
        self.connections.lock().unwrap().len()
    }
}

async fn accept(listener: TcpListener, target: SocketAddr, network: Network, connections: Connections) {
    let mut carried = JoinSet::new();
    let mut number = 0;
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let Ok((client, _)) = accepted else { continue };
                number += 1;
                let (keep, cut) = oneshot::channel();
                connections.lock().unwrap().insert(number, keep);
                let (network, connections) = (network.clone(), connections.clone());
                carried.spawn(async move {
                    carry(client, target, network, cut).await;
                    connections.lock().unwrap().remove(&number);
                });
            }
            Some(_) = carried.join_next() => {}
        }
    }
}

/// Copies both directions until both ends are done or the connection is reset.
async fn carry(mut client: TcpStream, target: SocketAddr, network: Network, cut: oneshot::Receiver<()>) {
    if *network.condition.borrow() == NetworkCondition::Down {
        return reset(&client);
    }
    let Ok(mut server) = TcpStream::connect(target).await else { return reset(&client) };
    for stream in [&client, &server] {
        stream.set_nodelay(true).expect("an open socket");
    }
    let mut down = network.condition.subscribe();
    let done = {
        let ((asked, answer), (answered, ask)) = (client.split(), server.split());
        let requests = pump(asked, ask, Direction::Requests, network.clone());
        let answers = pump(answered, answer, Direction::Answers, network);
        tokio::select! {
            carried = async { tokio::try_join!(requests, answers) } => carried.is_ok(),
            _ = cut => false,
            _ = down.wait_for(|condition| *condition == NetworkCondition::Down) => false,
        }
    };
    if !done {
        reset(&client);
        reset(&server);
    }
}

/// Makes the connection reset when it is dropped.
fn reset(stream: &TcpStream) {
    // If the other end has closed already, there is nothing to reset.
    let _ = stream.set_zero_linger();
}

/// Whether this part of a request has the header that asks for another protocol. The header must not be cut by the size
/// of a read.
fn asks_for_upgrade(request: &[u8]) -> bool {
    const HEADER: &[u8] = b"\r\nupgrade:";
    request.windows(HEADER.len()).any(|window| window.eq_ignore_ascii_case(HEADER))
}

async fn pump(mut from: ReadHalf<'_>, mut to: WriteHalf<'_>, direction: Direction, network: Network) -> io::Result<()> {
    let mut condition = network.condition.subscribe();
    let mut piece = vec![0; PIECE_BYTES];
    loop {
        let length = from.read(&mut piece).await?;
        if direction == Direction::Requests {
            network.inspect(&piece[..length]);
        }
        let now = condition
            .wait_for(|condition| !condition.holds(direction))
            .await
            .map(|condition| *condition)
            .unwrap_or(NetworkCondition::Down);
        if length == 0 {
            return to.shutdown().await;
        }
        let is_request = direction == Direction::Requests;
        if now == NetworkCondition::WithoutUpgrades && is_request && asks_for_upgrade(&piece[..length]) {
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        if let NetworkCondition::Delayed(by) = now {
            sleep(by).await;
        }
        if now == NetworkCondition::TruncateNextAnswer && direction == Direction::Answers {
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

    /// A server that sends every line back.
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

    async fn send_line(stream: &mut BufReader<TcpStream>, line: &str) {
        stream.get_mut().write_all(line.as_bytes()).await.unwrap();
    }

    async fn receive_line(stream: &mut BufReader<TcpStream>) -> io::Result<String> {
        let mut line = String::new();
        timeout(LONG, stream.read_line(&mut line)).await.expect("in time")?;
        Ok(line)
    }

    #[tokio::test]
    async fn a_normal_network_passes_data_and_a_delayed_one_passes_it_later() {
        let proxy = Proxy::before(echo().await).await;
        let mut stream = connect(&proxy).await;
        send_line(&mut stream, "one\n").await;
        assert_eq!(receive_line(&mut stream).await.unwrap(), "one\n");
        proxy.set(NetworkCondition::Delayed(SHORT));
        let asked = Instant::now();
        send_line(&mut stream, "two\n").await;
        assert_eq!(receive_line(&mut stream).await.unwrap(), "two\n");
        assert!(asked.elapsed() >= 2 * SHORT, "{:?}", asked.elapsed());
    }

    #[tokio::test]
    async fn held_data_arrives_once_the_network_is_normal_again() {
        let proxy = Proxy::before(echo().await).await;
        for condition in [
            NetworkCondition::Held,
            NetworkCondition::HeldOneWay(Direction::Requests),
            NetworkCondition::HeldOneWay(Direction::Answers),
        ] {
            proxy.set(condition);
            let mut stream = connect(&proxy).await;
            send_line(&mut stream, "late\n").await;
            assert!(timeout(SHORT, stream.fill_buf()).await.is_err(), "{condition:?} passed something");
            proxy.set(NetworkCondition::Normal);
            assert_eq!(receive_line(&mut stream).await.unwrap(), "late\n", "{condition:?}");
        }
    }

    #[tokio::test]
    async fn everything_is_held_from_a_certain_request_on() {
        let proxy = Proxy::before(echo().await).await;
        let mut stream = connect(&proxy).await;
        proxy.hold_from("second");
        send_line(&mut stream, "the first\n").await;
        assert_eq!(receive_line(&mut stream).await.unwrap(), "the first\n");
        send_line(&mut stream, "the second\n").await;
        assert!(timeout(SHORT, stream.fill_buf()).await.is_err());
        assert!(proxy.is_holding());
        proxy.set(NetworkCondition::Normal);
        assert_eq!(receive_line(&mut stream).await.unwrap(), "the second\n");
    }

    #[tokio::test]
    async fn a_cut_resets_every_connection_or_the_newest_alone() {
        let proxy = Proxy::before(echo().await).await;
        let (mut old, mut new) = (connect(&proxy).await, connect(&proxy).await);
        for stream in [&mut old, &mut new] {
            send_line(stream, "here\n").await;
            assert_eq!(receive_line(stream).await.unwrap(), "here\n");
        }
        assert!(proxy.cut_newest());
        receive_line(&mut new).await.unwrap_err();
        send_line(&mut old, "still\n").await;
        assert_eq!(receive_line(&mut old).await.unwrap(), "still\n");
        proxy.cut();
        receive_line(&mut old).await.unwrap_err();
        assert!(!proxy.cut_newest());
    }

    #[tokio::test]
    async fn a_request_for_another_protocol_is_cut_and_others_pass() {
        let proxy = Proxy::before(echo().await).await;
        proxy.set(NetworkCondition::WithoutUpgrades);
        let mut plain = connect(&proxy).await;
        send_line(&mut plain, "GET / HTTP/1.1\r\nHost: host.test\r\n").await;
        assert_eq!(receive_line(&mut plain).await.unwrap(), "GET / HTTP/1.1\r\n");
        let mut upgrade = connect(&proxy).await;
        send_line(&mut upgrade, "GET / HTTP/1.1\r\nUpgrade: websocket\r\n").await;
        receive_line(&mut upgrade).await.unwrap_err();
    }

    #[tokio::test]
    async fn a_truncated_answer_ends_early_and_a_network_that_is_down_refuses_connections() {
        let proxy = Proxy::before(echo().await).await;
        let mut stream = connect(&proxy).await;
        proxy.set(NetworkCondition::TruncateNextAnswer);
        send_line(&mut stream, "abcdefgh").await;
        let mut received = [0; 8];
        let truncated = timeout(LONG, stream.read_exact(&mut received)).await.expect("in time");
        assert!(truncated.is_err() && !received.ends_with(b"h"), "{received:?}");
        proxy.set(NetworkCondition::Down);
        let mut refused = connect(&proxy).await;
        let answer = receive_line(&mut refused).await;
        assert!(answer.is_err() || answer.is_ok_and(|line| line.is_empty()));
    }
}
