//! A crowd: simulated riders and drivers. Knows the protocol and nothing else.

pub mod checker;
pub mod city;
mod clock;
pub mod report;
mod table;
pub mod trips;
pub use table::TableError;
