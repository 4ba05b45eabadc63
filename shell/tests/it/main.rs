//! The shell against a server that answers a handful of statements.

#![expect(clippy::expect_used, reason = "a test fails by panicking")]

mod interrupts;
mod server;
mod sessions;
mod streams;
