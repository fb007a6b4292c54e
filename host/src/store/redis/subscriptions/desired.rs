//! The desired subscriptions at one server, the confirmed ones, and the commands that make the two equal.
//!
//! This file only keeps the books; `connection` sends the commands.

use std::collections::{HashMap, HashSet, VecDeque};

use roost_core::ids::UserId;
use tokio::sync::oneshot;

/// Why a server did not confirm a subscription.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SubscribeError {
    /// Another server leads the slot.
    Moved,
    /// The server refused the command.
    Refused,
}

/// Receives the result of a subscription.
pub(super) type SubscriptionConfirmation = oneshot::Sender<Result<(), SubscribeError>>;

#[derive(Debug, Default)]
struct ChannelState {
    is_desired: bool,
    is_subscribed: bool,
    /// The subscription was lost with its connection, so events may have been missed.
    was_interrupted: bool,
    waiting: Vec<SubscriptionConfirmation>,
}

impl ChannelState {
    fn confirm(&mut self, result: Result<(), SubscribeError>) {
        for confirmation in self.waiting.drain(..) {
            // Nobody receives it if the caller no longer waits.
            let _ = confirmation.send(result);
        }
    }
}

/// A command to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ChannelCommand {
    Subscribe(UserId),
    Unsubscribe(UserId),
}

/// The subscriptions that one server should have, and those that it has.
#[derive(Debug, Default)]
pub(super) struct DesiredSubscriptions {
    channels: HashMap<UserId, ChannelState>,
    /// The users whose subscription may differ from the desired one.
    changed: VecDeque<UserId>,
    /// The users whose `Unsubscribe` was sent and is not confirmed.
    unsubscribing: HashSet<UserId>,
}

impl DesiredSubscriptions {
    pub(super) fn subscribe(&mut self, user: UserId, confirmation: SubscriptionConfirmation) {
        let channel = self.channels.entry(user).or_default();
        channel.is_desired = true;
        channel.waiting.push(confirmation);
        self.changed.push_back(user);
    }

    pub(super) fn unsubscribe(&mut self, user: UserId) {
        if let Some(channel) = self.channels.get_mut(&user) {
            channel.is_desired = false;
            self.changed.push_back(user);
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.channels.is_empty()
    }

    /// Starts over on a new connection, which has no subscriptions. Returns how many are desired.
    pub(super) fn start_over(&mut self) -> usize {
        self.unsubscribing.clear();
        self.channels.retain(|_, channel| channel.is_desired);
        for channel in self.channels.values_mut() {
            channel.was_interrupted |= channel.is_subscribed;
            channel.is_subscribed = false;
        }
        self.changed = self.channels.keys().copied().collect();
        self.changed.len()
    }

    /// The users whose subscription is confirmed and still desired here.
    pub(super) fn subscribed(&self) -> Vec<UserId> {
        let subscribed = self.channels.iter().filter(|(_, channel)| channel.is_desired && channel.is_subscribed);
        subscribed.map(|(user, _)| *user).collect()
    }

    /// The users whose subscription was lost and is confirmed again. Each is returned once.
    pub(super) fn take_resumed(&mut self) -> Vec<UserId> {
        let resumed = self.channels.iter_mut().filter(|(_, channel)| channel.was_interrupted && channel.is_subscribed);
        resumed
            .map(|(user, channel)| {
                channel.was_interrupted = false;
                *user
            })
            .collect()
    }

    /// The next commands to send, at most `max`.
    pub(super) fn next_commands(&mut self, max: usize) -> Vec<ChannelCommand> {
        let mut commands = Vec::new();
        let mut visited = HashSet::new();
        while commands.len() < max
            && let Some(user) = self.changed.pop_front()
        {
            let Some(channel) = self.channels.get_mut(&user) else { continue };
            match (channel.is_desired, channel.is_subscribed) {
                _ if visited.contains(&user) => {}
                (true, false) => commands.push(ChannelCommand::Subscribe(user)),
                (false, true) => {
                    self.unsubscribing.insert(user);
                    commands.push(ChannelCommand::Unsubscribe(user));
                }
                (true, true) => channel.confirm(Ok(())),
                (false, false) => drop(self.channels.remove(&user)),
            }
            visited.insert(user);
        }
        commands
    }

    /// Takes the server's answer to a command.
    pub(super) fn answered(&mut self, command: ChannelCommand, result: Result<(), SubscribeError>) {
        let (ChannelCommand::Subscribe(user) | ChannelCommand::Unsubscribe(user)) = command;
        self.unsubscribing.remove(&user);
        let Some(channel) = self.channels.get_mut(&user) else { return };
        match (command, result) {
            (ChannelCommand::Subscribe(_), Ok(())) => channel.is_subscribed = true,
            (ChannelCommand::Subscribe(_), Err(_)) => channel.is_desired = false,
            (ChannelCommand::Unsubscribe(_), _) => channel.is_subscribed = false,
        }
        if matches!(command, ChannelCommand::Subscribe(_)) {
            channel.confirm(result);
        }
        // A channel that is neither desired nor subscribed is removed when its turn in the queue comes.
        if channel.is_desired != channel.is_subscribed || !channel.is_desired {
            self.changed.push_back(user);
        }
    }

    /// Whether the end of this user's subscription was not asked for, so that the server must have ended it.
    pub(super) fn is_unexpected_end(&self, user: UserId) -> bool {
        let is_subscribed = self.channels.get(&user).is_some_and(|channel| channel.is_subscribed);
        is_subscribed && !self.unsubscribing.contains(&user)
    }
}

#[cfg(test)]
mod tests {
    use super::ChannelCommand::{Subscribe, Unsubscribe};
    use super::*;

