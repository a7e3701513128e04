//! What can be asked of the process on the command line.

use crate::{
    asyncapi,
    auth::{
        KeyError, Keys, may_have_fleet, principal_of,
        scope::{Asker, NoScope, Scope},
        token_id,
    },
    bench::{self, BenchArgs},
    check::{self, Check},
    cluster::{self, ClusterArgs},
    demo::{self, DemoArgs},
    gateway::{
        self, Extra,
        revocations::{Revoke, Revoked},
    },
    history::{self, HistoryArgs},
    journal::{self, OpenError},
    node::{Node, NodeError, Over, now},
    plan::{self, PlanArgs},
    remote::Remote,
    sessions::{self, SessionsArgs},
    settings::{JournalKind, Settings, SettingsError},
    telemetry::{self, TelemetryError},
    transfer::{self, ExportArgs, ImportArgs},
};
use clap::{Args, Parser, Subcommand};
use protocol::{PartnerId, Role};
use std::{
    error::Error,
    io::{self, Write},
    net::SocketAddr,
    path::PathBuf,
    process::ExitCode,
    time::Duration,
};
use thiserror::Error;
use tokio::signal::unix::{SignalKind, signal};
use tracing::info;

/// Realtime dispatch: rides, deliveries and rescues as supervised actors.
#[derive(Debug, Parser)]
#[command(version, about)]
pub(crate) struct Cli {
    /// A file of settings; see config/default.toml for every key.
    #[arg(long, global = true, env = "OUTRIDER_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs a node until it is told to leave (SIGTERM or SIGINT).
    Serve(ServeArgs),
    /// Brings the schema of a journal in Postgres up to date.
    Migrate,
    /// Runs a node and the city that keeps it busy, to be looked at.
    Demo(DemoArgs),
    /// Measures what this machine makes of Outrider.
    Bench(BenchArgs),
    /// Mints a token that this node's key has signed, for development; or revokes tokens.
    Token(TokenArgs),
    /// Prints the OpenAPI document of the REST API.
    Openapi,
    /// Prints the AsyncAPI document of the session protocol.
    Asyncapi,
    /// Proves that something is sound.
    #[command(subcommand)]
    Check(Check),
    /// Writes the whole journal to a file. A node with an embedded journal must not be running.
    Export(ExportArgs),
    /// Writes an exported file to an empty journal, then checks it.
    Import(ImportArgs),
    /// Prints what happened to one entity, as JSON lines. A node with an embedded journal must not be running.
    History(HistoryArgs),
    /// Asks a running node about its cluster, or changes who serves what.
    Cluster(ClusterArgs),
    /// Prints who is connected to a running node and its cluster; or what one of them hears and says.
    Sessions(SessionsArgs),
    /// Lets a running node plan routes: which vehicle serves which jobs, in which order and when.
    #[command(after_help = plan::BY_EXAMPLE)]
    Plan(PlanArgs),
}

#[derive(Debug, Args)]
struct ServeArgs {
    /// What keeps the journal, whatever the settings say.
    #[arg(long, value_enum, value_name = "KIND")]
    store: Option<JournalKind>,
}

#[derive(Debug, Args)]
#[command(subcommand_negates_reqs = true, args_conflicts_with_subcommands = true)]
struct TokenArgs {
    #[command(subcommand)]
    command: Option<TokenCommand>,
    /// rider, driver, merchant, dispatcher or admin.
    #[arg(long, value_parser = role, required = true)]
    role: Option<Role>,
    /// Whose, in display form: `driver-` and any 32 hexadecimal digits. Not needed for dispatchers and admins.
    #[arg(long, default_value = "")]
    id: String,
    /// Of which region a dispatcher is told, and in which it acts: `zone-` and the H3 index of a cell, with zeros before it, of
    /// resolution 0 to 9. May be said up to 64 times; everywhere, if it is not.
    #[arg(long = "region", value_name = "ZONE")]
    regions: Vec<String>,
    /// Whose drivers a rider's or a merchant's orders may be offered to before others: `partner-` and 32 hexadecimal digits.
    #[arg(long, value_name = "PARTNER")]
    fleet: Option<String>,
    /// How long it is good for.
    #[arg(long, default_value = "12h", value_parser = humantime::parse_duration)]
    ttl: Duration,
}

#[derive(Debug, Subcommand)]
enum TokenCommand {
    /// Tells a running node that tokens are good no longer, on every node.
    Revoke(RevokeArgs),
}

