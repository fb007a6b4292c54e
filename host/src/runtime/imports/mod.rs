//! Implements the interfaces that functions import: every import checks the grants and its bounds, then calls a port.

mod live;
mod records;
mod telemetry;

use super::bindings::types;
use super::state::InstanceState;

impl types::Host for InstanceState {}
