//! Several generators, on as many machines, that play one scenario together: they meet over NATS, start together, and
//! their figures become one record.
//!
//! ```text
//!  loadtest run --lead nats://…            loadtest join nats://… (each)
//!     │ ◄──────────────────────────── hello ────────┤
//!     ├── play this, you are hand n of m ─────────► │ reads it, gathers its tokens
//!     │ ◄──────────────────────────── ready ────────┤
//!     ├── start (all) ────────────────────────────► │ plays its share, in a town of its own
//!     │ ◄──────────────────── a glance each second ─┤
//!     │ ◄──────────────────────────── record ───────┤ packed, in parts
//!   merges, judges, reports
//! ```
//!
//! No clock is compared with another: each counts from when it heard the word to start. Riders and drivers are dealt like
//! cards ([`crate::Hand`]), so two generators do together what one would have done alone, in two towns.

use crate::{
    crowd::Hand,
    measure::{Slot, Timeline},
    nodes::Nodes,
    record::{FORMAT, Record, Seen},
    report::Glance,
    scenario::{NoScenario, Scenario},
};
use async_nats::{Client, ConnectOptions, ServerAddr, Subscriber};
use flate2::{Compression, read::GzDecoder, write::GzEncoder};
use futures_util::StreamExt;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::{
    collections::BTreeMap,
    io::{self, Read, Write},
    time::{Duration, Instant},
};
use thiserror::Error;
use tokio::{
    sync::mpsc,
    time::{interval, interval_at, timeout},
};
use tokio_util::sync::CancellationToken;

/// How often a generator says that it is there, until it is told what to play.
const HELLO_EVERY: Duration = Duration::from_millis(500);
/// How long a generator may take to get ready.
const READY_MAX: Duration = Duration::from_secs(30);
/// Who has said nothing for so long is lost.
const SILENCE_MAX: Duration = Duration::from_secs(20);
/// How long records may take that are on their way.
const RECORDS_MAX: Duration = Duration::from_secs(60);
/// Bytes of one part of a record: a broker's usual limit is a mebibyte.
const PART: usize = 512 * 1_024;
/// Most parts of one record.
const PARTS_MAX: usize = 256;
/// Most bytes of an unpacked record.
const RECORD_MAX: u64 = 256 * 1_024 * 1_024;
/// Glances that wait to be said; a later one supersedes those that find no room.
const GLANCES_MAX: usize = 4;

