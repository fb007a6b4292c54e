//! The upload of a component: read as it arrives, within bounds of size, time and number. What is known to be none is
//! not kept.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use http_body_util::BodyExt;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::timeout;

use super::{AdminState, UPLOADS_MAX};
use crate::runtime::{COMPONENT_BYTES_MAX, DeployFailure, check_kind};
use crate::server::problem::{ApiError, ErrorCode};

/// How long an upload may take.
const UPLOAD_TIMEOUT: Duration = Duration::from_secs(120);
/// When an upload may be tried again that was refused because there were too many.
const RETRY_AFTER: Duration = Duration::from_secs(2);
/// How much of a refused upload is read before it is answered.
const DISCARDED_BYTES_MAX: usize = 2 * COMPONENT_BYTES_MAX;
/// The first bytes of a file say whether it is a component.
const HEADER_BYTES: usize = 8;

/// Why an upload has no component.
pub(super) enum UploadRefused {
    /// The request itself was refused.
    Request(ApiError),
    /// What was sent is no component that can be deployed.
    Component(DeployFailure),
}

/// Reads a component from the body of a request.
///
/// The permit counts the upload until its deployment has ended.
pub(super) async fn read(state: &AdminState, body: Body) -> Result<(Vec<u8>, OwnedSemaphorePermit), UploadRefused> {
    let permit = Arc::clone(&state.uploads).try_acquire_owned().map_err(|_| {
        let detail = format!("{UPLOADS_MAX} components are uploaded at the moment, which is the most; try again");
        UploadRefused::Request(ApiError::new(ErrorCode::TooManyRequests, detail).after(RETRY_AFTER))
    })?;
    match timeout(UPLOAD_TIMEOUT, read_body(body)).await {
        Ok(bytes) => Ok((bytes?, permit)),
        Err(_) => {
            let detail = format!("the component did not arrive within {} s; send it again", UPLOAD_TIMEOUT.as_secs());
            Err(UploadRefused::Request(ApiError::new(ErrorCode::ReadTimeout, detail)))
        }
    }
}

/// Reads the whole body. What is known to be refused is read on and thrown away, because a client that is still sending
/// does not read an answer.
async fn read_body(mut body: Body) -> Result<Vec<u8>, UploadRefused> {
    let read = read_component(&mut body).await;
    if read.is_err() {
        let mut discarded = 0;
        while discarded < DISCARDED_BYTES_MAX
            && let Some(Ok(frame)) = body.frame().await
        {
            discarded += frame.data_ref().map_or(0, |data| data.len());
        }
    }
    read
}

async fn read_component(body: &mut Body) -> Result<Vec<u8>, UploadRefused> {
    let mut bytes = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| {
            let detail = format!("the component did not arrive as a whole: {error}; send it again");
            UploadRefused::Request(ApiError::new(ErrorCode::InvalidBody, detail))
        })?;
        let Ok(data) = frame.into_data() else { continue };
        let was_checked = bytes.len() >= HEADER_BYTES;
        bytes.extend_from_slice(&data);
        if bytes.len() > COMPONENT_BYTES_MAX {
            return Err(UploadRefused::Component(DeployFailure::TooLarge(bytes.len())));
        }
        if !was_checked && bytes.len() >= HEADER_BYTES {
            check_kind(&bytes).map_err(UploadRefused::Component)?;
        }
    }
    check_kind(&bytes).map_err(UploadRefused::Component)?;
    Ok(bytes)
}
