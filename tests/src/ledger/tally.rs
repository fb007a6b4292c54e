//! The counts of a run: messages sent, acknowledged, delivered and recovered.

use std::fmt;
use std::iter::Sum;
use std::ops::Add;

/// Counts of one device, or sums over all devices.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Messages that were written, each counted once however often it was sent.
    pub sent: usize,
    /// Messages that were acknowledged with their sequence.
    pub acknowledged: usize,
    /// Messages that were acknowledged with delayed delivery.
    pub delayed: usize,
    /// Repetitions of a message after the first attempt.
    pub retried: usize,
    /// Messages pushed to a device that did not know them, over all devices.
    pub delivered: usize,
    /// Messages that devices found in the state that they fetched after a `resync`.
    pub recovered: usize,
    /// Messages pushed to a device that already knew them from the fetched state.
    pub repeated: usize,
    /// How often a device received `resync`.
    pub resyncs: usize,
    /// How often a device lost its connection.
    pub reconnects: usize,
}

impl Tally {
    /// Whether no client noticed any disturbance.
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
