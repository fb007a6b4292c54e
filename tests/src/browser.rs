//! A page in headless Chromium, and the site that it comes from. The page posts what it finds to its site, and the test
//! waits for that: no driver of browsers is needed.

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use serde::Deserialize;
use serde_json::Value;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::process::{Child, Command};
use tokio::sync::{Mutex, mpsc};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::eventually::DEADLINE;

/// The path to which pages post their reports, `{"name":…,"data":…}`.
const REPORT: &str = "/report";
/// The report of a page that failed.
const FAILURE: &str = "failure";
/// How many reports may wait for the test.
const REPORTS_MAX: usize = 1_024;

/// What every page may use: `query` has the parameters of its address, and `report` sends a report. Reports arrive in
/// order. An error that the page does not handle is reported as well.
const PRELUDE: &str = r#"
const query = new URLSearchParams(location.search);
let reported = Promise.resolve();
const report = (name, data = null) => {
    const body = JSON.stringify({ name, data });
    reported = reported.then(() => fetch("/report", { method: "POST", body }));
    return reported;
};
addEventListener("error", (event) => report("failure", String(event.message)));
addEventListener("unhandledrejection", (event) => report("failure", String(event.reason?.stack ?? event.reason)));
"#;

/// A file of a site.
#[derive(Clone, Debug)]
struct SiteFile {
    media_type: &'static str,
    text: String,
}

/// A site on a free port of loopback, which is an origin of its own.
pub struct Site {
    address: SocketAddr,
    reports: Mutex<mpsc::Receiver<Report>>,
    serving: JoinHandle<()>,
}

#[derive(Debug, Deserialize)]
struct Report {
    name: String,
    #[serde(default)]
    data: Value,
}

struct Shared {
    files: BTreeMap<String, SiteFile>,
    reports: mpsc::Sender<Report>,
}

impl Site {
    /// Serves one page at `/`, with this script as a module.
    pub async fn with_script(script: &str) -> Self {
        Self::serve(vec![("/", "text/html", page(script))]).await
    }

    /// Serves files: path, media type and text.
    pub async fn serve(files: Vec<(&str, &'static str, String)>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let (sender, reports) = mpsc::channel(REPORTS_MAX);
        let files = files.into_iter().map(|(path, media_type, text)| (path.to_owned(), SiteFile { media_type, text }));
        let shared = Arc::new(Shared { files: files.collect(), reports: sender });
        let router = Router::new().route(REPORT, post(receive)).fallback(file).with_state(shared);
        let serving = tokio::spawn(async move { axum::serve(listener, router).await.expect("it serves") });
        Self { address, reports: Mutex::new(reports), serving }
    }

    /// The origin of the site, as an operator lists it in `allowed_origins`.
    pub fn origin(&self) -> String {
        format!("http://{}", self.address)
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

/// A page with this script, which may use `query` and `report`.
pub fn page(script: &str) -> String {
    format!(
        "<!doctype html><meta charset=\"utf-8\"><title>test</title><script type=\"module\">{PRELUDE}{script}</script>"
    )
}

async fn file(State(shared): State<Arc<Shared>>, uri: Uri) -> Response {
    match shared.files.get(uri.path()) {
        Some(file) => ([(header::CONTENT_TYPE, file.media_type)], file.text.clone()).into_response(),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

async fn receive(State(shared): State<Arc<Shared>>, body: Bytes) -> StatusCode {
    match serde_json::from_slice(&body).map(|report| shared.reports.try_send(report)) {
        Ok(Ok(())) => StatusCode::NO_CONTENT,
        _ => StatusCode::BAD_REQUEST,
    }
}

/// A running Chromium with one page. It is killed when the value is dropped.
pub struct Browser<'a> {
    site: &'a Site,
    /// Reports that arrived while the test waited for another one.
    pending: Vec<Report>,
    _chromium: Child,
    folder: TempDir,
}

impl<'a> Browser<'a> {
    /// Opens the page at this path of the site. The path may have a query.
    pub fn open(site: &'a Site, path: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let log = fs::File::create(folder.path().join("log")).expect("a log file");
        let mut command = Command::new("chromium");
        command.args([
            "--headless=new",
            "--remote-debugging-port=0",
            "--no-first-run",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-extensions",
            "--disable-sync",
            "--no-proxy-server",
        ]);
        // Chromium has no sandbox for root.
        if fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0) {
            command.arg("--no-sandbox");
        }
        command.arg(format!("--user-data-dir={}", folder.path().join("profile").display()));
        command.arg(format!("{}{path}", site.origin()));
        command.env("HOME", folder.path()).current_dir(folder.path());
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).kill_on_drop(true);
        let chromium = command.spawn().expect("Chromium is installed; tests/run does that");
        Self { site, pending: Vec::new(), _chromium: chromium, folder }
    }

    /// The data of the next report with this name; reports with other names are kept.
    ///
    /// # Panics
    /// If the page failed, or does not report in time.
    pub async fn report(&mut self, name: &str) -> Value {
        if let Some(index) = self.pending.iter().position(|report| report.name == name) {
            return self.pending.remove(index).data;
        }
        let mut reports = self.site.reports.lock().await;
        loop {
            // On a busy machine, Chromium takes long to start.
            let report = timeout(3 * DEADLINE, reports.recv()).await.ok().flatten().unwrap_or_else(|| {
                panic!("no report {name}; before: {:?}; log:\n{}", self.pending, log_of(self.folder.path()))
            });
            assert_ne!(report.name, FAILURE, "waiting for {name}: the page failed: {}", report.data);
            if report.name == name {
                return report.data;
            }
            self.pending.push(report);
        }
    }

    /// The names of the reports that arrived while the test waited for others.
    pub fn pending(&self) -> Vec<&str> {
        self.pending.iter().map(|report| report.name.as_str()).collect()
    }
}

fn log_of(folder: &Path) -> String {
    fs::read_to_string(folder.join("log")).unwrap_or_default()
}
