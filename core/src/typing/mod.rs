//! Typing: tells the other members of a conversation that a member is typing. Only members who are connected receive
//! it; nothing is stored.

mod rules;
mod use_cases;

pub use use_cases::typing;

#[cfg(test)]
mod tests;
