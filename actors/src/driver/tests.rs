//! The laws of a driver.
