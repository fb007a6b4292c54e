//! One conformance suite for each port: test functions that the tests of every adapter call, and that the fakes pass
//! too.

pub mod key_value;
pub mod records;
