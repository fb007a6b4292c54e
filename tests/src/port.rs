//! Ports of the loopback interface that no other test takes meanwhile.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU32, Ordering};

use tokio::net::TcpSocket;

/// Below the range of ephemeral ports, so that a server that was stopped can use its old port again.
const PORTS: std::ops::Range<u32> = 12_000..32_000;

/// A port that is free at the moment. Different test processes start at different ports.
pub(crate) fn free_port() -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    loop {
        let step = NEXT.fetch_add(1, Ordering::Relaxed) + std::process::id() * 61;
        let port = (PORTS.start + step % (PORTS.end - PORTS.start)) as u16;
        if std::net::TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// A port that refuses connections until the socket listens, and that nobody else can take as long as the socket
/// exists.
///
/// # Panics
/// If the system has no free port.
pub fn closed_port() -> (TcpSocket, SocketAddr) {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.bind((Ipv4Addr::LOCALHOST, 0).into()).expect("a free port");
    let address = socket.local_addr().expect("its number");
    (socket, address)
}
