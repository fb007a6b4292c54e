//! The sources, the documents and the test command as tests: style, layout, examples that compile, summaries.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "an unexpected value fails the test"
)]

mod deploy;
mod deployment_docs;
mod function_docs;
mod style;
mod test_command;
mod tidy;
