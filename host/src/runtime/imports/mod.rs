//! The host's side of the contract: every import checks its grant and its bounds, then asks a port.

mod live;
mod records;
mod telemetry;

use super::bindings::types;
use super::state::State;

impl types::Host for State {}
