//! What happened in a run, counted: sent, acknowledged, delivered, recovered.

use std::fmt;
use std::iter::Sum;
use std::ops::Add;

/// Sums over all devices.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Messages that were said, each once however often it was tried.
    pub sent: usize,
    /// Those that were answered with their place in the conversation.
    pub acknowledged: usize,
    /// Acknowledged, and marked as told to the members later.
    pub delayed: usize,
    /// Tries after the first.
    pub retried: usize,
    /// Messages pushed to a device that did not know them, over all devices.
    pub delivered: usize,
    /// Messages that devices found in the state they fetched after a `resync`.
    pub recovered: usize,
    /// Messages pushed to a device that had found them there already.
    pub repeated: usize,
    /// How often a device was told `resync`.
    pub resyncs: usize,
    /// How often a device lost its line.
    pub reconnects: usize,
}

impl Tally {
    /// Whether clients noticed anything at all of what was done to the hosts.
    pub const fn is_undisturbed(&self) -> bool {
        self.delayed + self.retried + self.recovered + self.resyncs + self.reconnects == 0
    }
}

impl Add for Tally {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            sent: self.sent + other.sent,
            acknowledged: self.acknowledged + other.acknowledged,
            delayed: self.delayed + other.delayed,
            retried: self.retried + other.retried,
            delivered: self.delivered + other.delivered,
            recovered: self.recovered + other.recovered,
            repeated: self.repeated + other.repeated,
            resyncs: self.resyncs + other.resyncs,
            reconnects: self.reconnects + other.reconnects,
        }
    }
}

impl Sum for Tally {
    fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
        all.fold(Self::default(), Add::add)
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { sent, acknowledged, delayed, retried, delivered, recovered, repeated, resyncs, reconnects } = self;
        write!(
            f,
            "sent {sent}, acknowledged {acknowledged} ({delayed} delayed, {retried} tries repeated), delivered {delivered}, \
             recovered {recovered} ({repeated} told again), resyncs {resyncs}, reconnects {reconnects}"
        )
    }
}
