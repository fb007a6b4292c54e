//! Writes the messages of the command line to `tests/golden/messages/cli.txt`.

use std::io;
use std::path::Path;

use clap::Parser as _;

use super::args::Cli;
use super::args::{KeygenArgs, SignArgs};
use super::build::BuildError;
use super::new::{NameError, NewError, SdkError};
use super::{running_host, signing, source};
use crate::config::Sources;
use crate::golden::Messages;

/// The first lines of what `roost` prints about a wrong command line; the rest is the usage.
fn usage_error(arguments: &[&str]) -> String {
    let error = Cli::try_parse_from([&["roost"], arguments].concat()).unwrap_err();
    error.to_string().split("\n\n").next().unwrap_or_default().to_owned()
}

#[tokio::test]
async fn every_message_of_the_command_line_is_in_the_golden_file() {
    let mut messages = Messages::new("Messages of the command line");
    messages.group("Arguments");
    messages.add("A time span without a unit", usage_error(&["token", "--user", USER, "--ttl", "5"]));
    messages.add("A user that is not a UUID", usage_error(&["verify", "--user", "ada"]));
    messages.add("A setting without a value", usage_error(&["serve", "--set", "listen"]));

    messages.group("Sources of functions");
    let named = source::find(Some(Path::new("/"))).unwrap_err();
    messages.add("`--source` with another folder", format!("{named:#}"));

    messages.group("New functions");
    for (situation, error) in new_errors() {
        messages.add(situation, error);
    }

    messages.group("Builds");
    for (situation, error) in build_errors() {
        messages.add(situation, error);
    }

    messages.group("Keys and signatures");
    for (situation, error) in signing_errors() {
        messages.add(situation, error);
    }

    messages.group("Requests to a running host");
    let environment = vec![("ROOST_ADMIN_LISTEN".to_owned(), "127.0.0.1:1".to_owned())];
    let config = Sources { environment, ..Sources::default() }.load().unwrap();
    let refused = running_host::request(&config, "GET", "/functions", "").await.unwrap_err();
    messages.add("No host is running", format!("{refused:#}"));
    messages.check("cli");
}

fn signing_errors() -> Vec<(&'static str, String)> {
    let folder = tempfile::tempdir().unwrap();
    let within = |name: &str| folder.path().join(name);
    std::fs::write(within("signing.key"), "no key").unwrap();
    std::fs::write(within("text.wasm"), "text").unwrap();
    let keygen = |out: &str| signing::keygen(&KeygenArgs { out: within(out) }).unwrap_err();
    let sign = |files: &[&str], key: &str, out: Option<&str>| {
        let files = files.iter().map(|file| within(file)).collect();
        signing::sign(&SignArgs { files, key: within(key), out: out.map(within) }).unwrap_err()
    };
    let existing = keygen("signing.key");
    let same_name = keygen("signing.pub");
    let nowhere = keygen("missing/signing.key");
    let missing_key = sign(&["text.wasm"], "missing.key", None);
    let no_key = sign(&["text.wasm"], "signing.key", None);
    signing::keygen(&KeygenArgs { out: within("good.key") }).unwrap();
    let errors = [
        ("A key that exists", existing),
        ("A name that both keys would have", same_name),
        ("A folder that does not exist", nowhere),
        ("A key that does not exist", missing_key),
        ("Another file than a secret key", no_key),
        ("A component that does not exist", sign(&["missing.wasm"], "good.key", None)),
        ("Another file than a component", sign(&["text.wasm"], "good.key", None)),
        ("Two components for one file", sign(&["a.wasm", "b.wasm"], "good.key", Some("c.wasm"))),
    ];
    let shown = folder.path().display().to_string();
    errors.map(|(situation, error)| (situation, format!("{error:#}").replace(&shown, "folder"))).into()
}

fn new_errors() -> [(&'static str, NewError); 9] {
    let denied = || io::Error::new(io::ErrorKind::PermissionDenied, "Permission denied");
    [
        ("A name with capitals", NewError::Name(NameError::Format("MyVotes".into(), "myvotes".into()))),
        ("A keyword of Rust", NewError::Name(NameError::Reserved("match".into()))),
        ("The name of another package", NewError::Name(NameError::Taken("typing".into()))),
        ("No checkout", NewError::NoCheckout { name: "votes".into(), here: "/home/ada".into() }),
        ("A folder that is no checkout", NewError::Sdk(SdkError::NotACheckout("/home/ada/roost".into()))),
        ("A tag of a folder", NewError::Sdk(SdkError::TagOfFolder("v0.1.0".into()))),
        ("A folder of its own among the members", NewError::WithinFunctions("/roost/functions/votes".into())),
        ("A folder that exists", NewError::Exists("/roost/functions/votes".into())),
        ("A folder that cannot be written", NewError::File { path: "/votes".into(), error: denied() }),
    ]
}

const USER: &str = "6f1c1fd4-3c5b-4a8e-9d1a-0c6a2f1b7e55";

fn build_errors() -> [(&'static str, BuildError); 5] {
    let missing = || io::Error::new(io::ErrorKind::NotFound, "No such file or directory");
    [
        ("Cargo is not installed", BuildError::Program { program: "cargo", error: missing() }),
        ("A folder without functions", BuildError::NoFunctions("/chat".into())),
        ("A misspelled name", BuildError::UnknownFunction { name: "tipyng".into(), known: vec!["typing".into()] }),
        ("Rustup fails", BuildError::Target { message: "could not download".into() }),
        ("A module without a contract", BuildError::Wrap { package: "typing".into(), reason: "no world".into() }),
    ]
}
