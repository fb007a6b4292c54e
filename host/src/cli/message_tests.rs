//! Writes the messages of the command line to `tests/golden/messages/cli.txt`.

use std::io;
use std::path::Path;

use clap::Parser as _;

use super::args::Cli;
use super::build::BuildError;
use super::{running_host, source};
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

    messages.group("Builds");
    for (situation, error) in build_errors() {
        messages.add(situation, error);
    }

    messages.group("Requests to a running host");
    let environment = vec![("ROOST_ADMIN_LISTEN".to_owned(), "127.0.0.1:1".to_owned())];
    let config = Sources { environment, ..Sources::default() }.load().unwrap();
    let refused = running_host::request(&config, "GET", "/functions", "").await.unwrap_err();
    messages.add("No host is running", format!("{refused:#}"));
    messages.check("cli");
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
