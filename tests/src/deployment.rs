//! Deploys versions of the guest `lifecycle` over the admin listener.

use std::fs;
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;
use uuid::Uuid;

use crate::client::Client;
use crate::server::Server;
use crate::{components, guests};

/// A version of the guest `lifecycle`.
///
/// # Panics
/// If the guests are not built.
pub fn version(version: &str, behaviour: &str) -> Vec<u8> {
    let mut component = fs::read(guests().join("lifecycle.wasm")).expect("`tests/run` builds the guests");
    replace(&mut component, "lifecycle-version:", version);
    replace(&mut component, "lifecycle-behaviour:", behaviour);
    component
}

/// Replaces the text after a marker, within the 32 bytes that the guest has for both.
fn replace(component: &mut [u8], marker: &str, text: &str) {
    let place = format!("{:<32}", format!("{marker}{text}"));
    let at = component.windows(marker.len()).position(|window| window == marker.as_bytes()).expect("the marker");
    component[at..at + place.len()].copy_from_slice(place.as_bytes());
}

/// The same function with different bytes: one more custom section with this stamp, of at most 100 bytes.
///
/// # Panics
/// If the stamp is longer.
pub fn stamped(component: &[u8], stamp: &[u8]) -> Vec<u8> {
    const NAME: &[u8] = b"\x05stamp";
    let length = NAME.len() + stamp.len();
    // A length below 128 is one byte in the binary format.
    assert!(length < 128, "the stamp is too long");
    [component, &[0, length as u8], NAME, stamp].concat()
}

/// How long a deployment may take: a large component on a machine with other work takes its time.
pub const DEPLOYED_WITHIN: Duration = Duration::from_secs(300);

/// The status and the JSON of a request to the admin listener.
///
/// # Panics
/// If there is no answer, or no JSON.
pub async fn post(client: &Client, path: &str, body: Vec<u8>) -> (u16, Value) {
    let response = client.request("POST", path).body(body).timeout(DEPLOYED_WITHIN).send().await.expect("an answer");
    let status = response.status().as_u16();
    (status, response.json().await.expect("JSON"))
}

/// Deploys a component, with these parameters of the query.
///
/// # Panics
/// If the deployment is refused.
pub async fn deploy(server: &Server, component: Vec<u8>, query: &str) -> Value {
    let (status, answer) = post(&server.operator(), &format!("/functions?{query}"), component).await;
    assert_eq!(status, 200, "{answer}\n{}", server.log());
    answer
}

/// The status and the code of a deployment that is refused, and its reason.
pub async fn refused(server: &Server, component: Vec<u8>, query: &str) -> (u16, String, String) {
    let (status, problem) = post(&server.operator(), &format!("/functions?{query}"), component).await;
    let text = |name: &str| problem[name].as_str().unwrap_or_default().to_owned();
    (status, text("code"), text("detail"))
}

/// The version that answers this user; `None` if none does.
pub async fn version_of(server: &Server, user: Uuid) -> Option<String> {
    let answer = server.user(user).get("/v1/lifecycle/version").await;
    (answer.status == 200).then(|| answer.json(200)["version"].as_str().unwrap().to_owned())
}

/// Why the canary of this revision was taken back, from what the host says of the guest; `None` if it was not.
pub fn withdrawal_of(detail: &Value, revision: &Value) -> Option<String> {
    let found = detail["revisions"].as_array()?.iter().find(|found| found["revision"] == *revision)?;
    Some(found["withdrawn"].as_str()?.to_owned())
}

/// What the host says of the guest.
pub async fn detail(server: &Server) -> Value {
    server.operator().get("/functions/lifecycle").await.json(200)
}

/// Asks for a change of the guest. Returns the status and the answer.
pub async fn change(server: &Server, method: &str, path: &str, body: &str) -> (u16, Value) {
    let request = server.operator().request(method, &format!("/functions/lifecycle{path}")).body(body.to_owned());
    let response = request.send().await.expect("an answer");
    (response.status().as_u16(), response.json().await.expect("JSON"))
}

/// As [`change`], for a change that must be made.
///
/// # Panics
/// If it is refused.
pub async fn changed(server: &Server, method: &str, path: &str, body: &str) -> Value {
    let (status, answer) = change(server, method, path, body).await;
    assert_eq!(status, 200, "{answer}");
    answer
}

/// A folder with copies of the components that come with Roost.
///
/// # Panics
/// If they are not built.
pub fn folder_of_components() -> TempDir {
    let folder = tempfile::tempdir().expect("`tests/run` builds the components");
    for entry in fs::read_dir(components()).expect("`tests/run` builds the components") {
        let path = entry.expect("`tests/run` builds the components").path();
        if path.extension().is_some_and(|extension| extension == "wasm") {
            fs::copy(&path, folder.path().join(path.file_name().expect("`tests/run` builds the components")))
                .expect("`tests/run` builds the components");
        }
    }
    folder
}
