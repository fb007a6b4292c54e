//! The rules of messaging: what a message may be, when an announcement may be made, who is told that messages were
//! read, and which pending announcements are made together. They decide from plain values and do no IO.

pub(super) mod announcement_queue;
pub(super) mod erasing;
pub(super) mod reading;
pub(super) mod recovery;
pub(super) mod validation;
