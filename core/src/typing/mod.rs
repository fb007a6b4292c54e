//! Somebody is typing: the other members hear it if they listen now. Nothing is stored.

mod rules;
mod use_cases;

pub use use_cases::typing;

#[cfg(test)]
mod tests;
