//! The twenty cases that every release must get right (CONTRACTS section 9), each worked out by hand where it stands.

#[path = "cases/eleven_to_twenty.rs"]
mod eleven_to_twenty;
#[path = "cases/one_to_ten.rs"]
mod one_to_ten;
#[path = "cases/play.rs"]
mod play;
