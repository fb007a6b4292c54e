//! The API description and the real server agree: schemathesis sends the server requests that the description allows
//! and requests that it does not allow, and checks every answer against the description.
//!
//! schemathesis is a Python program. Where Python with `venv` and `pip` is missing, the test says so and is skipped.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use roost_tests::components;
use roost_tests::server::Server;
use roost_tests::token::Token;
use roost_tests::tools::{install, output, skip};
use serde_json::Value;
use tokio::process::Command;
use uuid::Uuid;

const SCHEMATHESIS: &str = "schemathesis==4.32.5";
/// A run takes about a minute on two free cores.
const RUN_TIME_MAX: Duration = Duration::from_secs(600);

/// The program `schemathesis`, in a Python environment of its own beside the built components.
async fn schemathesis() -> Result<PathBuf, String> {
    let folder = components().with_file_name(SCHEMATHESIS.replace("==", "-"));
    let installed = folder.join("installed");
    if !installed.exists() {
        install(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&folder)).await?;
        let pip = folder.join("bin/pip");
        install(Command::new(pip).args(["install", "--quiet", "--disable-pip-version-check", SCHEMATHESIS])).await?;
        fs::write(installed, "").map_err(|error| error.to_string())?;
    }
    Ok(folder.join("bin/schemathesis"))
}

#[tokio::test]
async fn schemathesis_finds_no_difference_between_description_and_server() {
    let program = match schemathesis().await {
        Ok(program) => program,
        Err(reason) => return skip("schemathesis did not test the API description", &reason),
    };
    let server = Server::start(&[]).await;
    let folder = tempfile::tempdir().unwrap();
    let configuration = Path::new(env!("CARGO_MANIFEST_DIR")).join("schemathesis.toml");
    let mut command = Command::new(program);
    command
        .current_dir(folder.path())
        .args(["--config-file".as_ref(), configuration.as_os_str()])
        .args(["run", &format!("http://{}/v1/openapi.json", server.listen)])
        .args(["--header", &format!("Authorization: Bearer {}", Token::of(Uuid::new_v4()).sign())]);
    let output = output(&mut command, RUN_TIME_MAX).await.unwrap();
    let report = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{report}\n{}", String::from_utf8_lossy(&output.stderr));
    println!("{report}");
    server.stop().await;
}

#[tokio::test]
async fn every_id_in_a_path_is_a_uuid_and_every_request_body_is_closed() {
    let server = Server::start(&[]).await;
    let description = server.anonymous().get("/v1/openapi.json").await.json(200);
    let paths = description["paths"].as_object().unwrap();
    assert!(paths.len() > 15, "the functions are not described: {description:#}");
    let mut bodies = 0;
    for (path, operations) in paths {
        for (method, operation) in operations.as_object().unwrap() {
            let name = format!("{method} {path}");
            check_path_parameters(&name, path, operation);
            if let Some(body) = operation.get("requestBody") {
                let schema = &body["content"]["application/json"]["schema"];
                assert_eq!(schema["additionalProperties"], false, "{name}: {schema:#}");
                bodies += 1;
            }
        }
    }
    assert!(bodies > 3, "{bodies} request bodies");
    server.stop().await;
}

fn check_path_parameters(name: &str, path: &str, operation: &Value) {
    let parameters = operation["parameters"].as_array().unwrap();
    for parameter in path.split('/').filter_map(|segment| segment.strip_prefix('{')?.strip_suffix('}')) {
        let described = parameters.iter().find(|described| described["name"] == parameter && described["in"] == "path");
        let described = described.unwrap_or_else(|| panic!("{name}: {parameter} is not described"));
        assert_eq!((&described["required"], &described["schema"]["format"]), (&true.into(), &"uuid".into()), "{name}");
    }
}
