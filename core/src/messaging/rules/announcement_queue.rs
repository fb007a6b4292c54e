//! The order of announcements when several users send to one conversation at the same time.
//!
//! A new message is announced to a member after every earlier change of the conversation. An announcement that comes
//! too early waits for the one before it. A snapshot for each member would be right as well, but a whole queue of
//! senders with snapshots would overtake each other again and again. Nobody waits for a sender that crashed: if no
//! earlier announcement makes progress for a while, the first one in the queue continues with snapshots, and publishes
//! whatever they pass on behalf of the others.

use crate::ids::{Seq, UserId};
use crate::limits::{ANNOUNCEMENT_POLL_MS, ANNOUNCEMENT_POLL_MS_MAX, ANNOUNCEMENT_STALL_MS, ANNOUNCEMENT_WAIT_MS_MAX};
use crate::time::Timestamp;

/// The members to whom a change could not be announced at once, by what their announcement needs.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct AnnouncementReadiness {
    /// The number of members to whom another caller has announced the change.
    pub(crate) notified: usize,
    /// Members to whom every earlier change was announced.
    pub(crate) ready: Vec<UserId>,
    /// Members to whom an earlier change is still to be announced.
    pub(crate) early: Vec<UserId>,
    /// Members without counters or without a position: they need a snapshot.
    pub(crate) without_position: Vec<UserId>,
}

impl AnnouncementReadiness {
    /// Adds a member, given the total and the position that the store holds. `seq` is the change to announce.
    pub(crate) fn add(&mut self, user: UserId, total: Option<i64>, position: Option<Seq>, seq: Seq) {
        match (total, position) {
            (Some(_), Some(position)) if position >= seq => self.notified += 1,
            (Some(_), Some(position)) if position == seq.previous() => self.ready.push(user),
            (Some(_), Some(_)) => self.early.push(user),
            (None, _) | (_, None) => self.without_position.push(user),
        }
    }
}

/// How waiting for earlier announcements ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WaitOutcome {
    /// Every earlier change was announced; the announcement can be tried again.
    Ready,
    /// A snapshot has announced this change as well.
    Passed,
    /// No earlier announcement makes progress; their senders are taken to have crashed.
    Stalled,
    /// Waiting took too long; the change stays pending.
    TimedOut,
}

/// What to do after a read of the position that an announcement waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NextPoll {
    /// Waiting has ended.
    Done(WaitOutcome),
    /// Read again after so many milliseconds.
    After(u32),
}

/// An announcement that waits for earlier ones.
#[derive(Clone, Copy, Debug)]
pub(crate) struct QueuedAnnouncement {
    seq: Seq,
    deadline: Timestamp,
}

/// The position that was read last, and since when it has not moved.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Progress {
    position: Option<Seq>,
    since: Timestamp,
}

impl Progress {
    /// Nothing has been read yet.
    pub(crate) const fn new(now: Timestamp) -> Self {
        Self { position: None, since: now }
    }
}

impl QueuedAnnouncement {
    pub(crate) const fn new(seq: Seq, now: Timestamp) -> Self {
        Self { seq, deadline: now.plus(ANNOUNCEMENT_WAIT_MS_MAX) }
    }

    /// The sequence number of the change to announce.
    pub(crate) const fn seq(&self) -> Seq {
        self.seq
    }

