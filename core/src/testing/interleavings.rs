//! Every order in which the steps of several tasks can be interleaved, up to a number of switches between them.

use std::task::{Context, Poll, Waker};

use super::BoxFuture;

/// After this number of choices the tasks alternate, if switches are left, so that a task that waits for another one
/// does not wait for ever. After the last switch such a task must give up by itself.
const CHOICES_MAX: usize = 24;

/// Enumerates the orders in which the steps of tasks can be interleaved with a limited number of switches. Without a
/// limit there are millions of orders. A step ends where a task yields. An order is a list of choices: switch to the
/// next task, or continue.
#[derive(Debug)]
pub struct Interleavings {
    switches_max: usize,
    choices: Vec<bool>,
    next: usize,
}

impl Default for Interleavings {
    /// At most three switches.
    fn default() -> Self {
        Self::with_switches(3)
    }
}

impl Interleavings {
    /// At most so many switches.
    pub const fn with_switches(switches_max: usize) -> Self {
        Self { switches_max, choices: Vec::new(), next: 0 }
    }

    /// The choices of the present order, for the message of a failed test.
    pub fn choices(&self) -> &[bool] {
        &self.choices
    }

    /// Runs the tasks to their ends in the present order, and calls `after_step` after every step. The outputs are in
    /// the order in which the tasks end.
    pub fn run<T>(&mut self, mut tasks: Vec<BoxFuture<'_, T>>, mut after_step: impl FnMut()) -> Vec<T> {
        let mut context = Context::from_waker(Waker::noop());
        let (mut current, mut outputs) = (0, Vec::new());
        while !tasks.is_empty() {
            if tasks.len() > 1 && self.choose() {
                current = (current + 1) % tasks.len();
            }
            if let Poll::Ready(output) = tasks[current].as_mut().poll(&mut context) {
                outputs.push(output);
                drop(tasks.remove(current));
                current = 0;
            }
            after_step();
        }
        outputs
    }

    /// Selects the next order. Returns whether there is one.
    pub fn advance(&mut self) -> bool {
        self.next = 0;
        while self.choices.last() == Some(&true) {
            self.choices.pop();
        }
        self.choices.last_mut().is_some_and(|last| {
            *last = true;
            true
        })
    }

    /// Whether to switch now.
    fn choose(&mut self) -> bool {
        if self.next == CHOICES_MAX {
            return true;
        }
        let made = &self.choices[..self.next];
        if made.iter().filter(|switched| **switched).count() == self.switches_max {
            return false;
        }
        if self.next == self.choices.len() {
            self.choices.push(false);
        }
        self.next += 1;
        self.choices[self.next - 1]
    }
}
