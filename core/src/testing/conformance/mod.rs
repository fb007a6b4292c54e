//! One suite per port: functions that any adapter's test can call, and that the fakes pass too.

pub mod key_value;
pub mod records;