    /// Decides from the position of the last member that the announcement before this one reaches.
    pub(crate) fn next_poll(&self, progress: &mut Progress, position: Option<Seq>, now: Timestamp) -> NextPoll {
        let Some(position) = position else { return NextPoll::Done(WaitOutcome::Stalled) };
        if position >= self.seq {
            return NextPoll::Done(WaitOutcome::Passed);
        }
        if position == self.seq.previous() {
            return NextPoll::Done(WaitOutcome::Ready);
        }
        if progress.position != Some(position) {
            *progress = Progress { position: Some(position), since: now };
        }
        let ahead = self.seq.previous().0 - position.0;
        if now >= progress.since.plus(ANNOUNCEMENT_STALL_MS.saturating_mul(ahead)) {
            return NextPoll::Done(WaitOutcome::Stalled);
        }
        if now >= self.deadline {
            return NextPoll::Done(WaitOutcome::TimedOut);
        }
        let pause_ms = u64::from(ANNOUNCEMENT_POLL_MS).saturating_mul(ahead).min(u64::from(ANNOUNCEMENT_POLL_MS_MAX));
        NextPoll::After(u32::try_from(pause_ms).unwrap_or(ANNOUNCEMENT_POLL_MS_MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp(1_000_000);

    #[test]
    fn members_are_sorted_by_the_position_that_the_store_holds() {
        let users = [1, 2, 3, 4, 5].map(UserId::from_u128);
        let mut readiness = AnnouncementReadiness::default();
        let states = [(Some(0), Some(7)), (Some(3), Some(6)), (Some(0), Some(5)), (None, Some(6)), (Some(0), None)];
        for (user, (total, position)) in users.into_iter().zip(states) {
            readiness.add(user, total, position.map(Seq), Seq(7));
        }
        readiness.add(users[0], Some(0), Some(Seq(8)), Seq(7));
        let expected = AnnouncementReadiness {
            notified: 2,
            ready: vec![users[1]],
            early: vec![users[2]],
            without_position: vec![users[3], users[4]],
        };
        assert_eq!(readiness, expected);
    }

    /// Polls once, at this time, an announcement of change 10 that was queued at [`NOW`].
    fn poll(position: Option<u64>, waited_ms: u64) -> NextPoll {
        let mut progress = Progress::new(NOW);
        let queued = QueuedAnnouncement::new(Seq(10), NOW);
        assert_eq!(queued.seq(), Seq(10));
        let first = queued.next_poll(&mut progress, position.map(Seq), NOW);
        if waited_ms == 0 { first } else { queued.next_poll(&mut progress, position.map(Seq), NOW.plus(waited_ms)) }
    }

    #[test]
    fn waiting_ends_when_the_change_before_was_announced_or_this_one() {
        assert_eq!(poll(Some(9), 0), NextPoll::Done(WaitOutcome::Ready));
        assert_eq!(poll(Some(10), 0), NextPoll::Done(WaitOutcome::Passed));
        assert_eq!(poll(Some(12), 0), NextPoll::Done(WaitOutcome::Passed));
        assert_eq!(poll(None, 0), NextPoll::Done(WaitOutcome::Stalled));
    }

    #[test]
    fn the_pause_grows_with_the_number_of_earlier_announcements() {
        assert_eq!(poll(Some(8), 0), NextPoll::After(ANNOUNCEMENT_POLL_MS));
        assert_eq!(poll(Some(6), 0), NextPoll::After(3 * ANNOUNCEMENT_POLL_MS));
        let far = QueuedAnnouncement::new(Seq(100_000), NOW).next_poll(&mut Progress::new(NOW), Some(Seq(1)), NOW);
        assert_eq!(far, NextPoll::After(ANNOUNCEMENT_POLL_MS_MAX));
    }

    #[test]
    fn an_announcement_before_that_makes_no_progress_is_taken_to_have_crashed() {
        assert!(matches!(poll(Some(8), ANNOUNCEMENT_STALL_MS - 1), NextPoll::After(_)));
        assert_eq!(poll(Some(8), ANNOUNCEMENT_STALL_MS), NextPoll::Done(WaitOutcome::Stalled));
        assert!(matches!(poll(Some(6), 3 * ANNOUNCEMENT_STALL_MS - 1), NextPoll::After(_)), "three are before");
        assert_eq!(poll(Some(6), 3 * ANNOUNCEMENT_STALL_MS), NextPoll::Done(WaitOutcome::Stalled));
    }

    #[test]
    fn progress_restarts_the_stall_time_and_the_deadline_ends_waiting() {
        let queued = QueuedAnnouncement::new(Seq(40), NOW);
        let mut progress = Progress::new(NOW);
        let mut poll = |position, waited_ms| queued.next_poll(&mut progress, Some(Seq(position)), NOW.plus(waited_ms));
        assert!(matches!(poll(37, 0), NextPoll::After(_)));
        assert!(matches!(poll(38, 2 * ANNOUNCEMENT_STALL_MS - 1), NextPoll::After(_)));
        assert!(matches!(poll(38, 3 * ANNOUNCEMENT_STALL_MS - 2), NextPoll::After(_)), "counted since it moved");
        assert_eq!(poll(38, 3 * ANNOUNCEMENT_STALL_MS - 1), NextPoll::Done(WaitOutcome::Stalled));
        let mut progress = Progress::new(NOW);
        let mut far = |waited_ms| queued.next_poll(&mut progress, Some(Seq(1)), NOW.plus(waited_ms));
        assert!(matches!(far(ANNOUNCEMENT_WAIT_MS_MAX - 1), NextPoll::After(_)));
        assert_eq!(far(ANNOUNCEMENT_WAIT_MS_MAX), NextPoll::Done(WaitOutcome::TimedOut));
    }
}
