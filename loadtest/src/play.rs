//! Scenarios on the command line: played, alone or with others, shown while they are, reported, and compared.

use crate::{CliError, INTERRUPTED, Show, dashboard::Dashboard, interruption, print, say};
use clap::{Args, builder::NonEmptyStringValueParser};
use loadtest::{
    CancellationToken, Glance, NoToken, Options, Reach, Record, Target, compare,
    connect::{self, Plan},
    nodes::{self, Nodes},
    page,
    record::{Holding, Seen},
    scenario::{Play, READY, Scenario},
    several::{self, Meeting},
    token,
};
use protocol::Principal;
use std::{
    cell::RefCell,
    fs,
    io::{self, IsTerminal, Write},
    net::SocketAddr,
    path::PathBuf,
    time::Duration,
};
use tokio::sync::mpsc;

#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    /// What to play: the name of one that is ready (`loadtest scenarios`), or a file.
    #[arg(long, value_name = "NAME|FILE", default_value = "smoke")]
    scenario: String,
    /// Set one of its keys: fleet.drivers=500. May be said again.
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// How many drivers: --set fleet.drivers=…
    #[arg(long, value_name = "N")]
    drivers: Option<usize>,
    /// How long riders ask, or sessions are held: --set lasts=… or sessions.hold=…
    #[arg(long = "for", value_name = "60s", value_parser = humantime::parse_duration)]
    lasting: Option<Duration>,
    /// How much quicker than life, such as 10x: --set speed=…
    #[arg(long, value_parser = crate::speed)]
    speed: Option<f64>,
    /// Repeats a crowd: --set seed=…
    #[arg(long)]
    seed: Option<u64>,
    /// Play it in so much less time, with as many who ask a second: --set compress=…
    #[arg(long, value_name = "TIMES")]
    compress: Option<f64>,
    #[command(flatten)]
    to: ToArgs,
    /// Processes whose memory is watched, or weighed.
    #[arg(long = "pid", value_delimiter = ',')]
    pids: Vec<u32>,
    #[command(flatten)]
    report: ReportArgs,
    /// Lead generators that join here, instead of playing it alone: nats://user:password@host:4222
    #[arg(long, value_name = "NATS", requires = "generators")]
    lead: Option<String>,
    /// How many generators to wait for; who leads is none of them.
    #[arg(long, value_name = "N", requires = "lead", value_parser = clap::value_parser!(u32).range(1..=100))]
    generators: Option<u32>,
    /// What the meeting is called, for those who share a NATS.
    #[arg(long, value_name = "NAME", default_value = "loadtest")]
    meeting: String,
}

#[derive(Debug, Args)]
pub(crate) struct JoinArgs {
    /// Where to meet: nats://user:password@host:4222
    nats: String,
    /// What the meeting is called.
    #[arg(long, value_name = "NAME", default_value = "loadtest")]
    meeting: String,
    /// What this generator is called; unlike all others.
    #[arg(long = "as", value_name = "NAME", value_parser = NonEmptyStringValueParser::new())]
    me: Option<String>,
    #[command(flatten)]
    to: ToArgs,
}

#[derive(Debug, Args)]
struct ToArgs {
    /// A node's WebSocket; several of one cluster, one after the other.
    #[arg(
        long = "url",
        value_name = "WS",
        default_value = "ws://127.0.0.1:7070/v1/ws",
        value_delimiter = ','
    )]
    urls: Vec<String>,
    /// The nodes may be on other machines: I say that they are mine.
    #[arg(long)]
    anywhere: bool,
    /// The nodes' development key, to sign tokens with.
    #[arg(long, value_name = "FILE", default_value = "data/development-key.pem")]
    dev_key: PathBuf,
    /// An endpoint that issues tokens, instead of the key.
    #[arg(long, value_name = "URL")]
    tokens_from: Option<String>,
}

