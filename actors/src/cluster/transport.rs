//! How bytes get from node to node: quickly, in order, and perhaps not at all.

use super::Incarnation;
use std::fmt::Debug;
use tokio::sync::{mpsc, watch};

/// Most bytes of one message.
pub const MESSAGE_BYTES_MAX: usize = 512 * 1024;

/// What a transport brings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Incoming {
    /// A message from another node.
    Message(Vec<u8>),
    /// Nobody listens under that incarnation (any more, or yet).
    Unheard(Incarnation),
}

/// A message was not sent: too much waits already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Full;

/// A node's connection to the others. Messages from one node to another arrive in the order they were
/// sent, or not at all; a message may also arrive twice.
pub trait Transport: Debug + Send + Sync + 'static {
    /// Sends to one node. Never waits.
    fn send(&self, to: Incarnation, message: Vec<u8>) -> Result<(), Full>;

    /// Listens under the name of an incarnation, from now on. What arrives goes to `to`; what it has no
    /// room for is lost.
    fn listen(&self, me: Incarnation, to: mpsc::Sender<Incoming>);

    /// Is it connected?
    fn is_connected(&self) -> watch::Receiver<bool>;
}
