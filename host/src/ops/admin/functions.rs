//! The routes of functions: what serves, and the changes of deployments. Every change goes on to its end even if
//! whoever asked for it hangs up, because a part of a change is worse than either all or nothing of it.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::http::Response;
use axum::http::header::{CONTENT_TYPE, HeaderValue};
use axum::routing::{get, post, put};
use bytes::Bytes;
use futures_util::StreamExt;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};

use super::action_log::{Detail, EndsLater, LateOutcome, Refused};
use super::upload::{self, UploadRefused};
use super::{AdminState, json, logs};
use crate::runtime::deployments::{
    ChangeRefused, DeployRequest, DeploymentError, DeploymentOutcome, Deployments, FunctionStatus, HostReport, Probe,
    Stage,
};
use crate::runtime::{Allowance, DeployError, DeployFailure, revision_of};
use crate::server::problem::{ApiError, ErrorCode};

/// What errors call a component that was uploaded without a name.
const UNNAMED: &str = "the component";
/// The media type of answers that report progress: one JSON value a line.
pub(super) const JSON_LINES: &str = "application/jsonl";

pub(super) type Answer = Result<Response<Body>, Refused>;

/// The routes of functions.
pub(super) fn router() -> Router<Arc<AdminState>> {
    Router::new()
        .route("/functions", get(list).post(deploy))
        .route("/functions/{name}", get(detail).delete(undeploy))
        .route("/functions/{name}/rollback", post(roll_back))
        .route("/functions/{name}/canary", put(set_canary))
        .route("/functions/{name}/promote", post(promote))
        .route("/functions/{name}/logs", get(logs::logs))
        .route("/reload", post(reload))
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct ListQuery {
    #[serde(default)]
    cluster: bool,
}

async fn list(State(state): State<Arc<AdminState>>, query: Result<Query<ListQuery>, QueryRejection>) -> Answer {
    #[derive(Serialize)]
    struct FunctionList {
        functions: Vec<FunctionStatus>,
        #[serde(skip_serializing_if = "Option::is_none")]
        hosts: Option<Vec<HostReport>>,
    }
    let hosts = if read_query(query)?.cluster { Some(state.deployments.hosts().await) } else { None };
    Ok(json(200, &FunctionList { functions: state.deployments.list(), hosts }))
}

async fn detail(
    State(state): State<Arc<AdminState>>,
    Path(name): Path<String>,
    query: Result<Query<ListQuery>, QueryRejection>,
) -> Answer {
    let with_hosts = read_query(query)?.cluster;
    let Some(mut detail) = state.deployments.detail(&name) else {
        return Err(problem(&ChangeRefused::UnknownFunction(name).into()));
    };
    if with_hosts {
        detail.hosts = Some(state.deployments.hosts().await);
    }
    Ok(json(200, &detail))
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct DeployQuery {
    /// The share of the users that the canary serves, in percent.
    canary: Option<u8>,
    #[serde(default)]
    allow_removals: bool,
    /// Grants that the function is allowed besides those of the configuration, such as `read.app,publish`.
    #[serde(default)]
    allow_grants: String,
    /// A [`Probe`] as JSON.
    probe: Option<String>,
    /// The name of the file, for errors.
    source: Option<String>,
    /// Whether each step is reported as it ends.
    #[serde(default)]
    progress: bool,
}

async fn deploy(
    State(state): State<Arc<AdminState>>,
    query: Result<Query<DeployQuery>, QueryRejection>,
    body: Body,
) -> Answer {
    let query = read_query(query)?;
    let probe = query.probe.as_deref().map(parse_probe).transpose()?;
    let allowed = Allowance::parse(&query.allow_grants).map_err(|unknown| {
        Refused(ApiError::new(ErrorCode::InvalidQuery, format!("the query parameter allow_grants: {unknown}")))
    })?;
    let source = query.source.unwrap_or_else(|| UNNAMED.to_owned());
    let (bytes, permit) = upload::read(&state, body).await.map_err(|refused| match refused {
        UploadRefused::Request(error) => Refused(error),
        UploadRefused::Component(failure) => problem(&DeployError { source_name: source.clone(), failure }.into()),
    })?;
    let request = DeployRequest {
        source,
        bytes,
        canary: query.canary,
        allow_removals: query.allow_removals,
        allow_grants: (allowed, query.allow_grants),
        probe,
    };
    if query.progress {
        return Ok(deploy_with_progress(state.deployments.clone(), request, permit));
    }
    let deployments = state.deployments.clone();
    let changing = async move {
        let _permit = permit;
        deployments.deploy(request, &|_| {}).await
    };
    changed(uninterrupted(changing).await)
}

fn parse_probe(text: &str) -> Result<Probe, Refused> {
    serde_json::from_str(text).map_err(|error| {
        let example =
            r#"{"method": "GET", "path": "/v1/unread", "user": "6f1c1fd4-3c5b-4a8e-9d1a-0c6a2f1b7e55", "status": 200}"#;
        let detail = format!("the query parameter probe cannot be read: {error}; send an object such as {example}");
        Refused(ApiError::new(ErrorCode::InvalidQuery, detail))
    })
}

/// Answers each step as it ends, and then the outcome or the problem, one JSON value a line.
fn deploy_with_progress(
    deployments: Deployments,
    request: DeployRequest,
    permit: OwnedSemaphorePermit,
) -> Response<Body> {
    #[derive(Serialize)]
    #[serde(rename_all = "snake_case")]
    enum Line<'l> {
        Stage(&'static str),
        Outcome(&'l DeploymentOutcome),
        Error(&'l serde_json::value::RawValue),
    }
    fn text(line: &Line<'_>) -> String {
        let mut text = serde_json::to_string(line).unwrap_or_default();
        text.push('\n');
        text
    }
    let (sender, receiver) = mpsc::unbounded_channel();
    let (ending, ended) = oneshot::channel();
    tokio::spawn(async move {
        let progress = sender.clone();
        // Whoever asked may have hung up, and the deployment goes on.
        let tell = move |stage: Stage| drop(progress.send(text(&Line::Stage(stage.as_str()))));
        let deployed = deployments.deploy(request, &tell).await;
        drop(permit);
        // The request may no longer be there to be logged.
        let _ = ending.send(match &deployed {
            Ok(outcome) => LateOutcome { code: "ok".into(), detail: Some(serves(outcome)) },
            Err(error) => LateOutcome { code: api_error(error).code, detail: None },
        });
        let last = match deployed {
            Ok(outcome) => text(&Line::Outcome(&outcome)),
            Err(error) => {
                let document = api_error(&error).problem("");
                let document = serde_json::value::RawValue::from_string(document);
                document.map_or_else(|_| String::new(), |document| text(&Line::Error(&document)))
            }
        };
        drop(sender.send(last));
    });
    let lines = futures_util::stream::unfold(receiver, async |mut lines| Some((lines.recv().await?, lines)));
    let mut response = Response::new(Body::from_stream(lines.map(Ok::<String, std::convert::Infallible>)));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(JSON_LINES));
    response.extensions_mut().insert(EndsLater::new(ended));
    response
}

/// What a change led to, for the log of actions.
fn serves(outcome: &DeploymentOutcome) -> String {
    let digest = outcome.digest.as_deref().map_or_else(|| "none".to_owned(), revision_of);
    let revision = outcome.revision.map_or_else(|| "file".to_owned(), |revision| revision.to_string());
    format!("{} serves revision {revision}, {digest}", outcome.name)
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct RollBackBody {
    revision: Option<u64>,
}

async fn roll_back(State(state): State<Arc<AdminState>>, Path(name): Path<String>, body: Bytes) -> Answer {
    let body: RollBackBody = read_body(&body, r#"{"revision": 3}, or nothing for the revision before"#)?;
    let deployments = state.deployments.clone();
    changed(uninterrupted(async move { deployments.roll_back(&name, body.revision).await }).await)
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct CanaryBody {
    percent: u8,
}

/// The parameters of changes that may take something away from users.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct RemovalsQuery {
    #[serde(default)]
    allow_removals: bool,
}

async fn set_canary(
    State(state): State<Arc<AdminState>>,
    Path(name): Path<String>,
    query: Result<Query<RemovalsQuery>, QueryRejection>,
    body: Bytes,
) -> Answer {
    let allow_removals = read_query(query)?.allow_removals;
    let CanaryBody { percent } = read_body(&body, r#"{"percent": 25}"#)?;
    let deployments = state.deployments.clone();
    changed(uninterrupted(async move { deployments.set_canary(&name, percent, allow_removals).await }).await)
}

async fn promote(
    State(state): State<Arc<AdminState>>,
    Path(name): Path<String>,
    query: Result<Query<RemovalsQuery>, QueryRejection>,
) -> Answer {
    let allow_removals = read_query(query)?.allow_removals;
    let deployments = state.deployments.clone();
    changed(uninterrupted(async move { deployments.promote(&name, allow_removals).await }).await)
}

async fn undeploy(
    State(state): State<Arc<AdminState>>,
    Path(name): Path<String>,
    query: Result<Query<RemovalsQuery>, QueryRejection>,
) -> Answer {
    let allow_removals = read_query(query)?.allow_removals;
    let deployments = state.deployments.clone();
    changed(uninterrupted(async move { deployments.undeploy(&name, allow_removals).await }).await)
}

async fn reload(State(state): State<Arc<AdminState>>) -> Answer {
    let deployments = state.deployments.clone();
    let reloaded = tokio::spawn(async move { deployments.reload().await }).await;
    match reloaded {
        Ok(Ok(change)) => Ok(json(200, &change)),
        Ok(Err(errors)) => Err(reload_refused(&errors)),
        Err(_) => Err(Refused(ErrorCode::Internal.into())),
    }
}

/// One sentence for each component that was refused; the code is that of the first one.
fn reload_refused(errors: &[DeployError]) -> Refused {
    let detail = errors.iter().map(DeployError::to_string).collect::<Vec<_>>().join("; ");
    let code = errors.first().map_or("unreadable", |error| error.failure.code());
    Refused(with_code(422, code, "The folder was not read again", detail))
}

/// Runs a change to its end, also when the request is dropped meanwhile.
async fn uninterrupted(
    change: impl Future<Output = Result<DeploymentOutcome, DeploymentError>> + Send + 'static,
) -> Result<DeploymentOutcome, Refused> {
    match tokio::spawn(change).await {
        Ok(Ok(outcome)) => Ok(outcome),
        Ok(Err(error)) => Err(problem(&error)),
        Err(_) => Err(Refused(ErrorCode::Internal.into())),
    }
}

fn changed(outcome: Result<DeploymentOutcome, Refused>) -> Answer {
    let outcome = outcome?;
    let mut response = json(200, &outcome);
    response.extensions_mut().insert(Detail(serves(&outcome)));
    Ok(response)
}

pub(super) fn read_query<T>(query: Result<Query<T>, QueryRejection>) -> Result<T, Refused> {
    let Query(query) = query.map_err(|error| {
        let detail =
            format!("the query cannot be read: {}; docs/deployments.md lists the parameters", error.body_text());
        Refused(ApiError::new(ErrorCode::InvalidQuery, detail))
    })?;
    Ok(query)
}

/// Reads a body; an empty one is an empty object.
fn read_body<T: DeserializeOwned>(body: &Bytes, example: &str) -> Result<T, Refused> {
    let text: &[u8] = if body.is_empty() { b"{}" } else { body };
    serde_json::from_slice(text).map_err(|error| {
        let detail = format!("the body cannot be read: {error}; send {example}");
        Refused(ApiError::new(ErrorCode::InvalidBody, detail))
    })
}

pub(super) fn problem(error: &DeploymentError) -> Refused {
    Refused(api_error(error))
}

fn api_error(error: &DeploymentError) -> ApiError {
    let detail = error.to_string();
    match error {
        DeploymentError::Component(DeployError { failure: DeployFailure::TooLarge(_), .. }) => {
            with_code(413, "too_large", "The component is too large", detail)
        }
        DeploymentError::Component(refused) => {
            with_code(422, refused.failure.code(), "The component is refused", detail)
        }
        DeploymentError::RemovalsRefused(_) => {
            with_code(422, "removals_refused", "The new version removes something", detail)
        }
        DeploymentError::Probe(_) => with_code(422, "probe_failed", "The probe failed", detail),
        DeploymentError::Change(refused) => match refused {
            ChangeRefused::UnknownFunction(_) => {
                with_code(404, "function_not_found", "There is no such function", detail)
            }
            ChangeRefused::UnknownRevision { .. } | ChangeRefused::NoEarlierRevision(_) => {
                with_code(404, "revision_not_found", "There is no such revision", detail)
            }
            ChangeRefused::NoCanary(_) => with_code(409, "no_canary", "There is no canary", detail),
            ChangeRefused::PercentOutOfBounds(_) => {
                with_code(400, "percent_out_of_bounds", "The share is out of bounds", detail)
            }
            ChangeRefused::TooManyFunctions => {
                with_code(409, "too_many_functions", "There are too many functions", detail)
            }
        },
        DeploymentError::Superseded(_) => with_code(409, "superseded", "Another deployment was faster", detail),
        DeploymentError::StoreUnavailable(_) => {
            ApiError { retry: true, ..with_code(503, "store_unavailable", "The store does not answer", detail) }
        }
        DeploymentError::Disk(_) => with_code(507, "disk", "The data directory cannot be written", detail),
        DeploymentError::NoRoom { .. } => with_code(507, "no_room", "There is no room for the component", detail),
        DeploymentError::ComponentMissing { .. } => {
            with_code(409, "component_missing", "The component is missing", detail)
        }
    }
}

pub(super) fn with_code(status: u16, code: &'static str, title: &'static str, detail: String) -> ApiError {
    let problem = ApiError::new(ErrorCode::Internal, detail);
    ApiError { status, code: code.into(), title, retry: false, ..problem }
}