#[derive(Debug, Args)]
struct ReportArgs {
    /// Print the record of the run as one JSON object on the last line, and everything else to the other output.
    #[arg(long)]
    json: bool,
    /// Write the report as a page of its own, to be looked at and sent on.
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// One line a second, also on a terminal.
    #[arg(long)]
    plain: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ScenariosArgs {
    /// Print this one, to begin one's own with.
    name: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct CompareArgs {
    /// What `--json` printed before …
    before: PathBuf,
    /// … and after.
    after: PathBuf,
    /// Only this part of them, such as 1h..2h after the beginning; said twice, the first is before's and the second after's.
    #[arg(long, value_name = "FROM..UNTIL")]
    between: Vec<compare::Between>,
    /// Print the comparison as one JSON object on the last line.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct PageArgs {
    /// What `--json` printed.
    record: PathBuf,
    /// Where the page goes.
    #[arg(long, value_name = "FILE", default_value = "report.html")]
    html: PathBuf,
}

impl ToArgs {
    fn reach(&self) -> Reach {
        if self.anywhere { Reach::Anywhere } else { Reach::Loopback }
    }

    fn target(&self) -> Result<Target, CliError> {
        let reach = self.reach();
        let why_needed = |NoToken(why)| {
            NoToken(format!(
                "{why}; tokens are signed with the nodes' key, which `outrider serve` keeps in its data directory (--dev-key says where)"
            ))
        };
        Ok(match &self.tokens_from {
            Some(url) => Target::of(&self.urls, reach, token::Endpoint::new(url.clone()))?,
            None => Target::of(
                &self.urls,
                reach,
                token::DevelopmentKey::read(&self.dev_key).map_err(why_needed)?,
            )?,
        })
    }
}

impl RunArgs {
    /// Will there be a dashboard?
    pub(crate) fn has_dashboard(&self) -> bool {
        !self.report.plain && io::stdout().is_terminal()
    }

    fn scenario(&self) -> Result<Scenario, CliError> {
        let mut set = self.set.clone();
        set.extend(self.drivers.map(|it| format!("fleet.drivers={it}")));
        if let Some(lasting) = self.lasting.map(humantime::format_duration) {
            let is_crowd = |it: Scenario| matches!(it.play, Play::Crowd(_));
            let key = match Scenario::open(&self.scenario, &[]).map(is_crowd) {
                Ok(false) => "sessions.hold",
                Ok(true) | Err(_) => "lasts",
            };
            set.push(format!("{key}=\"{lasting}\""));
        }
        set.extend(self.speed.map(|it| format!("speed={it:?}")));
        set.extend(self.seed.map(|it| format!("seed={it}")));
        set.extend(self.compress.map(|it| format!("compress={it:?}")));
        Ok(Scenario::open(&self.scenario, &set)?)
    }
}

/// Plays a scenario, and says what came of it.
pub(crate) async fn run(args: RunArgs) -> Result<u8, CliError> {
    let scenario = args.scenario()?;
    if let Some(beside) = &scenario.beside {
        writeln!(io::stderr(), "{}: {beside}\n", scenario.name)?;
    }
    let stop = interruption();
    let record = match (&scenario.play, &args.lead) {
        (_, Some(nats)) => lead(&args, &scenario, nats, stop).await?,
        (Play::Crowd(options), None) => {
            let options = Options { pids: args.pids.clone(), ..Options::clone(options) };
            let target = args.to.target()?;
            admitted(&target).await?;
            let mut events = paces(&target, options.speed).await;
            let nodes = Nodes::watch(&target.authorities());
            let screen = Screen::open(&args, &scenario, &stop)?;
            let playing =
                loadtest::play(options, target, nodes, stop, |glance| screen.show(glance));
            let mut record = playing.await?;
            drop(screen);
            events.append(&mut record.events);
            record.events = events;
            record.of(&scenario)
        }
        (Play::Sessions(sessions), None) => {
            hold(&args, &scenario, sessions.clone(), stop).await?.of(&scenario)
        }
    };
    report(&record, &args.report)?;
    Ok(record.exit_code())
}

/// Knocks before anybody sets out, and says which nodes are not there.
async fn admitted(target: &Target) -> Result<(), CliError> {
    for shut in target.knock().await? {
        writeln!(io::stderr(), "not all are there: {shut}")?;
    }
    Ok(())
}

/// Nodes that take vehicles to be quicker or slower than they are: they would take their positions for jumps.
async fn paces(target: &Target, speed: f64) -> Vec<Seen> {
    let mut unlike = Vec::new();
    for who in target.authorities() {
        let theirs = nodes::speed_of(&who).await;
        if let Some(theirs) = theirs.filter(|it| (it - speed).abs() > speed * 0.01) {
            let what = format!(
                "takes vehicles to be {theirs} times as quick as life, and here they are {speed} times: it expects them late, and may take their positions for jumps; start it with OUTRIDER_SIMULATION__SPEED={speed}"
            );
            // Nobody reads a line that cannot be written.
            drop(writeln!(io::stderr(), "{who} {what}"));
            unlike.push(Seen { after_s: 0.0, who, what });
        }
    }
    unlike
}

/// Leads generators on other machines.
async fn lead(
    args: &RunArgs,
    scenario: &Scenario,
    nats: &str,
    stop: CancellationToken,
) -> Result<Record, CliError> {
    let n = args.generators.unwrap_or(1);
    let meeting = Meeting::at(nats, &args.meeting).await?;
    // Whoever leads speaks to no node, and needs no key.
    let nobody = |_: Principal| String::new();
    let target = Target::of(&args.to.urls, args.to.reach(), nobody)?;
    let nodes = Nodes::watch(&target.authorities());
    // Nobody reads a line that cannot be written.
    let say = |line: &str| drop(writeln!(io::stderr(), "{line}"));
    say(&format!("waiting for {n} generators: loadtest join {nats} --meeting {}", args.meeting));
    let screen = RefCell::new(None);
    let record = several::lead(
        &meeting,
        scenario,
        n,
        nodes,
        stop.clone(),
        |n_there| say(&format!("{n_there} of {n} generators are there")),
        |glance| {
            let mut screen = screen.borrow_mut();
            // A terminal that cannot be taken is no reason to stop: then there are lines.
            let screen = screen.get_or_insert_with(|| {
                Screen::open(args, scenario, &stop).unwrap_or(Screen::Lines)
            });
            screen.show(glance);
        },
    )
    .await?;
    drop(screen);
    Ok(record)
}

/// Opens sessions that are only there.
async fn hold(
    args: &RunArgs,
    scenario: &Scenario,
    sessions: connect::Sessions,
    stop: CancellationToken,
) -> Result<Record, CliError> {
    let target = args.to.target()?;
    admitted(&target).await?;
    let at = target.addresses().into_iter().filter(SocketAddr::is_ipv4).collect();
    let plan = Plan { pids: args.pids.clone(), ..sessions.plan(at, args.to.dev_key.clone()) };
    let program = std::env::current_exe()?;
    let generator = || {
        let mut command = std::process::Command::new(&program);
        command.arg("generate");
        command
    };
    let nodes = Nodes::watch(&target.authorities());
    let screen = Screen::open(args, scenario, &stop)?;
    let began_at = loadtest::now();
    let holding = RefCell::new(Holding::new(nodes));
    let report = connect::run(plan, generator, stop, |progress| {
        let mut holding = holding.borrow_mut();
        let glance = holding.second(progress);
        match &screen {
            Screen::Dashboard(dashboard) => dashboard.show(&glance),
            Screen::Lines => drop(writeln!(io::stderr(), "{progress}")),
        }
    })
    .await?;
    drop(screen);
    Ok(holding.into_inner().record(&report, began_at))
}

/// Plays what a leader says.
pub(crate) async fn join(args: JoinArgs) -> Result<u8, CliError> {
    let me = args.me.clone().unwrap_or_else(|| format!("{}-{}", host(), std::process::id()));
    let meeting = Meeting::at(&args.nats, &args.meeting).await?;
    let target = args.to.target()?;
    admitted(&target).await?;
    writeln!(io::stderr(), "{me} waits for a leader in meeting {}", args.meeting)?;
    let play = |scenario: Scenario, glances: mpsc::Sender<Glance>, stop| async move {
        let Play::Crowd(options) = scenario.play else { return Err("no crowd".to_owned()) };
        let show = Show::new();
        let playing = loadtest::play(*options, target, Nodes::default(), stop, |glance| {
            show.progress(&glance.progress);
            // Full: the leader is slow to listen, and the next one says it all.
            glances.try_send(glance.clone()).ok();
        });
        let record = playing.await.map_err(|error| error.to_string());
        show.end();
        record
    };
    let record = several::join(&meeting, &me, interruption(), play).await?;
    writeln!(io::stderr(), "played; the leader has what was measured")?;
    Ok(match (record.violations, record.is_interrupted) {
        (0, false) => 0,
        (0, true) => INTERRUPTED,
        (1.., _) => 3,
    })
}

/// The machine's name, as far as it can be part of a subject.
fn host() -> String {
    let name = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let name: String =
        name.trim().chars().filter(|it| it.is_ascii_alphanumeric() || *it == '-').collect();
    if name.is_empty() { "generator".to_owned() } else { name }
}

/// Where one sees how it goes.
enum Screen {
    Dashboard(Dashboard),
    Lines,
}

impl Screen {
    fn open(args: &RunArgs, scenario: &Scenario, stop: &CancellationToken) -> io::Result<Self> {
        Ok(match args.has_dashboard() {
            true => Self::Dashboard(Dashboard::open(scenario, stop.clone())?),
            false => Self::Lines,
        })
    }

    fn show(&self, glance: &Glance) {
        match self {
            Self::Dashboard(dashboard) => dashboard.show(glance),
            // Nobody reads a progress line that cannot be written.
            Self::Lines => drop(writeln!(io::stderr(), "{}", glance.progress)),
        }
    }
}

fn report(record: &Record, args: &ReportArgs) -> Result<(), CliError> {
    if let Some(path) = &args.html {
        fs::write(path, page(record))?;
        writeln!(io::stderr(), "the report is in {}", path.display())?;
    }
    print(record, args.json)
}

/// Lists scenarios, or prints one.
pub(crate) fn scenarios(args: &ScenariosArgs) -> Result<u8, CliError> {
    let Some(name) = &args.name else {
        for (name, text) in READY {
            say(&format!("{name:<18} {}", Scenario::about(name, text)?))?;
        }
        return Ok(0);
    };
    // One that is ready is printed also if something must be set before it can be played.
    let text = match READY.iter().find(|(ready, _)| ready == name) {
        Some((_, text)) => (*text).to_owned(),
        None => Scenario::open(name, &[])?.text,
    };
    say(text.trim_end())?;
    Ok(0)
}

/// Compares two runs.
pub(crate) fn compared(args: &CompareArgs) -> Result<u8, CliError> {
    let (before, after) = (Record::open(&args.before)?, Record::open(&args.after)?);
    let comparison = match args.between.as_slice() {
        [] => compare::compare(&before, &after),
        [both] => compare::compare_parts((&before, *both), (&after, *both))?,
        [earlier, later] => compare::compare_parts((&before, *earlier), (&after, *later))?,
        [..] => return Err(CliError::Betweens),
    };
    print(&comparison, args.json)?;
    Ok(comparison.exit_code())
}

/// Draws the page of a record again.
pub(crate) fn drawn(args: &PageArgs) -> Result<u8, CliError> {
    fs::write(&args.html, page(&Record::open(&args.record)?))?;
    say(&format!("the report is in {}", args.html.display()))?;
    Ok(0)
}
