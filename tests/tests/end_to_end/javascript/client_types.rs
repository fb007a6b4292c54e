//! The types of the JavaScript client with TypeScript: right uses are accepted, mistakes are refused, and the sources
//! of the client agree with its types.
//!
//! TypeScript comes from npm. Where npm is missing, or the registry does not answer, the test says so and is skipped.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::Duration;

use roost_tests::components;
use roost_tests::javascript::{node, programs};
use roost_tests::sources::root;
use roost_tests::tools::{install, output, skip};
use tokio::process::Command;

/// The types of Node are those of the oldest version that the client supports.
const PACKAGES: [&str; 2] = ["typescript@5.9.3", "@types/node@20.19.0"];
const OPTIONS: [&str; 9] =
    ["--noEmit", "--target", "es2022", "--lib", "es2023,dom,dom.iterable", "--module", "nodenext", "--types", "node"];
/// A run takes about ten seconds on two free cores.
const RUN_TIME_MAX: Duration = Duration::from_secs(120);

/// The folder with TypeScript and the types of Node, beside the built components.
async fn typescript() -> Result<PathBuf, String> {
    let folder = components().with_file_name(PACKAGES.concat().replace(['@', '/'], "-"));
    let installed = folder.join("installed");
    if !installed.exists() {
        fs::create_dir_all(&folder).map_err(|error| error.to_string())?;
        // Without this file, npm would install into a folder above.
        fs::write(folder.join("package.json"), r#"{"private":true}"#).map_err(|error| error.to_string())?;
        let options = ["--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error", "--fetch-retries=1"];
        install(Command::new("npm").current_dir(&folder).arg("install").args(options).args(PACKAGES)).await?;
        fs::write(installed, "").map_err(|error| error.to_string())?;
    }
    Ok(folder)
}

/// Compiles files in a project. Whatever TypeScript finds fails the test.
async fn compile(tools: &Path, project: &Path, arguments: &[&str]) {
    let mut command = node();
    command.current_dir(project).arg(tools.join("node_modules/typescript/bin/tsc")).args(OPTIONS).args(arguments);
    let compiled = output(&mut command, RUN_TIME_MAX).await.unwrap();
    let (found, errors) = (String::from_utf8_lossy(&compiled.stdout), String::from_utf8_lossy(&compiled.stderr));
    assert!(compiled.status.success(), "{arguments:?}\n{found}{errors}");
}

#[tokio::test]
async fn typescript_refuses_wrong_uses_of_the_client_and_accepts_right_ones_and_its_sources() {
    let tools = match typescript().await {
        Ok(folder) => folder,
        Err(reason) => return skip("TypeScript did not test the types of the client", &reason),
    };
    let client = root().join("host/web/client");
    let project = tempfile::tempdir().unwrap();
    let modules = project.path().join("node_modules");
    fs::create_dir(&modules).unwrap();
    symlink(tools.join("node_modules/@types"), modules.join("@types")).unwrap();
    symlink(&client, modules.join("roost-client")).unwrap();
    fs::write(project.path().join("package.json"), r#"{"type":"module"}"#).unwrap();
    fs::copy(programs().join("types.ts"), project.path().join("types.ts")).unwrap();

    compile(&tools, project.path(), &["--strict", "types.ts"]).await;
    let sources = ["roost-client.js", "node-socket.js"].map(|name| client.join(name).display().to_string());
    compile(&tools, project.path(), &["--allowJs", "--checkJs", &sources[0], &sources[1]]).await;
}