#[derive(Debug, Args)]
struct RevokeArgs {
    /// One token: itself, or its `jti`.
    #[arg(long, required_unless_present = "principal", conflicts_with = "principal")]
    token: Option<String>,
    /// All that were issued until now to somebody: rider-…, driver-…, merchant-…; or to all who have a role:
    /// dispatcher, admin.
    #[arg(long)]
    principal: Option<String>,
    /// Why, for whoever reads it later.
    #[arg(long)]
    reason: String,
    /// Where a node's gateway is; the one of the settings, if absent.
    #[arg(long, value_name = "URL", env = "OUTRIDER_AT")]
    at: Option<String>,
}

/// Why the process ends badly.
#[derive(Debug, Error)]
pub(crate) enum CliError {
    #[error(transparent)]
    Settings(#[from] SettingsError),
    #[error(transparent)]
    Telemetry(#[from] TelemetryError),
    #[error(transparent)]
    Node(#[from] NodeError),
    #[error(transparent)]
    Journal(#[from] OpenError),
    #[error(transparent)]
    Key(#[from] KeyError),
    #[error(
        "--id: no {role} is called {id:?}; ids look like {role}-0192f3c8…, 32 hexadecimal digits"
    )]
    NoPrincipal { role: Role, id: String },
    #[error("--region: only dispatchers are of regions, no {0} is")]
    NoRegions(Role),
    #[error("--region: {0}")]
    Regions(#[from] NoScope),
    #[error("--fleet: only riders and merchants order by one, no {0} does")]
    NoFleet(Role),
    #[error("--fleet: {0:?} is no partner, such as partner-0192f3c8…, 32 hexadecimal digits")]
    Fleet(String),
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error(transparent)]
    Json(#[from] serde_json::Error),
    #[error("a demo hands out dispatchers' tokens, so it listens on the loopback only, not on {0}")]
    DemoInPublic(SocketAddr),
    #[error(transparent)]
    Crowd(#[from] loadtest::PrepareError),
    #[error(transparent)]
    Target(#[from] loadtest::NoTarget),
    #[error("bench: {0}")]
    Bench(Box<dyn Error>),
    #[error("check: {0}")]
    Check(Box<dyn Error>),
    #[error("export: {0}")]
    Export(Box<dyn Error>),
    #[error("import: {0}")]
    Import(Box<dyn Error>),
    #[error("history: {0}")]
    History(Box<dyn Error>),
    #[error("cluster: {0}")]
    Cluster(Box<dyn Error>),
    #[error("sessions: {0}")]
    Sessions(Box<dyn Error>),
    #[error("plan: {0}")]
    Plan(Box<dyn Error>),
    #[error("revoke: {0}")]
    Revoke(Box<dyn Error>),
    #[error(
        "the other nodes have declared this one dead and taken over; start it again, unless another node of its \
         name has joined: names must differ"
    )]
    Expelled,
}

impl Cli {
    /// Does what was asked, and says what the process should exit with.
    pub(crate) async fn run(self) -> Result<ExitCode, CliError> {
        let store = if let Command::Serve(args) = &self.command { args.store } else { None };
        let settings = Settings::read(self.config.as_deref(), store)?;
        match self.command {
            Command::Serve(_) => serve(settings).await?,
            Command::Migrate => {
                let (before, after) = journal::migrate(&settings.journal).await?;
                say(&match before == after {
                    true => format!("the journal's schema is at version {after} already"),
                    false => format!("the journal's schema went from version {before} to {after}"),
                })?;
            }
            Command::Demo(args) => {
                return Ok(Box::pin(demo::run(settings, args)).await?.exit_code().into());
            }
            Command::Bench(args) => {
                bench::run(settings, args).await.map_err(|fault| CliError::Bench(fault))?;
            }
            Command::Token(TokenArgs { command: Some(TokenCommand::Revoke(args)), .. }) => {
                Box::pin(revoke(&settings, args)).await.map_err(CliError::Revoke)?;
            }
            Command::Token(args) => token(&settings, &args)?,
            Command::Check(what) => {
                let is_sound = check::run(&settings, &what).await.map_err(CliError::Check)?;
                return Ok(exit_code(is_sound));
            }
            Command::Export(args) => {
                transfer::export(&settings, &args).await.map_err(CliError::Export)?;
            }
            Command::Import(args) => {
                let is_sound =
                    transfer::import(&settings, &args).await.map_err(CliError::Import)?;
                return Ok(exit_code(is_sound));
            }
            Command::History(args) => {
                history::run(&settings, &args).await.map_err(CliError::History)?;
            }
            Command::Cluster(args) => {
                cluster::run(&settings, &args).await.map_err(CliError::Cluster)?;
            }
            Command::Sessions(args) => {
                Box::pin(sessions::run(&settings, &args)).await.map_err(CliError::Sessions)?;
            }
            Command::Plan(args) => {
                Box::pin(plan::run(&settings, &args)).await.map_err(CliError::Plan)?;
            }
            Command::Asyncapi => say(&serde_json::to_string_pretty(&asyncapi::document())?)?,
            Command::Openapi => say(&serde_json::to_string_pretty(&gateway::document())?)?,
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// What says in scripts whether a journal is sound.
fn exit_code(is_sound: bool) -> ExitCode {
    if is_sound { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// The life of a node: telemetry, then everything from the journal to the gateway, then down again.
async fn serve(settings: Settings) -> Result<(), CliError> {
    let metrics = telemetry::start(&settings.telemetry)?;
    let (mut terminate, mut interrupt) =
        (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    // It may wait for a database for as long as that is away.
    let node = tokio::select! {
        node = Node::start(settings, metrics, Extra::default()) => node?,
        _ = terminate.recv() => return Ok(()),
        _ = interrupt.recv() => return Ok(()),
    };
    say(&format!("outrider is at http://{}/", node.address()))?;
    tokio::select! {
        _ = terminate.recv() => info!("told to terminate"),
        _ = interrupt.recv() => info!("interrupted"),
        over = node.over() => match over {
            Over::Dismissed => info!("told to leave"),
            Over::Expelled => return Err(CliError::Expelled),
        },
    }
    node.drain().await;
    Ok(())
}

fn token(settings: &Settings, args: &TokenArgs) -> Result<(), CliError> {
    let TokenArgs { role, id, regions, fleet, ttl, .. } = args;
    let role = role.expect("required where nothing is revoked");
    let principal =
        principal_of(role, id).ok_or_else(|| CliError::NoPrincipal { role, id: id.clone() })?;
    let scope = match (regions.as_slice(), role) {
        ([], _) => Scope::default(),
        (regions, Role::Dispatcher) => Scope::of(regions)?,
        (_, role) => return Err(CliError::NoRegions(role)),
    };
    let fleet = match fleet {
        None => None,
        Some(_) if !may_have_fleet(role) => return Err(CliError::NoFleet(role)),
        Some(name) => {
            let fleet: PartnerId = name.parse().map_err(|_| CliError::Fleet(name.clone()))?;
            Some(Box::new(fleet))
        }
    };
    let keys = Keys::open(&settings.auth, settings.profile, &settings.journal.dir)?;
    say(&keys.mint_for(&Asker { who: principal, scope, fleet }, *ttl, now())?)
}

async fn revoke(settings: &Settings, args: RevokeArgs) -> Result<(), Box<dyn Error>> {
    let RevokeArgs { token, principal, reason, at } = args;
    // A whole token need not go anywhere to say which it is.
    let token = match token {
        Some(token) if token_id(&token).is_none() => {
            let keys = Keys::open(&settings.auth, settings.profile, &settings.journal.dir)?;
            let identity = keys.signed(&token, now()).ok_or(
                "--token: neither a jti (token-…, or a UUID) nor a token of this key that is still good",
            )?;
            let id = identity.token.ok_or_else(|| {
                format!("this token has no jti: revoke --principal {}", identity.principal)
            })?;
            Some(id.to_string())
        }
        token => token,
    };
    let remote = Remote::new(settings, at.as_deref())?;
    let told = remote.post("/admin/revocations", &Revoke { token, principal, reason }).await?;
    let Revoked { id, n_ended, n_nodes, n_told, .. } = told.json().await?;
    say(&format!("{id}: {n_ended} sessions ended; {n_told} of {n_nodes} nodes know"))?;
    Ok(())
}

fn role(text: &str) -> Result<Role, &'static str> {
    text.parse().map_err(|_| "there are rider, driver, merchant, dispatcher and admin")
}

/// Prints a line for whoever started the process; the log goes to standard error.
fn say(line: &str) -> Result<(), CliError> {
    Ok(writeln!(io::stdout().lock(), "{line}")?)
}
