//! Speaks Outrider's session protocol: one socket for a whole shift, resumed after every tunnel.
//!
//! ```text
//!   app ──► Client ── handles: command, position, follow, pushes, state
//!              │ a task
//!             Link ── the socket: opens, reads, writes
//!              │ no task, no clock of its own
//!             Core ── what to do about what is heard; plain data
//! ```
//!
//! An app takes [`Client`]. Whoever drives thousands of clients, or wants to hear every frame, takes
//! [`Link`]. What is promised, and examples: the crate's README.

mod client;
mod core;
mod follow;
mod kept;
mod link;
mod socket;
mod token;

pub use client::{Builder, Client, Kept, NotBuilt, NotDone, Pushes};
pub use core::{
    Act, Answer, Core, Event, Habits, NotOpened, NotTaken, PushId, State, Why, is_passing,
};
pub use follow::{Change, Following, View};
pub use kept::{JsonLines, Keep};
pub use link::{Link, Target};
pub use protocol;
pub use socket::{Address, Dial, NoAddress};
pub use token::{Asking, NoToken, Tokens};

/// The examples of the README are compiled with the tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
pub struct Readme;
