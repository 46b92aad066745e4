//! Documents as files for people and other systems: bytes in, bytes out, the same for the same document.

pub mod amount;
pub mod csv;
pub mod pdf;

mod canvas;