/// Why generators do not meet, or do not play.
#[derive(Debug, Error)]
pub enum NotTogether {
    /// The broker cannot be used.
    #[error("NATS: {0}")]
    Broker(String),
    /// A meeting's name becomes part of a subject.
    #[error("{0:?} is no name for a meeting: letters, digits, '-' and '_', at least one")]
    Name(String),
    /// Somebody cannot play it.
    #[error("generator {who} cannot play it: {why}")]
    Cannot {
        /// Who.
        who: String,
        /// Why.
        why: String,
    },
    /// Somebody is of another build.
    #[error("generator {who} writes records of format {format}, and this build of {FORMAT}")]
    OtherFormat {
        /// Who.
        who: String,
        /// Which it writes.
        format: u32,
    },
    /// Somebody did not get ready in time.
    #[error("generator {0} did not get ready in time")]
    NotReady(String),
    /// Not everybody can play it.
    #[error(transparent)]
    Scenario(#[from] NoScenario),
    /// A record could not be packed.
    #[error("record: {0}")]
    Record(#[from] io::Error),
    /// Somebody wants no more of it.
    #[error("interrupted before it began")]
    Interrupted,
}

fn broker(error: impl ToString) -> NotTogether {
    NotTogether::Broker(error.to_string())
}

/// What a leader says.
#[derive(Debug, Clone, Serialize, Deserialize)]
enum Word {
    /// Get ready for this.
    Play {
        /// Who is meant.
        who: String,
        /// What it is called.
        name: String,
        /// All of it.
        text: String,
        /// Which part is theirs.
        hand: Hand,
    },
    /// Begin.
    Start,
    /// Enough.
    Stop,
}

/// What a generator says.
#[derive(Debug, Clone, Serialize, Deserialize)]
enum Said {
    /// I am here.
    Hello {
        /// Which records it writes.
        format: u32,
    },
    /// I am ready.
    Ready,
    /// I cannot play that.
    Cannot {
        /// Why.
        why: String,
    },
    /// So it goes.
    Glance(Box<Glance>),
    /// It is over, and so many parts of the record come now.
    Done {
        /** How many. */
        parts: usize,
    },
}

/// Where generators meet.
#[derive(Debug, Clone)]
pub struct Meeting {
    client: Client,
    name: String,
}

impl Meeting {
    /// Goes there: `nats://user:password@host:4222`, and what the meeting is called.
    pub async fn at(url: &str, name: &str) -> Result<Self, NotTogether> {
        let is_name = |it: char| it.is_ascii_alphanumeric() || it == '-' || it == '_';
        if name.is_empty() || !name.chars().all(is_name) {
            return Err(NotTogether::Name(name.to_owned()));
        }
        let server: ServerAddr = url.parse().map_err(broker)?;
        let options = match (server.username(), server.password()) {
            (Some(user), Some(password)) => {
                ConnectOptions::with_user_and_password(user.to_owned(), password.to_owned())
            }
            (None, _) | (_, None) => ConnectOptions::new(),
        };
        let client = options.name("loadtest").connect(server).await.map_err(broker)?;
        Ok(Self { client, name: name.to_owned() })
    }

    fn subject(&self, of: &str) -> String {
        format!("loadtest.{}.{of}", self.name)
    }

    async fn listen(&self, of: &str) -> Result<Subscriber, NotTogether> {
        let heard = self.client.subscribe(self.subject(of)).await.map_err(broker)?;
        // Nothing is said before the broker knows who listens.
        self.client.flush().await.map_err(broker)?;
        Ok(heard)
    }

    async fn say(&self, of: &str, what: &impl Serialize) -> Result<(), NotTogether> {
        let bytes = serde_json::to_vec(what).map_err(broker)?;
        self.client.publish(self.subject(of), bytes.into()).await.map_err(broker)?;
        self.client.flush().await.map_err(broker)
    }
}

fn read<T: DeserializeOwned>(bytes: &[u8]) -> Option<T> {
    let read = serde_json::from_slice(bytes);
    read.inspect_err(|error| tracing::warn!(%error, "somebody says what nobody understands")).ok()
}

/// Who and what, of a message that a generator sent: its subject ends with its name.
fn from(message: &async_nats::Message) -> Option<(String, Said)> {
    let who = message.subject.rsplit('.').next()?.to_owned();
    Some((who, read(&message.payload)?))
}

/// Leads `n` generators through a scenario, and says what all of them measured. Waits for them until `stop`. `gathering`
/// hears of each that has come.
pub async fn lead(
    meeting: &Meeting,
    scenario: &Scenario,
    n: u32,
    nodes: Nodes,
    stop: CancellationToken,
    gathering: impl Fn(usize),
    show: impl Fn(&Glance),
) -> Result<Record, NotTogether> {
    // It can be shared out, or nobody need come.
    let first = Hand { n: 0, of: n.max(1) };
    scenario.clone().hand(first)?;
    let mut heard = meeting.listen("from.*").await?;
    let mut parts = meeting.listen("part.*.*").await?;
    let gathered = gather(meeting, scenario, n.max(1), &mut heard, &stop, gathering).await;
    if gathered.is_err() {
        // Whoever is ready waits for a word.
        meeting.say("word", &Word::Stop).await?;
    }
    let names = gathered?;
    meeting.say("word", &Word::Start).await?;
    let mut band = Band::new(names, nodes);
    let second = Duration::from_secs(1);
    let mut seconds = interval_at(tokio::time::Instant::now() + second, second);
    let mut stop_told = false;
    loop {
        tokio::select! {
            message = heard.next() => match message.as_ref().and_then(from) {
                Some((who, said)) => band.heard(&who, said),
                None if message.is_none() => return Err(broker("the connection is gone")),
                None => {}
            },
            part = parts.next() => if let Some(part) = part { band.part(&part) },
            _ = seconds.tick() => {
                band.second();
                if let Some(glance) = band.glance() {
                    show(&glance);
                }
                if band.is_over() {
                    return Ok(band.record(scenario));
                }
            }
            () = stop.cancelled(), if !stop_told => {
                stop_told = true;
                meeting.say("word", &Word::Stop).await?;
            }
        }
    }
}

/// Waits until enough are there and ready; their names.
async fn gather(
    meeting: &Meeting,
    scenario: &Scenario,
    n: u32,
    heard: &mut Subscriber,
    stop: &CancellationToken,
    gathering: impl Fn(usize),
) -> Result<Vec<String>, NotTogether> {
    let mut names: Vec<String> = Vec::new();
    let next = async |heard: &mut Subscriber| {
        tokio::select! {
            message = heard.next() => message.ok_or_else(|| broker("the connection is gone")),
            () = stop.cancelled() => Err(NotTogether::Interrupted),
        }
    };
    while names.len() < n as usize {
        let message = next(heard).await?;
        let Some((who, Said::Hello { format })) = from(&message) else { continue };
        if format != FORMAT {
            return Err(NotTogether::OtherFormat { who, format });
        }
        if !names.contains(&who) {
            names.push(who);
            gathering(names.len());
        }
    }
    for (hand, who) in names.iter().enumerate() {
        let word = Word::Play {
            who: who.clone(),
            name: scenario.name.clone(),
            text: scenario.text.clone(),
            hand: Hand { n: hand as u32, of: n },
        };
        meeting.say("word", &word).await?;
    }
    let mut waited: Vec<String> = names.clone();
    let until = Instant::now() + READY_MAX;
    while let Some(first) = waited.first() {
        let left = until.saturating_duration_since(Instant::now());
        let Ok(message) = timeout(left, next(heard)).await else {
            return Err(NotTogether::NotReady(first.clone()));
        };
        match from(&message?) {
            Some((who, Said::Ready)) => waited.retain(|it| *it != who),
            Some((who, Said::Cannot { why })) => return Err(NotTogether::Cannot { who, why }),
            Some((_, Said::Hello { .. } | Said::Glance(_) | Said::Done { .. })) | None => {}
        }
    }
    Ok(names)
}

/// Those who play, as their leader hears them.
struct Band {
    players: BTreeMap<String, Player>,
    nodes: Nodes,
    timeline: Timeline,
    events: Vec<Seen>,
    began: Instant,
    /// Since when nobody plays any more, and only records are missing.
    waiting_since: Option<Instant>,
}

#[derive(Debug)]
struct Player {
    glance: Option<Glance>,
    heard_at: Instant,
    parts: BTreeMap<usize, Vec<u8>>,
    n_parts: Option<usize>,
    is_lost: bool,
}

impl Player {
    fn is_done(&self) -> bool {
        self.n_parts.is_some_and(|n| self.parts.len() >= n)
    }
}

impl Band {
    fn new(names: Vec<String>, nodes: Nodes) -> Self {
        let began = Instant::now();
        let player = || Player {
            glance: None,
            heard_at: began,
            parts: BTreeMap::new(),
            n_parts: None,
            is_lost: false,
        };
        Self {
            players: names.into_iter().map(|name| (name, player())).collect(),
            nodes,
            timeline: Timeline::default(),
            events: Vec::new(),
            began,
            waiting_since: None,
        }
    }

    fn heard(&mut self, who: &str, said: Said) {
        let Some(player) = self.players.get_mut(who) else { return };
        player.heard_at = Instant::now();
        match said {
            Said::Glance(glance) => player.glance = Some(*glance),
            Said::Done { parts } => player.n_parts = Some(parts.min(PARTS_MAX)),
            Said::Hello { .. } | Said::Ready | Said::Cannot { .. } => {}
        }
    }

    /// A part of a record: its subject ends with whose, and which.
    fn part(&mut self, message: &async_nats::Message) {
        let mut ends = message.subject.rsplit('.');
        let which = ends.next().and_then(|n| n.parse::<usize>().ok()).filter(|n| *n < PARTS_MAX);
        let player = ends.next().and_then(|who| self.players.get_mut(who));
        if let (Some(which), Some(player)) = (which, player) {
            player.heard_at = Instant::now();
            player.parts.insert(which, message.payload.to_vec());
        }
    }

    /// A second is over: how nodes are, and who has fallen silent.
    fn second(&mut self) {
        let after_s = self.began.elapsed().as_secs_f64();
        let glances = || self.players.values().filter_map(|it| it.glance.as_ref());
        if glances().any(|it| it.counted_s > 0.0) {
            self.nodes.begin_counting();
        }
        if glances().any(|it| it.lasting_s > 0.0 && it.asking_s >= it.lasting_s) {
            self.nodes.end_counting();
        }
        let sights = self.nodes.look();
        self.timeline.second(Slot { nodes: sights.slots, ..Slot::default() });
        let seen = sights.events.into_iter().map(|(who, what)| Seen { after_s, who, what });
        self.events.extend(seen);
        for (name, player) in &mut self.players {
            let is_silent = player.heard_at.elapsed() > SILENCE_MAX;
            if is_silent && !player.is_lost && !player.is_done() {
                player.is_lost = true;
                let (who, what) = (format!("generator {name}"), "fell silent".to_owned());
                self.events.push(Seen { after_s, who, what });
            }
        }
    }

    /// How all of them stand.
    fn glance(&self) -> Option<Glance> {
        let glances =
            self.players.values().filter(|it| !it.is_lost).filter_map(|it| it.glance.clone());
        let mut all = glances.reduce(|mut all, other| {
            all.merge(other);
            all
        })?;
        all.slot.nodes =
            self.timeline.slots.last().map(|slot| slot.nodes.clone()).unwrap_or_default();
        all.events.extend(self.events.iter().rev().take(8).rev().cloned());
        Some(all)
    }

    fn is_over(&mut self) -> bool {
        let is_open = |player: &Player| !player.is_lost && !player.is_done();
        if !self.players.values().any(is_open) {
            return true;
        }
        let is_playing = self.players.values().any(|it| !it.is_lost && it.n_parts.is_none());
        if is_playing {
            self.waiting_since = None;
            return false;
        }
        self.waiting_since.get_or_insert_with(Instant::now).elapsed() > RECORDS_MAX
    }

    /// One record of all.
    fn record(self, scenario: &Scenario) -> Record {
        let mut all = Record {
            generators: 0,
            timeline: self.timeline,
            events: self.events,
            nodes: self.nodes.sides(),
            ..Record::default()
        };
        let mut missing = Vec::new();
        for (name, player) in self.players {
            let whole: Vec<u8> = player.parts.into_values().flatten().collect();
            match unpack(&whole) {
                Ok(record) => {
                    if all.generators == 0 {
                        (all.began_at, all.seed, all.speed) =
                            (record.began_at, record.seed, record.speed);
                    }
                    all.merge(record);
                }
                Err(error) => missing.push(format!(
                    "generator {name} is lost, and its part of the crowd with it ({error})"
                )),
            }
        }
        all.generator.saturated.extend(missing);
        all.of(scenario)
    }
}

/// Plays what a leader says, as one of several. `play` plays it and says what it measured; it is given what to show to
/// whoever leads.
pub async fn join<P>(
    meeting: &Meeting,
    me: &str,
    stop: CancellationToken,
    play: impl FnOnce(Scenario, mpsc::Sender<Glance>, CancellationToken) -> P,
) -> Result<Record, NotTogether>
where
    P: Future<Output = Result<Record, String>>,
{
    let of = |kind: &str| format!("{kind}.{me}");
    let mut words = meeting.listen("word").await?;
    let mut hellos = interval(HELLO_EVERY);
    let scenario = loop {
        tokio::select! {
            _ = hellos.tick() => meeting.say(&of("from"), &Said::Hello { format: FORMAT }).await?,
            word = words.next() => {
                let word = word.ok_or_else(|| broker("the connection is gone"))?;
                let Some(Word::Play { who, name, text, hand }) = read(&word.payload) else { continue };
                if who != me {
                    continue;
                }
                match Scenario::read(&name, &text, &[]).and_then(|it| it.hand(hand)) {
                    Ok(scenario) => break scenario,
                    Err(error) => {
                        let why = error.to_string();
                        meeting.say(&of("from"), &Said::Cannot { why: why.clone() }).await?;
                        return Err(NotTogether::Cannot { who: me.to_owned(), why });
                    }
                }
            }
            () = stop.cancelled() => return Err(NotTogether::Interrupted),
        }
    };
    meeting.say(&of("from"), &Said::Ready).await?;
    loop {
        let word = tokio::select! {
            word = words.next() => word.ok_or_else(|| broker("the connection is gone"))?,
            () = stop.cancelled() => return Err(NotTogether::Interrupted),
        };
        match read(&word.payload) {
            Some(Word::Start) => break,
            Some(Word::Stop) => return Err(NotTogether::Interrupted),
            Some(Word::Play { .. }) | None => {}
        }
    }
    let (glances, mut shown) = mpsc::channel(GLANCES_MAX);
    let playing = play(scenario, glances, stop.clone());
    tokio::pin!(playing);
    let record = loop {
        tokio::select! {
            record = &mut playing => break record,
            Some(glance) = shown.recv() => {
                meeting.say(&of("from"), &Said::Glance(Box::new(glance))).await?;
            }
            Some(word) = words.next() => match read(&word.payload) {
                Some(Word::Stop) => stop.cancel(),
                Some(Word::Start | Word::Play { .. }) | None => {}
            },
        }
    };
    let record = record.map_err(|why| NotTogether::Cannot { who: me.to_owned(), why })?;
    let packed = pack(&record)?;
    let parts: Vec<&[u8]> = packed.chunks(PART).collect();
    for (n, part) in parts.iter().enumerate() {
        let subject = meeting.subject(&format!("part.{me}.{n}"));
        meeting.client.publish(subject, part.to_vec().into()).await.map_err(broker)?;
    }
    meeting.say(&of("from"), &Said::Done { parts: parts.len() }).await?;
    Ok(record)
}

fn pack(record: &Record) -> io::Result<Vec<u8>> {
    let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
    packed.write_all(&serde_json::to_vec(record)?)?;
    packed.finish()
}

fn unpack(bytes: &[u8]) -> io::Result<Record> {
    let mut text = Vec::new();
    GzDecoder::new(bytes).take(RECORD_MAX).read_to_end(&mut text)?;
    Ok(serde_json::from_slice(&text)?)
}

#[cfg(test)]
mod tests;
