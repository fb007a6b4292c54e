//! `GET /functions/{name}/logs`: the records of a function on this host, as one JSON value a line, and with `follow`
//! the later ones as they are made.
//!
//! A client that reads too slowly loses records and is answered how many. A stream ends when the host stops.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::body::Body;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::http::Response;
use axum::http::header::{CONTENT_TYPE, HeaderValue};
use serde::{Deserialize, Serialize};
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::time::Instant;

use super::AdminState;
use super::action_log::{Detail, Refused};
use super::functions::{Answer, JSON_LINES, problem, read_query};
use crate::runtime::deployments::ChangeRefused;
use crate::runtime::{
    CallOutcome, FOLLOWERS_MAX, FunctionLog, LineLevel, LogRecord, RecordBatch, RecordKind, revision_of,
};
use crate::server::problem::{ApiError, ErrorCode};

/// The records of an answer if the client asks for no other number, and the most that it may ask for.
const LIMIT_DEFAULT: usize = 100;
const LIMIT_MAX: usize = 1_000;
/// The most records that a stream sends at once.
const BATCH_MAX: usize = 64;
/// A stream without news sends a line this often, so that a client notices a lost connection.
const ALIVE_INTERVAL: Duration = Duration::from_secs(15);
/// When a client should try again that found no place among those who follow.
const RETRY_AFTER: Duration = Duration::from_secs(5);

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LogsQuery {
    /// Whether later records follow.
    #[serde(default)]
    follow: bool,
    /// The number of a revision, or the first letters of a digest.
    revision: Option<String>,
    /// Only what did not succeed: calls that did not end with `ok`, and lines of the level `error`.
    #[serde(default)]
    failed: bool,
    /// Only calls that ended so.
    outcome: Option<CallOutcome>,
    /// Only lines of at least this level, besides the calls.
    level: Option<LineLevel>,
    /// Only records of the last so many milliseconds.
    since_ms: Option<u64>,
    /// The most records of before.
    limit: Option<usize>,
    /// `<epoch>:<sequence>`: read on where an earlier answer ended, if the host is still the same process.
    after: Option<String>,
}

pub(super) async fn logs(
    State(state): State<Arc<AdminState>>,
    Path(name): Path<String>,
    query: Result<Query<LogsQuery>, QueryRejection>,
) -> Answer {
    let query = read_query(query)?;
    let limit = query.limit.unwrap_or(LIMIT_DEFAULT);
    if !(1..=LIMIT_MAX).contains(&limit) {
        let detail = format!("the query parameter limit is {limit}, but 1 to {LIMIT_MAX} are allowed");
        return Err(Refused(ApiError::new(ErrorCode::InvalidQuery, detail)));
    }
    let log = match (state.logs.find(&name), state.deployments.detail(&name)) {
        (Some(log), Some(_)) => log,
        _ => return Err(Refused(unknown_function(&name))),
    };
    let filter = RecordFilter::of(&state, &name, &query)?;
    let permit = if query.follow { Some(follower(&state)?) } else { None };
    let begin = query.after.as_deref().and_then(|after| position(&state, after));
    let grown = log.grown();
    let batch = match begin {
        Some(begin) => log.after(begin, LIMIT_MAX),
        None => log.newest(limit, |record| filter.accepts(record)),
    };
    // A client that loses the connection here reads on before the first record, not after the last.
    let position = begin.unwrap_or_else(|| batch.records.first().map_or(batch.next, |record| record.sequence));
    let stream = LogStream { state, name, log, filter, next: batch.next, grown, sent_at: Instant::now(), ended: false };
    let first = format!("{}{}", stream.head(position), stream.lines(&batch));
    let mut response = match permit {
        Some(permit) => Response::new(follow(stream, first, permit)),
        None => Response::new(Body::from(first)),
    };
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(JSON_LINES));
    let what = if query.follow { "follows the log" } else { "read the log" };
    response.extensions_mut().insert(Detail(what.to_owned()));
    Ok(response)
}

fn unknown_function(name: &str) -> ApiError {
    let detail = format!("this host has no function {name}; `roost functions` lists what serves");
    super::functions::with_code(404, "function_not_found", "There is no such function", detail)
}

fn follower(state: &AdminState) -> Result<OwnedSemaphorePermit, Refused> {
    state.logs.follower().ok_or_else(|| {
        let detail =
            format!("{FOLLOWERS_MAX} clients follow logs of this host, which is the most; end one, or try again");
        Refused(ApiError::new(ErrorCode::TooManyRequests, detail).after(RETRY_AFTER))
    })
}

/// Where to read on; `None` if the position is of another process, or is no position.
fn position(state: &AdminState, after: &str) -> Option<u64> {
    let (epoch, next) = after.split_once(':')?;
    if epoch == state.logs.epoch() { next.parse().ok() } else { None }
}

/// Which records a client asked for.
#[derive(Debug, Default)]
struct RecordFilter {
    /// The first letters of the digest.
    digest: Option<String>,
    failed: bool,
    outcome: Option<CallOutcome>,
    level: Option<LineLevel>,
    since_ms: u64,
}

impl RecordFilter {
    fn of(state: &AdminState, name: &str, query: &LogsQuery) -> Result<Self, Refused> {
        let digest = query.revision.as_deref().map(|revision| digest(state, name, revision)).transpose()?;
        let now = state.world.store.now();
        Ok(Self {
            digest,
            failed: query.failed,
            outcome: query.outcome,
            level: query.level,
            since_ms: query.since_ms.map_or(0, |span_ms| now.minus(span_ms).0),
        })
    }

