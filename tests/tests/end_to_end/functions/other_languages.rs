//! Functions in JavaScript and Python: each example is built with the tools of its language, its unit tests and its
//! scenario hold, and it is deployed to a running host and called.
//!
//! The tools are installed into the target folder at the first run. Where npm or Python is missing, or the registry of
//! the language does not answer, the test says so and is skipped.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use roost_tests::client::Client;
use roost_tests::components;
use roost_tests::json_schema::differences;
use roost_tests::server::Server;
use roost_tests::socket::Socket;
use roost_tests::sources::root;
use roost_tests::tools::skip;
use roost_tests::writing::{copy_sources, roost};
use serde_json::{Value, json};
use uuid::Uuid;

/// An example, and the commands that `docs/languages.md` names for it.
struct Example {
    /// The folder in `functions/examples`, the name of the function, and the last part of its paths.
    name: &'static str,
    /// Programs without which the example cannot be built, with arguments that try them.
    needs: &'static [&'static [&'static str]],
    /// Commands that install the tools from the registry of the language.
    install: &'static [&'static [&'static str]],
    /// The files that say which tools are installed.
    pinned: &'static str,
    /// Commands of the unit tests.
    test: &'static [&'static [&'static str]],
    /// Commands that build the component.
    build: &'static [&'static [&'static str]],
    memory_bytes_max: &'static str,
}

const JAVASCRIPT: Example = Example {
    name: "reactions-js",
    needs: &[&["node", "-e", "process.exit(parseInt(process.versions.node) < 20 ? 1 : 0)"], &["npm", "--version"]],
    install: &[&["npm", "ci"]],
    pinned: "package-lock.json",
    test: &[&["npm", "test"]],
    build: &[&["npm", "run", "build"]],
    memory_bytes_max: "16777216",
};

const PYTHON: Example = Example {
    name: "reactions-py",
    needs: &[&["python3", "-c", "import sys, venv; sys.exit(sys.version_info < (3, 10))"]],
    install: &[&["python3", "-m", "venv", ".venv"], &[".venv/bin/pip", "install", "-r", "requirements.txt"]],
    pinned: "requirements.txt",
    test: &[
        &["rm", "-rf", "bindings"],
        &[".venv/bin/componentize-py", "-d", "../../../wit", "-w", "function", "bindings", "bindings"],
        &["env", "PYTHONPATH=bindings", ".venv/bin/python", "-m", "unittest", "discover", "-s", "tests", "-t", "."],
    ],
    build: &[
        &["mkdir", "-p", "dist"],
        &[
            ".venv/bin/componentize-py",
            "-d",
            "../../../wit",
            "-w",
            "function",
            "componentize",
            "--stub-wasi",
            "app",
            "-o",
            "dist/reactions-py.wasm",
        ],
    ],
    memory_bytes_max: "67108864",
};

impl Example {
    /// Runs commands in a folder; the error is what the first one wrote that failed.
    fn run(commands: &[&[&str]], folder: &Path) -> Result<(), String> {
        for command in commands {
            let (program, arguments) = command.split_first().unwrap();
            // A path is relative to the folder, and not to the folder of this process.
            let local = folder.join(program);
            let program = if local.is_file() { local.as_path() } else { Path::new(program) };
            let shown = command.join(" ");
            let finished = Command::new(program).args(arguments).current_dir(folder).output();
            let finished = finished.map_err(|error| format!("`{shown}`: {error}"))?;
            if !finished.status.success() {
                let (output, errors) =
                    (String::from_utf8_lossy(&finished.stdout), String::from_utf8_lossy(&finished.stderr));
                return Err(format!("`{shown}` failed:\n{output}{errors}"));
            }
        }
        Ok(())
    }

    /// The component, built in a copy of the sources. `Err`: the tools are not there.
    fn component(&self) -> Result<PathBuf, String> {
        Self::run(self.needs, &root())?;
        let copy = components().with_file_name("languages").join(self.name);
        let folder = copy.join("functions/examples").join(self.name);
        let component = folder.join("dist").join(self.name).with_extension("wasm");
        let sources = copy_sources(&copy, &[&format!("functions/examples/{}", self.name), "wit"]);
        let pinned = fs::read_to_string(folder.join(self.pinned)).unwrap();
        if !is_noted(&copy.join("installed"), &pinned) {
            Self::run(self.install, &folder)?;
            fs::write(copy.join("installed"), &pinned).unwrap();
        }
        Self::run(self.test, &folder).unwrap();
        let files = sources.iter().map(|name| fs::read_to_string(copy.join(name)).unwrap());
        let built_from: String = sources.iter().cloned().chain(files).collect();
        if !component.is_file() || !is_noted(&copy.join("built-from"), &built_from) {
            Self::run(self.build, &folder).unwrap();
            fs::write(copy.join("built-from"), &built_from).unwrap();
        }
        Ok(component)
    }

    /// A host that allows the function what it asks for.
    async fn host(&self) -> Server {
        let keys = [
            ("grants.read", "app"),
            ("grants.write", "app"),
            ("grants.publish", "members"),
            ("grants.records", "messages,membership,read-documents,put-document"),
            ("memory_bytes_max", self.memory_bytes_max),
            ("deadline_ms", "10000"),
        ];
        let keys = keys.map(|(key, value)| (format!("function.{}.{key}", self.name), value));
        let set: Vec<(&str, &str)> = keys.iter().map(|(key, value)| (key.as_str(), *value)).collect();
        Server::start(&set).await
    }

    /// Builds the example, tries its scenario, deploys and calls it.
    async fn check(&self) {
        let component = match self.component() {
            Ok(component) => component,
            Err(reason) => return skip(&format!("{} was not built, deployed and called", self.name), &reason),
        };
        let file = component.to_str().unwrap();
        let scenario = root().join("functions/examples").join(self.name).join("scenario.toml");
        let (scenario, built) = (scenario.to_str().unwrap().to_owned(), components());
        let arguments = ["test", file, "--scenario", &scenario, "--components", built.to_str().unwrap()];
        let tested = roost(&root(), &arguments).succeeded();
        assert!(tested.output.ends_with("5 cases: 5 passed, 0 failed\n"), "{}", tested.output);

        let server = self.host().await;
        let deployed = server.command(&["deploy", file]).output().await.unwrap();
        let output = String::from_utf8_lossy(&deployed.stdout);
        assert!(deployed.status.success(), "{output}\n{}", server.log());
        assert!(output.contains(&format!("{}: revision 1 (version 0.1.0) serves", self.name)), "{output}");
        self.call(&server).await;
        server.stop().await;
    }

    async fn call(&self, server: &Server) {
        let (ada, ben, eve) = (Uuid::new_v4(), Uuid::new_v4(), Uuid::new_v4());
        let (from, to, stranger) = (server.user(ada), server.user(ben), server.user(eve));
        let conversation = from.conversation(&[ada, ben]).await;
        let messages = format!("/v1/conversations/{conversation}/messages");
        let sent = from.post(&messages, json!({ "content": "Lunch?" })).await.json(201);
        let reactions = format!("{messages}/{}/{}", sent["id"].as_str().unwrap(), self.name);
        let mut socket = Socket::open(server, ada).await;

        let once = json!({ "counts": { "👍": 1 }, "mine": ["👍"] });
        assert_eq!(to.put(&format!("{reactions}/👍")).await.json(200), once);
        let event = socket.expect("reaction.changed").await;
        assert_eq!((&event["payload"]["count"], &event["payload"]["user"]), (&json!(1), &json!(ben)));
        assert_eq!(to.put(&format!("{reactions}/👍")).await.json(200), once);
        let both = json!({ "counts": { "👍": 2 }, "mine": ["👍"] });
        assert_eq!(from.put(&format!("{reactions}/👍")).await.json(200), both);
        let left = json!({ "counts": { "👍": 1 }, "mine": [] });
        assert_eq!(to.delete(&format!("{reactions}/👍")).await.json(200), left);

        stranger.put(&format!("{reactions}/👍")).await.problem(403, "not_a_member");
        let wrong = from.get(&format!("{messages}/first/{}", self.name)).await.problem(400, "invalid");
        assert_eq!(wrong["detail"], "message must be a UUID, not \"first\"");
        self.choose(&server.service(), &conversation).await;
        self.is_described(server, &event).await;
        socket.close().await;
    }

    /// A backend chooses the reactions of a conversation, by a document.
    async fn choose(&self, service: &Client, conversation: &str) {
        let put = |body: Value| {
            let path = format!("/v1/conversations/{conversation}/{}", self.name);
            roost_tests::client::send(service.request("PUT", &path).json(&body))
        };
        put(json!({ "allowed": ["🐈", "ok"] })).await.done();
        put(json!({ "allowed": [] })).await.problem(400, "invalid");
        put(json!({ "allowed": [" x"] })).await.problem(400, "invalid");
    }

    async fn is_described(&self, server: &Server, event: &Value) {
        let description = server.anonymous().get("/v1/openapi.json").await.json(200);
        let path = format!("/v1/conversations/{{conversation}}/messages/{{message}}/{}", self.name);
        let operation = &description["paths"][&path]["get"];
        assert_eq!(operation["summary"], "The reactions to a message.", "{operation:#}");
        assert_eq!(operation["parameters"][0]["schema"]["format"], "uuid", "{operation:#}");
        let description = server.anonymous().get("/v1/asyncapi.json").await.json(200);
        let described = &description["components"]["messages"]["event.reaction.changed"]["payload"];
        let differences = differences(described, event);
        assert!(differences.is_empty(), "{differences:#?}\n{event:#}\n{described:#}");
    }
}

/// Whether a file holds exactly this text.
fn is_noted(file: &Path, text: &str) -> bool {
    fs::read_to_string(file).is_ok_and(|noted| noted == text)
}

#[tokio::test]
async fn a_function_in_javascript_is_deployed_and_called() {
    JAVASCRIPT.check().await;
}

#[tokio::test]
async fn a_function_in_python_is_deployed_and_called() {
    PYTHON.check().await;
}

#[test]
fn versions_are_pinned_and_no_registry_is_named() {
    let folder = root().join("functions/examples");
    let lock = fs::read_to_string(folder.join("reactions-js/package-lock.json")).unwrap();
    let manifest: Value =
        serde_json::from_str(&fs::read_to_string(folder.join("reactions-js/package.json")).unwrap()).unwrap();
    assert!(lock.contains("\"integrity\"") && !lock.contains("://"), "remove the `resolved` lines of the lock file");
    for version in manifest["devDependencies"].as_object().unwrap().values() {
        assert!(version.as_str().unwrap().starts_with(|first: char| first.is_ascii_digit()), "{version}");
    }
    let requirements = fs::read_to_string(folder.join("reactions-py/requirements.txt")).unwrap();
    assert!(!requirements.is_empty() && requirements.lines().all(|line| line.contains("==")), "{requirements}");
}
