//! The timers of one socket: when to ping the client, when it counts as idle, and when the host closes the socket. A
//! session waits only for the earliest of them.

use std::time::Duration;

use tokio::time::Instant;

use super::close::{self, CloseReason};
use crate::config::SocketConfig;

/// The next time for each action.
#[derive(Debug)]
pub(super) struct Timers {
    ping_interval: Duration,
    idle_timeout: Duration,
    ping_at: Instant,
    idle_at: Instant,
    close_at: Option<(Instant, CloseReason)>,
}

/// What a session has to do now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TimerAction {
    Nothing,
    Ping,
    Close(CloseReason),
}

impl Timers {
    pub(super) fn new(config: &SocketConfig, expires_at: Option<Instant>) -> Self {
        let now = Instant::now();
        Self {
            ping_interval: config.ping_interval,
            idle_timeout: config.idle_timeout,
            ping_at: now + config.ping_interval,
            idle_at: now + config.idle_timeout,
            close_at: expires_at.map(|expires_at| (expires_at, close::TOKEN_EXPIRED)),
        }
    }

    /// Restarts the idle timeout: the client gave a sign of life.
    pub(super) fn restart_idle(&mut self, now: Instant) {
        self.idle_at = now + self.idle_timeout;
    }

    /// Closes the socket at this time because the host is stopping, unless it closes earlier anyway.
    pub(super) fn drain_at(&mut self, at: Instant) {
        if self.close_at.is_none_or(|(earlier, _)| at < earlier) {
            self.close_at = Some((at, close::DRAINING));
        }
    }

    /// The next time at which there is something to do.
    pub(super) fn next(&self) -> Instant {
        let next = self.ping_at.min(self.idle_at);
        self.close_at.map_or(next, |(at, _)| at.min(next))
    }

    pub(super) fn due(&mut self, now: Instant) -> TimerAction {
        if let Some((at, reason)) = self.close_at
            && at <= now
        {
            return TimerAction::Close(reason);
        }
        if self.idle_at <= now {
            return TimerAction::Close(close::IDLE);
        }
        if self.ping_at <= now {
            self.ping_at = now + self.ping_interval;
            return TimerAction::Ping;
        }
        TimerAction::Nothing
    }
}
