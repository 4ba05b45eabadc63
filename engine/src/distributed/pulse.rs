//! What an executor tells the coordinator about itself, again and again, over a connection that the coordinator holds.
//!
//! The end of the connection is how the death of an executor is noticed at once; what is told is how a task is noticed
//! that nothing will ever come of.

use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// Type of the Flight action that asks for pulses; its body is the membership that is meant.
pub const PULSE_ACTION: &str = "grappe.pulse";
/// Type of the Flight action that makes an executor finish and leave; its body is the membership that is meant.
pub const DRAIN_ACTION: &str = "grappe.drain";
/// How often an executor tells.
pub const PULSE_INTERVAL: Duration = Duration::from_millis(500);

/// How an executor is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pulse {
    /// Every task that it has taken and whose outcome it has not delivered.
    pub tasks: Vec<TaskPulse>,
    /// Share of the memory that the process may have that it has, in percent; 0 if it cannot tell.
    pub memory_percent: u8,
}

/// How a task is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskPulse {
    /// Its job.
    pub job: String,
    /// Its stage.
    pub stage: u32,
    /// Its number in the stage.
    pub task: u32,
    /// How long it has neither computed nor been given anything, in milliseconds.
    pub idle_ms: u64,
}

impl Pulse {
    /// As it is sent.
    pub fn encode(&self) -> Bytes {
        // Numbers and texts: there is nothing that could not be written.
        serde_json::to_vec(self).unwrap_or_default().into()
    }

    /// # Errors
    /// `Internal` for bytes that are none.
    pub fn decode(bytes: &[u8]) -> Result<Self> {
        serde_json::from_slice(bytes).map_err(|error| Error::internal(format!("this is not a pulse: {error}")))
    }
}
