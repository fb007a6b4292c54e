//! The public listener's connections: heads arrive in time or not at all, and a stop lets requests finish.

use std::future::Future;
use std::io;
use std::pin::pin;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use crate::config::HttpConfig;

/// After an error of the listener itself, such as too many open files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Serves until `shutdown` resolves, then returns when every request that had begun is answered. Sockets and
/// event streams are the hub's to end.
pub async fn serve(listener: TcpListener, router: Router, bounds: &HttpConfig, shutdown: impl Future<Output = ()>) {
    // Every connection holds a receiver: it hears of the stop, and the stop hears of its end.
    let stop = watch::Sender::new(());
    let mut shutdown = pin!(shutdown);
    loop {
        let stream = tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    pause_after(&error).await;
                    continue;
                }
            },
            () = &mut shutdown => break,
        };
        spawn(stream, router.clone(), bounds, stop.subscribe());
    }
    drop(listener);
    stop.send_replace(());
    stop.closed().await;
}

fn spawn(stream: TcpStream, router: Router, bounds: &HttpConfig, mut stop: watch::Receiver<()>) {
    // Frames and answers are small and gathered already.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "a connection keeps its delay");
    }
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(bounds.read_timeout);
    let service = TowerToHyperService::new(router);
    let connection = builder.serve_connection(TokioIo::new(stream), service).with_upgrades();
    tokio::spawn(async move {
        let mut connection = pin!(connection);
        let ended = tokio::select! {
            ended = connection.as_mut() => ended,
            _ = stop.changed() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = ended {
            tracing::trace!(%error, "a connection ended early");
        }
        drop(stop);
    });
}

async fn pause_after(error: &io::Error) {
    let of_one_client = matches!(
        error.kind(),
        io::ErrorKind::ConnectionRefused | io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset
    );
    if !of_one_client {
        tracing::error!(%error, "cannot accept connections for the moment");
        tokio::time::sleep(ACCEPT_PAUSE).await;
    }
}
