//! What the coordinator and the executors must agree on when a query runs on executors.
//!
//! | module | agreement |
//! |---|---|
//! | [`clients`] | connections to the shuffle services |
//! | [`codec`] | how plan nodes travel |
//! | [`eligibility`] | which plans may travel at all |
//! | [`profile`] | the session settings under which Ballista plans and runs stages |
//! | [`pulse`] | what an executor tells about itself, again and again |
//! | [`registry`] | the functions and settings that an executor knows |
//! | [`streamed`] | stages that hand each other rows as they come |
//! | [`transport`] | connections of the cluster port: limits, timeouts, TLS, in one place |
//! | [`wire`] | what our processes say to each other beyond Ballista's messages |
//!
//! This module knows no sockets and no scheduling: those belong to the coordinator and the executor.

pub mod clients;
pub mod codec;
pub mod eligibility;
pub mod profile;
pub mod pulse;
pub mod registry;
pub mod streamed;
pub mod transport;
pub mod wire;

/// The version that coordinator and executors compare when an executor joins.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
