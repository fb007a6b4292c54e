//! Every parser of bytes from outside, with generated input and with the corpus of the fuzz targets.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "an unexpected value fails the test"
)]

mod answers;
mod fuzz_corpus;
mod properties;