    fn accepts(&self, record: &LogRecord) -> bool {
        let fits = match &record.kind {
            RecordKind::Call(call) => {
                self.outcome.is_none_or(|outcome| outcome == call.outcome)
                    && !(self.failed && call.outcome == CallOutcome::Ok)
            }
            RecordKind::Line(line) => {
                self.outcome.is_none()
                    && self.level.is_none_or(|level| line.level >= level)
                    && !(self.failed && line.level < LineLevel::Error)
            }
        };
        let is_of_revision = self.digest.as_deref().is_none_or(|digest| record.digest.starts_with(digest));
        fits && is_of_revision && record.at.0 >= self.since_ms
    }
}

/// The first letters of the digest of a revision, which is given as its number or as such letters.
fn digest(state: &AdminState, name: &str, revision: &str) -> Result<String, Refused> {
    const LETTERS: std::ops::RangeInclusive<usize> = 6..=64;
    let revisions = state.deployments.revision_digests(name);
    if let Some(number) = revision.parse::<u64>().ok().filter(|_| revision.len() < *LETTERS.start()) {
        let found = revisions.iter().find(|(kept, _)| *kept == number);
        return found.map(|(_, digest)| revision_of(digest)).ok_or_else(|| {
            let kept = revisions.iter().map(|(kept, _)| kept.to_string()).collect::<Vec<_>>().join(", ");
            let function = name.to_owned();
            problem(&ChangeRefused::UnknownRevision { function, revision: number, kept }.into())
        });
    }
    if LETTERS.contains(&revision.len()) && revision.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) {
        return Ok(revision_of(revision));
    }
    let detail = format!(
        "the query parameter revision is {revision:?}; send the number of a revision, or the first 6 to 64 letters of a digest"
    );
    Err(Refused(ApiError::new(ErrorCode::InvalidQuery, detail)))
}

/// The records of a function as lines.
struct LogStream {
    state: Arc<AdminState>,
    name: String,
    log: Arc<FunctionLog>,
    filter: RecordFilter,
    next: u64,
    grown: watch::Receiver<u64>,
    sent_at: Instant,
    ended: bool,
}

/// A line that is no record.
#[derive(Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
enum StreamLine<'l> {
    /// The first line: whose records follow.
    Log { host: &'l str, cluster: bool, function: &'l str, epoch: &'l str, next: u64 },
    /// So many records were displaced before they could be sent.
    Lost { records: u64 },
    /// There is nothing new.
    Alive { next: u64 },
    /// The last line.
    End { reason: &'l str },
}

/// A record with the number of its revision; `None` if it is the component of the folder, or is not kept any more.
#[derive(Serialize)]
struct NumberedRecord<'r> {
    revision: Option<u64>,
    #[serde(flatten)]
    record: &'r LogRecord,
}

fn line(value: &impl Serialize) -> String {
    // Texts and numbers can always be encoded.
    let mut line = serde_json::to_string(value).unwrap_or_default();
    line.push('\n');
    line
}

impl LogStream {
    fn head(&self, next: u64) -> String {
        let (host, cluster) = (self.state.deployments.host(), self.state.deployments.is_cluster());
        let (function, epoch) = (self.name.as_str(), self.state.logs.epoch());
        line(&StreamLine::Log { host, cluster, function, epoch, next })
    }

    /// The lines of a batch.
    fn lines(&self, batch: &RecordBatch) -> String {
        let mut text = String::new();
        if batch.lost > 0 {
            text.push_str(&line(&StreamLine::Lost { records: batch.lost }));
        }
        let mut accepted = batch.records.iter().filter(|record| self.filter.accepts(record)).peekable();
        if accepted.peek().is_none() {
            return text;
        }
        let revisions = self.state.deployments.revision_digests(&self.name);
        for record in accepted {
            let newest = revisions.iter().rev().find(|(_, digest)| digest.starts_with(&*record.digest));
            text.push_str(&line(&NumberedRecord { revision: newest.map(|(number, _)| *number), record }));
        }
        text
    }

    /// What is sent next; `None` if the stream has ended.
    async fn chunk(&mut self) -> Option<String> {
        while !self.ended {
            if self.state.draining.load(Ordering::Acquire) {
                self.ended = true;
                return Some(line(&StreamLine::End { reason: "the host is stopping" }));
            }
            let batch = self.log.after(self.next, BATCH_MAX);
            self.next = batch.next;
            let text = self.lines(&batch);
            if !text.is_empty() {
                self.sent_at = Instant::now();
                return Some(text);
            }
            if !batch.records.is_empty() {
                // None of them was asked for; there may be many more.
                tokio::task::yield_now().await;
                continue;
            }
            if self.sent_at.elapsed() >= ALIVE_INTERVAL {
                self.sent_at = Instant::now();
                return Some(line(&StreamLine::Alive { next: self.next }));
            }
            // A stop of the host wakes it, too.
            let silence = ALIVE_INTERVAL.saturating_sub(self.sent_at.elapsed());
            let _ = tokio::time::timeout(silence, self.grown.changed()).await;
        }
        None
    }
}

/// The first text, and then whatever the stream has. The place among those who follow is given back with the body.
fn follow(stream: LogStream, first: String, permit: OwnedSemaphorePermit) -> Body {
    let begun = (Some(first), stream, permit);
    let chunks = futures_util::stream::unfold(begun, async |(first, mut stream, permit)| {
        let text = match first {
            Some(first) => first,
            None => stream.chunk().await?,
        };
        Some((Ok::<String, Infallible>(text), (None, stream, permit)))
    });
    Body::from_stream(chunks)
}

#[cfg(test)]
mod tests;
