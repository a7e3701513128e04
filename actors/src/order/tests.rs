//! What an order promises.
