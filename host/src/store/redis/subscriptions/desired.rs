//! Who should be subscribed at one server, who is, and who waits to be told. Pure bookkeeping; `line` does the work.

use std::collections::{HashMap, HashSet, VecDeque};

use roost_core::ids::UserId;
use tokio::sync::oneshot;

/// Why a subscription was not made at this server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// Another server leads the slot.
    Moved,
    /// The server says no.
    Failed,
}

pub(super) type Told = oneshot::Sender<Result<(), Refusal>>;

#[derive(Debug, Default)]
struct Standing {
    is_wanted: bool,
    is_subscribed: bool,
    waiting: Vec<Told>,
}

impl Standing {
    fn tell(&mut self, result: Result<(), Refusal>) {
        for told in self.waiting.drain(..) {
            // Whoever waited may have given up.
            let _ = told.send(result);
        }
    }
}

/// One command to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Join(UserId),
    Leave(UserId),
}

/// What is to be done.
#[derive(Debug, Default)]
pub(super) struct Wanted {
    users: HashMap<UserId, Standing>,
    /// Whose standing may differ from what is wanted.
    changed: VecDeque<UserId>,
    /// Whose end the server is about to confirm.
    leaving: HashSet<UserId>,
}

impl Wanted {
    pub(super) fn join(&mut self, user: UserId, told: Told) {
        let standing = self.users.entry(user).or_default();
        standing.is_wanted = true;
        standing.waiting.push(told);
        self.changed.push_back(user);
    }

    pub(super) fn leave(&mut self, user: UserId) {
        if let Some(standing) = self.users.get_mut(&user) {
            standing.is_wanted = false;
            self.changed.push_back(user);
        }
    }

    pub(super) fn is_idle(&self) -> bool {
        self.users.is_empty()
    }

    /// The connection is a new one: nobody is subscribed. Answers how many are to be.
    pub(super) fn begin_anew(&mut self) -> usize {
        self.leaving.clear();
        self.users.retain(|_, standing| standing.is_wanted);
        self.users.values_mut().for_each(|standing| standing.is_subscribed = false);
        self.changed = self.users.keys().copied().collect();
        self.changed.len()
    }

    /// The next steps, at most so many.
    pub(super) fn next(&mut self, most: usize) -> Vec<Step> {
        let mut steps = Vec::new();
        let mut taken = HashSet::new();
        while steps.len() < most
            && let Some(user) = self.changed.pop_front()
        {
            let Some(standing) = self.users.get_mut(&user) else { continue };
            match (standing.is_wanted, standing.is_subscribed) {
                _ if taken.contains(&user) => {}
                (true, false) => steps.push(Step::Join(user)),
                (false, true) => {
                    self.leaving.insert(user);
                    steps.push(Step::Leave(user));
                }
                (true, true) => standing.tell(Ok(())),
                (false, false) => drop(self.users.remove(&user)),
            }
            taken.insert(user);
        }
        steps
    }

    /// A step was confirmed, or refused.
    pub(super) fn done(&mut self, step: Step, result: Result<(), Refusal>) {
        let (Step::Join(user) | Step::Leave(user)) = step;
        self.leaving.remove(&user);
        let Some(standing) = self.users.get_mut(&user) else { return };
        match (step, result) {
            (Step::Join(_), Ok(())) => standing.is_subscribed = true,
            (Step::Leave(_), _) => standing.is_subscribed = false,
            (Step::Join(_), Err(_)) => standing.is_wanted = false,
        }
        if matches!(step, Step::Join(_)) {
            standing.tell(result);
        }
        // Whatever was asked meanwhile stands in the queue; somebody unwanted is forgotten by the next look.
        if standing.is_wanted != standing.is_subscribed || !standing.is_wanted {
            self.changed.push_back(user);
        }
    }

    /// The server ended a subscription that nobody gave up.
    pub(super) fn is_lost(&self, user: UserId) -> bool {
        let is_subscribed = self.users.get(&user).is_some_and(|standing| standing.is_subscribed);
        is_subscribed && !self.leaving.contains(&user)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(number: u128) -> UserId {
        UserId::from_u128(number)
    }

    #[test]
    fn a_join_is_told_when_it_is_confirmed() {
        let mut wanted = Wanted::default();
        let (told, mut heard) = oneshot::channel();
        wanted.join(user(1), told);
        assert_eq!(wanted.next(9), [Step::Join(user(1))]);
        assert!(heard.try_recv().is_err());
        wanted.done(Step::Join(user(1)), Ok(()));
        assert_eq!(heard.try_recv(), Ok(Ok(())));
        assert_eq!(wanted.next(9), []);
    }

    #[test]
    fn who_leaves_and_joins_again_while_a_step_is_under_way_ends_up_joined() {
        let mut wanted = Wanted::default();
        wanted.join(user(1), oneshot::channel().0);
        assert_eq!(wanted.next(9).len(), 1);
        wanted.leave(user(1));
        wanted.done(Step::Join(user(1)), Ok(()));
        assert_eq!(wanted.next(9), [Step::Leave(user(1))]);
        let (told, mut heard) = oneshot::channel();
        wanted.join(user(1), told);
        assert!(!wanted.is_lost(user(1)), "its end was asked for");
        wanted.done(Step::Leave(user(1)), Ok(()));
        assert_eq!(wanted.next(9), [Step::Join(user(1))]);
        wanted.done(Step::Join(user(1)), Ok(()));
        assert_eq!(heard.try_recv(), Ok(Ok(())));
    }

    #[test]
    fn a_new_connection_subscribes_everybody_who_is_wanted() {
        let mut wanted = Wanted::default();
        for number in 1..=3 {
            wanted.join(user(number), oneshot::channel().0);
        }
        for step in wanted.next(9) {
            wanted.done(step, Ok(()));
        }
        wanted.leave(user(2));
        wanted.begin_anew();
        let mut steps = wanted.next(9);
        steps.sort_by_key(|step| match step {
            Step::Join(user) | Step::Leave(user) => *user,
        });
        assert_eq!(steps, [Step::Join(user(1)), Step::Join(user(3))]);
    }

    #[test]
    fn nobody_is_remembered_after_leaving() {
        let mut wanted = Wanted::default();
        wanted.join(user(1), oneshot::channel().0);
        wanted.next(9).into_iter().for_each(|step| wanted.done(step, Ok(())));
        wanted.leave(user(1));
        for _ in 0..3 {
            wanted.next(9).into_iter().for_each(|step| wanted.done(step, Ok(())));
        }
        assert!(wanted.is_idle());
    }
}
