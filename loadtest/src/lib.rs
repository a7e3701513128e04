//! A crowd: simulated riders and drivers. Knows the protocol and nothing else.

pub mod city;
mod table;
pub mod trips;
pub use table::TableError;