    fn user(number: u128) -> UserId {
        UserId::from_u128(number)
    }

    #[test]
    fn a_subscription_is_confirmed_when_the_server_answers() {
        let mut desired = DesiredSubscriptions::default();
        let (confirmation, mut confirmed) = oneshot::channel();
        desired.subscribe(user(1), confirmation);
        assert_eq!(desired.next_commands(9), [Subscribe(user(1))]);
        assert!(confirmed.try_recv().is_err());
        desired.answered(Subscribe(user(1)), Ok(()));
        assert_eq!(confirmed.try_recv(), Ok(Ok(())));
        assert_eq!(desired.next_commands(9), []);
    }

    /// Such a user has a subscription at another server, which a loss at this one does not concern.
    #[test]
    fn a_user_who_leaves_is_not_subscribed_although_the_server_has_not_answered() {
        let mut desired = DesiredSubscriptions::default();
        desired.subscribe(user(1), oneshot::channel().0);
        desired.next_commands(9);
        desired.answered(Subscribe(user(1)), Ok(()));
        assert_eq!(desired.subscribed(), [user(1)]);
        desired.unsubscribe(user(1));
        assert_eq!(desired.next_commands(9), [Unsubscribe(user(1))]);
        assert_eq!(desired.subscribed(), []);
    }

    #[test]
    fn a_user_who_leaves_and_joins_again_before_the_answer_ends_up_subscribed() {
        let mut desired = DesiredSubscriptions::default();
        desired.subscribe(user(1), oneshot::channel().0);
        assert_eq!(desired.next_commands(9).len(), 1);
        desired.unsubscribe(user(1));
        desired.answered(Subscribe(user(1)), Ok(()));
        assert_eq!(desired.next_commands(9), [Unsubscribe(user(1))]);
        let (confirmation, mut confirmed) = oneshot::channel();
        desired.subscribe(user(1), confirmation);
        assert!(!desired.is_unexpected_end(user(1)), "its end was asked for");
        desired.answered(Unsubscribe(user(1)), Ok(()));
        assert_eq!(desired.next_commands(9), [Subscribe(user(1))]);
        desired.answered(Subscribe(user(1)), Ok(()));
        assert_eq!(confirmed.try_recv(), Ok(Ok(())));
    }

    #[test]
    fn a_new_connection_subscribes_every_desired_channel() {
        let mut desired = DesiredSubscriptions::default();
        for number in 1..=3 {
            desired.subscribe(user(number), oneshot::channel().0);
        }
        for command in desired.next_commands(9) {
            desired.answered(command, Ok(()));
        }
        desired.unsubscribe(user(2));
        desired.start_over();
        let mut commands = desired.next_commands(9);
        commands.sort_by_key(|command| match command {
            Subscribe(user) | Unsubscribe(user) => *user,
        });
        assert_eq!(commands, [Subscribe(user(1)), Subscribe(user(3))]);
    }

    #[test]
    fn only_users_whose_subscription_was_lost_were_interrupted() {
        let mut desired = DesiredSubscriptions::default();
        let confirm_all = |desired: &mut DesiredSubscriptions| {
            desired.next_commands(9).into_iter().for_each(|command| desired.answered(command, Ok(())));
        };
        desired.subscribe(user(1), oneshot::channel().0);
        desired.start_over();
        confirm_all(&mut desired);
        assert_eq!((desired.take_resumed(), desired.subscribed()), (vec![], vec![user(1)]), "the first connection");
        desired.subscribe(user(2), oneshot::channel().0);
        // The connection is lost, and so is the next one, before anybody is subscribed again.
        desired.start_over();
        desired.start_over();
        assert_eq!(desired.take_resumed(), [], "not confirmed yet");
        confirm_all(&mut desired);
        assert_eq!(desired.take_resumed(), [user(1)]);
        assert_eq!(desired.take_resumed(), []);
    }

    #[test]
    fn no_user_is_remembered_after_leaving() {
        let mut desired = DesiredSubscriptions::default();
        desired.subscribe(user(1), oneshot::channel().0);
        desired.next_commands(9).into_iter().for_each(|command| desired.answered(command, Ok(())));
        desired.unsubscribe(user(1));
        for _ in 0..3 {
            desired.next_commands(9).into_iter().for_each(|command| desired.answered(command, Ok(())));
        }
        assert!(desired.is_empty());
    }
}
