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
    /// When the token ends. A client can renew its token.
    expires_at: Option<Instant>,
    /// When the socket is closed because the host is stopping.
    drain_at: Option<Instant>,
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
            expires_at,
            drain_at: None,
        }
    }

    /// Restarts the idle timeout: the client gave a sign of life.
    pub(super) fn restart_idle(&mut self, now: Instant) {
        self.idle_at = now + self.idle_timeout;
    }

    /// The client has a token that ends at this time, or later than any connection.
    pub(super) fn renew(&mut self, expires_at: Option<Instant>) {
        self.expires_at = expires_at;
    }

    /// Closes the socket at this time because the host is stopping, unless it closes earlier anyway.
    pub(super) fn drain_at(&mut self, at: Instant) {
        self.drain_at = Some(at);
    }

    /// The next time at which there is something to do.
    pub(super) fn next(&self) -> Instant {
        let next = self.ping_at.min(self.idle_at);
        self.close_at().map_or(next, |(at, _)| at.min(next))
    }

    pub(super) fn due(&mut self, now: Instant) -> TimerAction {
        if let Some((at, reason)) = self.close_at()
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

    /// When the host closes the socket, and why.
    fn close_at(&self) -> Option<(Instant, CloseReason)> {
        let expiry = self.expires_at.map(|at| (at, close::TOKEN_EXPIRED));
        let drain = self.drain_at.map(|at| (at, close::DRAINING));
        match (expiry, drain) {
            (Some(expiry), Some(drain)) => Some(if drain.0 < expiry.0 { drain } else { expiry }),
            (one, other) => one.or(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::fake::socket_config;

    #[tokio::test(start_paused = true)]
    async fn a_renewed_token_moves_the_end_and_the_stop_of_the_host_remains() {
        let (now, second) = (Instant::now(), Duration::from_secs(1));
        let mut timers = Timers::new(&socket_config(), Some(now + second));
        timers.drain_at(now + 3 * second);
        assert_eq!(timers.due(now + second), TimerAction::Close(close::TOKEN_EXPIRED));
        timers.renew(Some(now + 5 * second));
        assert_eq!(timers.due(now + 2 * second), TimerAction::Nothing);
        assert_eq!(timers.next(), now + 3 * second);
        assert_eq!(timers.due(now + 3 * second), TimerAction::Close(close::DRAINING));
        timers.renew(None);
        assert_eq!(timers.due(now + 3 * second), TimerAction::Close(close::DRAINING));
    }
}
