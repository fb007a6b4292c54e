//! When a socket must be pinged, is idle, or has to close. One moment to wait for, whatever it is.

use tokio::time::Instant;

use super::close::{self, Close};
use crate::config::SocketConfig;

/// A session's moments.
#[derive(Debug)]
pub(super) struct Timers {
    bounds: (std::time::Duration, std::time::Duration),
    ping: Instant,
    idle: Instant,
    close: Option<(Instant, Close)>,
}

/// What is to be done now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Due {
    Nothing,
    Ping,
    Close(Close),
}

impl Timers {
    pub(super) fn new(config: &SocketConfig, until: Option<Instant>) -> Self {
        let now = Instant::now();
        Self {
            bounds: (config.ping_interval, config.idle_timeout),
            ping: now + config.ping_interval,
            idle: now + config.idle_timeout,
            close: until.map(|until| (until, close::TOKEN_EXPIRED)),
        }
    }

    /// The client gave a sign of life.
    pub(super) fn heard(&mut self, now: Instant) {
        self.idle = now + self.bounds.1;
    }

    /// The host is stopping; whichever end comes first counts.
    pub(super) fn close_at(&mut self, moment: Instant) {
        if self.close.is_none_or(|(earlier, _)| moment < earlier) {
            self.close = Some((moment, close::DRAINING));
        }
    }

    /// The next moment at which [`Timers::due`] has something to say.
    pub(super) fn next(&self) -> Instant {
        let next = self.ping.min(self.idle);
        self.close.map_or(next, |(moment, _)| moment.min(next))
    }

    pub(super) fn due(&mut self, now: Instant) -> Due {
        if let Some((moment, close)) = self.close
            && moment <= now
        {
            return Due::Close(close);
        }
        if self.idle <= now {
            return Due::Close(close::IDLE);
        }
        if self.ping <= now {
            self.ping = now + self.bounds.0;
            return Due::Ping;
        }
        Due::Nothing
    }
}
