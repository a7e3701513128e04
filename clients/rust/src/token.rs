//! Where a client gets its tokens.

use std::{future::Future, pin::Pin};
use thiserror::Error;

/// A token could not be had.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("no token: {0}")]
pub struct NoToken(pub String);

/// A token, in a while.
pub type Asking = Pin<Box<dyn Future<Output = Result<String, NoToken>> + Send>>;

/// Who gives bearer tokens: asked for the first one, when one was refused, and shortly before one ends. An
/// async closure is one, and so is a `String` that is good for as long as the app lives.
pub trait Tokens: Send + Sync + 'static {
    /// A token that is good from now on.
    fn token(&self) -> Asking;
}

impl<F, T> Tokens for F
where
    F: Fn() -> T + Send + Sync + 'static,
    T: Future<Output = Result<String, NoToken>> + Send + 'static,
{
    fn token(&self) -> Asking {
        Box::pin(self())
    }
}

impl Tokens for String {
    fn token(&self) -> Asking {
        Box::pin(std::future::ready(Ok(self.clone())))
    }
}
