//! The laws of a rescue.
