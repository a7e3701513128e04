//! One process, told in the order it happens: settings, telemetry, journal, actors, gateway, drain.

mod asyncapi;
mod auth;
mod bench;
mod check;
mod cli;
mod cluster;
mod demo;
mod gateway;
mod history;
mod journal;
mod node;
mod plan;
mod remote;
mod resident;
mod sessions;
mod settings;
mod telemetry;
mod transfer;

use clap::Parser;
use std::{
    io::{self, Write},
    process::ExitCode,
};

/// Messages are made on one thread and freed on another; the C library's own takes a lock for that.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[tokio::main]
async fn main() -> ExitCode {
    // Kept on the heap: it holds whatever a command holds.
    match Box::pin(cli::Cli::parse().run()).await {
        Ok(code) => code,
        Err(error) => {
            // Standard error may be closed, and then nobody is listening.
            drop(writeln!(io::stderr(), "outrider: {error}"));
            ExitCode::FAILURE
        }
    }
}
