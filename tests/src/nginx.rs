//! nginx with the sample configuration of `docs/deploy` in front of a host, from Debian's package, on a free loopback
//! port and with all its files in a folder of its own. It is one process of the test's user, and it is stopped when the
//! value is dropped, or when the test process ends in any way.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use tempfile::TempDir;
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use crate::certificate::SelfSigned;
use crate::eventually::{DEADLINE, retry_until_ok};
use crate::guardian::GuardedServer;
use crate::port::{closed_port, free_port};

/// What surrounds the sample. Without a master there is no other process, and none of another user.
const SURROUNDINGS: &str = "daemon off;
master_process off;
pid FOLDER/pid;
error_log FOLDER/main.log info;
events { worker_connections 64; }
http {
    client_body_temp_path FOLDER/bodies;
    proxy_temp_path FOLDER/proxied;
    fastcgi_temp_path FOLDER/fastcgi;
    uwsgi_temp_path FOLDER/uwsgi;
    scgi_temp_path FOLDER/scgi;
    include FOLDER/sample.conf;
}
";

/// A running nginx.
pub struct Nginx {
    /// The address that serves TLS.
    pub address: SocketAddr,
    tls: TlsConnector,
    /// The address of the second host of the sample, which refuses connections as long as this exists.
    _stopped_host: TcpSocket,
    /// It stands before the folder, which is removed after it has ended.
    _server: GuardedServer,
    folder: TempDir,
}

impl Nginx {
    /// Starts nginx with this text of the sample in front of two hosts: this one, and one that is stopped.
    ///
    /// # Panics
    /// If the sample lacks what is replaced in it, or nginx does not start.
    pub async fn start(sample: &str, host: SocketAddr) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let certificate = SelfSigned::write(folder.path(), "certificate").der;
        let (stopped_host, stopped) = closed_port();
        // Another process can take a free port before nginx does.
        for _ in 0..5 {
            let address = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
            write_settings(sample, folder.path(), address, [host, stopped]);
            let mut server = run(folder.path());
            if serves(folder.path(), &mut server).await {
                let tls = connector(certificate);
                return Self { address, tls, _stopped_host: stopped_host, _server: server, folder };
            }
        }
        panic!("nginx does not start:\n{}", logs(folder.path()));
    }

    /// Opens a TLS connection.
    pub async fn connect(&self) -> TlsStream<TcpStream> {
        let stream = TcpStream::connect(self.address).await.expect("nginx accepts");
        let name = ServerName::try_from("127.0.0.1").expect("a name");
        timeout(DEADLINE, self.tls.connect(name, stream)).await.expect("in time").expect("a TLS connection")
    }

    /// The text of all logs.
    pub fn logs(&self) -> String {
        logs(self.folder.path())
    }
}

/// Only addresses, the certificate and the places of logs are other than in the sample.
fn write_settings(sample: &str, folder: &Path, address: SocketAddr, [first, second]: [SocketAddr; 2]) {
    let place = folder.display().to_string();
    let replaced = [
        ("server 10.0.0.11:8080", format!("server {first}")),
        ("server 10.0.0.12:8080", format!("server {second}")),
        ("listen 443 ssl", format!("listen {address} ssl")),
        ("/etc/nginx/chat.example.com", format!("{place}/certificate")),
        ("/var/log/nginx", place.clone()),
    ];
    let adapted = replaced.into_iter().fold(sample.to_owned(), |text, (from, to)| {
        assert!(text.contains(from), "the sample lacks {from}");
        text.replace(from, &to)
    });
    fs::write(folder.join("sample.conf"), adapted).expect("the sample is written");
    fs::write(folder.join("nginx.conf"), SURROUNDINGS.replace("FOLDER", &place)).expect("its settings are written");
}

fn run(folder: &Path) -> GuardedServer {
    let mut nginx = Command::new(program());
    nginx.arg("-p").arg(folder).arg("-c").arg(folder.join("nginx.conf")).arg("-e").arg(folder.join("start.log"));
    GuardedServer::start(&nginx, None, &folder.join("guardian.log"))
}

/// Waits until nginx has written its process id, which it does after it listens; `false` if it has ended.
async fn serves(folder: &Path, server: &mut GuardedServer) -> bool {
    let served = retry_until_ok(DEADLINE, async || {
        let has_ended = server.has_ended();
        let is_serving = fs::read_to_string(folder.join("pid")).is_ok_and(|id| !id.trim().is_empty());
        if has_ended || is_serving { Ok(!has_ended) } else { Err(()) }
    });
    served.await.unwrap_or(false)
}

fn connector(certificate: CertificateDer<'static>) -> TlsConnector {
    let mut roots = RootCertStore::empty();
    roots.add(certificate).expect("a certificate");
    let versions = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions of TLS");
    TlsConnector::from(Arc::new(versions.with_root_certificates(roots).with_no_client_auth()))
}

fn logs(folder: &Path) -> String {
    let files = fs::read_dir(folder).expect("the folder can be read").filter_map(Result::ok);
    let logs = files.map(|file| file.path()).filter(|path| path.extension().is_some_and(|name| name == "log"));
    logs.map(|path| String::from_utf8_lossy(&fs::read(path).unwrap_or_default()).into_owned()).collect()
}

fn program() -> PathBuf {
    let found = ["/usr/sbin/nginx", "/usr/bin/nginx"].into_iter().map(PathBuf::from).find(|path| path.exists());
    found.expect("no nginx: `tests/run` installs it (Debian's package `nginx`)")
}
