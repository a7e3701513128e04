//! A generator: thousands of phones on one thread, about a hundred bytes for each, whatever the sockets cost.
//!
//! ```text
//!  Waiting ──► Opening ──► Shaking ──► Greeting ──► Entering ──► Open
//!     ▲           │ refused   │           │            │          │ cut, or dead
//!     └───────────┴───────────┴───────────┴────────────┴──────────┘
//! ```

use super::{
    holding::Holding,
    order::{Order, Part, Said, WELCOME_MAX, Word},
    tally::{AllTimes, Counts},
    wire::{self, Answer, Broken, CODEC, Message},
};
use crate::{clock, token::DevelopmentKey};
use mio::{Events, Interest, Poll, Token, Waker, net::TcpStream};
use outrider_client::Habits;
use protocol::{
    CommandId, Point, Principal, SessionId,
    frame::{ClientFrame, Fix, Outcome, Resume, ServerFrame},
    work::{DriverAction, DutyWish, NewOrder, OrderKind, Vehicle, VehicleKind, Wish},
};
use rand::{Rng, SeedableRng, rngs::StdRng};
use serde_json::json;
use socket2::{Domain, Protocol, Socket, Type};
use std::{
    cmp::Reverse,
    collections::{BinaryHeap, HashMap, VecDeque},
    io::{self, BufRead, Read, Write},
    ops::Range,
    sync::{
        Arc,
        mpsc::{Receiver, TryRecvError, sync_channel},
    },
    time::{Duration, Instant},
};

/// Where the words come in; sessions have the numbers below.
const WORDS: Token = Token(usize::MAX);
/// Most words that wait.
const WORDS_MAX: usize = 8;
/// What is read at a time, into one buffer for all.
const READ_BYTES: usize = 64 * 1_024;
/// How often it is said how it goes.
const TELL_EVERY: Duration = Duration::from_secs(1);
/// A phone says something after this part of a heartbeat, as both clients do.
const BEAT_PART: f64 = 0.5;
/// What a connection that has been begun and is not there yet answers.
const IN_PROGRESS: i32 = 115;
/// So many are cut off in a row before those who are left are listened to again: what their answers take must not be
/// what cutting off takes.
const CUT_IN_A_ROW: u32 = 32;
/// Where everybody is.
const HERE: Point = Point { lat: -1.9441, lon: 30.0619 };

/// Where a phone stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// It has not been begun.
    New,
    Waiting,
    Opening,
    Shaking,
    Greeting,
    Entering,
    Open,
    /// It has said goodbye.
    Gone,
}

/// One phone. Times in microseconds since the start of the generator.
#[derive(Debug)]
struct Phone {
    stream: Option<TcpStream>,
    stage: Stage,
    /// Was it let in before?
    has_been: bool,
    /// Did we cut it off?
    is_cut: bool,
    n_failed: u8,
    /// The session it goes on with, and how many of its frames it has.
    at: Option<SessionId>,
    heard: u32,
    /// What it is in now, before its welcome.
    here: Option<SessionId>,
    heard_here: u32,
    began: u64,
    lost: u64,
    heard_at: u64,
    beat_at: u64,
    due: u64,
    /// How often it is to be heard of, in milliseconds, as it was told last.
    heartbeat_ms: u32,
    /// The same, as long as somebody may wait for it.
    heartbeat_usual_ms: u32,
    /// It was told to go, and how long to wait before it comes back, in milliseconds.
    goodbye_ms: Option<u32>,
    /// Part of a message.
    rest: Box<[u8]>,
    /// What did not go out.
    unsaid: Box<[u8]>,
    token: Option<Box<str>>,
}

impl Phone {
    fn new() -> Self {
        Self {
            stream: None,
            stage: Stage::New,
            has_been: false,
            is_cut: false,
            n_failed: 0,
            at: None,
            heard: 0,
            here: None,
            heard_here: 0,
            began: 0,
            lost: 0,
            heard_at: 0,
            beat_at: 0,
            due: u64::MAX,
            heartbeat_ms: 20_000,
            heartbeat_usual_ms: 20_000,
            goodbye_ms: None,
            rest: Box::default(),
            unsaid: Box::default(),
            token: None,
        }
    }

    fn is_on_its_way(&self) -> bool {
        match self.stage {
            Stage::Opening | Stage::Shaking | Stage::Greeting | Stage::Entering => true,
            Stage::New | Stage::Waiting | Stage::Open | Stage::Gone => false,
        }
    }

    /// It is to be heard of this often from now on.
    fn paced(&mut self, heartbeat_ms: u64) {
        self.heartbeat_ms = u32::try_from(heartbeat_ms).unwrap_or(u32::MAX);
    }

    /// The node lets it be silent for longer than usual: nobody waits for it.
    fn is_at_rest(&self) -> bool {
        self.stage == Stage::Open && self.heartbeat_ms > self.heartbeat_usual_ms
    }

    /// So many heartbeats, in microseconds.
    fn heartbeats(&self, n: f64) -> u64 {
        (f64::from(self.heartbeat_ms) * n * 1_000.0) as u64
    }
}

/// All of them.
struct Worker {
    order: Order,
    key: DevelopmentKey,
    habits: Habits,
    rng: StdRng,
    poll: Poll,
    phones: Vec<Phone>,
    /// Who is due when; what is not true any more is passed over.
    due: BinaryHeap<Reverse<(u64, u32)>>,
    /// Who would come back if there were room, the longest first.
    queue: VecDeque<u32>,
    /// Who is still to be cut off.
    cutting: Range<u32>,
    began: Instant,
    /// When that was, in microseconds of the clock on the wall: the same for all generators.
    began_us: u64,
    n_begun: u32,
    n_on_their_way: u32,
    counts: Counts,
    times: AllTimes,
    holding: Holding,
    /// Commands without a result, and when they were said.
    asked: HashMap<CommandId, u64>,
    n_asked: u64,
    buffer: Box<[u8]>,
}

/// Does what the first line of standard input orders, and then what each further one says, until one says
/// to leave or there are no more.
pub(super) fn run() -> io::Result<()> {
    let mut first = String::new();
    io::stdin().read_line(&mut first)?;
    let order: Order = serde_json::from_str(&first)?;
    let key = DevelopmentKey::read(&order.key).map_err(io::Error::other)?;
    let poll = Poll::new()?;
    let waker = Arc::new(Waker::new(poll.registry(), WORDS)?);
    let (said, words) = sync_channel(WORDS_MAX);
    std::thread::spawn(move || {
        for line in io::stdin().lock().lines() {
            let word = line.ok().and_then(|line| serde_json::from_str::<Word>(&line).ok());
            let Some(word) = word else { break };
            if said.send(word).is_err() || waker.wake().is_err() {
                return;
            }
        }
        // Whoever ordered this is gone.
        drop(said);
        drop(waker.wake());
    });
    let phones = (0..order.n).map(|_| Phone::new()).collect();
    let worker = Worker {
        rng: StdRng::seed_from_u64(order.seed ^ u64::from(order.worker) << 40),
        habits: Habits::default(),
        holding: Holding::new(order.cast.n_holders),
        key,
        poll,
        phones,
        due: BinaryHeap::new(),
        queue: VecDeque::new(),
        cutting: 0..0,
        began: Instant::now(),
        began_us: clock::now().0 * 1_000,
        n_begun: 0,
        n_on_their_way: 0,
        counts: Counts::default(),
        times: AllTimes::default(),
        asked: HashMap::new(),
        n_asked: 0,
        buffer: vec![0; READ_BYTES].into(),
        order,
    };
    worker.live(&words)
}

impl Worker {
    fn live(mut self, words: &Receiver<Word>) -> io::Result<()> {
        let mut events = Events::with_capacity(1_024);
        let mut tell_at = self.began + TELL_EVERY;
        loop {
            match self.poll.poll(&mut events, Some(self.patience(tell_at))) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                outcome => outcome?,
            }
            for event in events.iter().filter(|event| event.token() != WORDS) {
                self.ready(event.token().0 as u32, event.is_writable(), event.is_readable());
            }
            loop {
                match words.try_recv() {
                    Ok(Word::Leave) | Err(TryRecvError::Disconnected) => return self.leave(),
                    Ok(word) => self.told(word)?,
                    Err(TryRecvError::Empty) => break,
                }
            }
            self.cut_some();
            self.begin_some();
            self.act_in_time();
            self.ask();
            if Instant::now() >= tell_at {
                tell_at += TELL_EVERY;
                say(&Said::Counts(self.counts))?;
            }
        }
    }

    fn now(&self) -> u64 {
        self.began.elapsed().as_micros() as u64
    }

    fn patience(&self, tell_at: Instant) -> Duration {
        if !self.cutting.is_empty() {
            return Duration::ZERO;
        }
        let now = self.now();
        let mut until = now + tell_at.saturating_duration_since(Instant::now()).as_micros() as u64;
        if let Some(Reverse((due, _))) = self.due.peek() {
            until = until.min(*due);
        }
        if self.n_begun < self.order.n && self.n_on_their_way < self.order.at_once {
            until = until.min((f64::from(self.n_begun) / self.order.per_s * 1e6) as u64);
        }
        if self.order.cast.n_askers > 0 {
            until = until.min(now + 5_000);
        }
        // Not to the microsecond: it is cheaper to act a little late than to wake twice.
        Duration::from_micros(until.saturating_sub(now).max(1_000))
    }

    fn told(&mut self, word: Word) -> io::Result<()> {
        match word {
            Word::Place => {
                for (placer, holder) in self.holding.place() {
                    self.place(placer, holder);
                }
            }
            Word::Cut => {
                self.holding.cut();
                self.cutting = 0..self.order.n;
            }
            Word::Tell => say(&Said::Took(self.times.take()))?,
            Word::Judge => say(&Said::Held(self.holding.judge()))?,
            Word::Leave => {}
        }
        Ok(())
    }

    /// Opens as many as the pace allows by now.
    fn begin_some(&mut self) {
        let allowed = self.order.n_allowed(self.began.elapsed().as_secs_f64());
        while self.n_begun < self.order.n
            && f64::from(self.n_begun) < allowed
            && self.n_on_their_way < self.order.at_once
        {
            self.n_begun += 1;
            self.open(self.n_begun - 1);
        }
    }

    fn act_in_time(&mut self) {
        let now = self.now();
        while let Some(Reverse((due, index))) = self.due.peek().copied()
            && due <= now
        {
            self.due.pop();
            let phone = &self.phones[index as usize];
            if phone.due != due {
                continue;
            }
            match phone.stage {
                Stage::Waiting => self.queue.push_back(index),
                Stage::Open if now >= phone.heard_at + phone.heartbeats(2.5) => self.lost(index),
                Stage::Open => self.beat(index),
                Stage::Opening | Stage::Shaking | Stage::Greeting | Stage::Entering => {
                    self.counts.failed += 1;
                    self.come_back(index, None);
                }
                Stage::New | Stage::Gone => {}
            }
        }
        while self.n_on_their_way < self.order.at_once
            && let Some(index) = self.queue.pop_front()
        {
            self.open(index);
        }
    }

    /// Lets a phone say something then, in step with others.
    fn speaks_at(&mut self, index: u32, due: u64) {
        let due = self.order.in_step(self.began_us + due) - self.began_us;
        self.set_due(index, due);
    }

    fn set_due(&mut self, index: u32, due: u64) {
        self.phones[index as usize].due = due;
        self.due.push(Reverse((due, index)));
    }

    fn open(&mut self, index: u32) {
        let now = self.now();
        self.phones[index as usize].began = now;
        match connect(&self.order, index).and_then(|mut stream| {
            let both = Interest::READABLE | Interest::WRITABLE;
            self.poll.registry().register(&mut stream, Token(index as usize), both)?;
            Ok(stream)
        }) {
            Ok(stream) => {
                let phone = &mut self.phones[index as usize];
                phone.stream = Some(stream);
                phone.stage = Stage::Opening;
                self.n_on_their_way += 1;
                self.set_due(index, now + WELCOME_MAX.as_micros() as u64);
            }
            Err(_) => {
                self.counts.failed += 1;
                self.come_back(index, None);
            }
        }
    }

    fn ready(&mut self, index: u32, is_writable: bool, is_readable: bool) {
        let Some(phone) = self.phones.get_mut(index as usize) else { return };
        if is_writable {
            match (phone.stage, &phone.stream) {
                (Stage::Opening, Some(stream)) => {
                    if stream.peer_addr().is_err() {
                        if matches!(stream.take_error(), Ok(None)) {
                            // Not yet.
                            return;
                        }
                        self.counts.failed += 1;
                        return self.come_back(index, None);
                    }
                    phone.stage = Stage::Shaking;
                    let heard = u64::from(phone.heard);
                    let resume = phone.at.map(|session| Resume { session, heard });
                    let Some(token) = self.token(index) else { return self.lost(index) };
                    let ask = wire::handshake(self.order.target(index), &token, resume);
                    self.write(index, &ask);
                }
                _ => self.flush(index),
            }
        }
        if is_readable {
            self.read(index);
        }
    }

    fn read(&mut self, index: u32) {
        loop {
            let phone = &mut self.phones[index as usize];
            let Some(stream) = &mut phone.stream else { return };
            match stream.read(&mut self.buffer) {
                Ok(0) => return self.lost(index),
                Ok(n) => {
                    let is_all = n < self.buffer.len();
                    let mut bytes = std::mem::take(&mut phone.rest).into_vec();
                    bytes.extend_from_slice(&self.buffer[..n]);
                    if self.heard(index, &bytes).is_err() {
                        return self.lost(index);
                    }
                    if is_all {
                        return;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return self.lost(index),
            }
        }
    }

    /// Takes in all whole messages, and keeps the rest.
    fn heard(&mut self, index: u32, bytes: &[u8]) -> Result<(), Broken> {
        let mut from = 0;
        if self.phones[index as usize].stage == Stage::Shaking {
            match wire::answer(bytes)? {
                Answer::NotYet => {}
                Answer::Open(n) => {
                    from = n;
                    self.phones[index as usize].stage = Stage::Greeting;
                }
                Answer::Refused { status, retry_after } => {
                    match status {
                        429 => self.counts.too_fast += 1,
                        503 => self.counts.busy += 1,
                        _ => self.counts.refused += 1,
                    }
                    self.come_back(index, retry_after);
                    return Ok(());
                }
            }
        }
        while self.phones[index as usize].stream.is_some()
            && self.phones[index as usize].stage != Stage::Shaking
            && let Some((message, n)) = wire::message(&bytes[from..])?
        {
            from += n;
            match message {
                Message::Frame(frame) => self.frame(index, frame),
                Message::Ping(payload) => {
                    let pong = wire::pong(payload, self.rng.random());
                    self.write(index, &pong);
                }
                Message::Pong => {}
                Message::Close(_) => {
                    self.phones[index as usize].goodbye_ms.get_or_insert(0);
                    self.lost(index);
                    return Ok(());
                }
            }
        }
        let phone = &mut self.phones[index as usize];
        if phone.stream.is_some() && from < bytes.len() {
            phone.rest = bytes[from..].into();
        }
        Ok(())
    }

    fn frame(&mut self, index: u32, frame: &[u8]) {
        let now = self.now();
        let part = self.order.cast.part(index);
        let phone = &mut self.phones[index as usize];
        phone.heard_at = now;
        phone.heard_here += 1;
        match wire::name(frame) {
            Some("heartbeat") => {
                self.counts.beats_heard += 1;
                let mut next = None;
                if let Ok(ServerFrame::Heartbeat { heartbeat_ms: Some(ms), .. }) =
                    CODEC.decode_unbounded(frame)
                {
                    phone.paced(ms);
                    let due = now + phone.heartbeats(BEAT_PART);
                    if phone.stage == Stage::Open {
                        next = Some(due);
                    }
                }
                if phone.beat_at > 0 {
                    self.times.beat.record(Duration::from_micros(now - phone.beat_at));
                    phone.beat_at = 0;
                }
                if let Some(due) = next {
                    self.speaks_at(index, due);
                }
            }
            Some("hello") => self.greeted(index, frame),
            Some("welcome") => self.welcomed(index, frame),
            Some("push") if part == Part::Holder => {
                if let Ok(ServerFrame::Push { push, .. }) = CODEC.decode_unbounded(frame) {
                    self.holding.heard(index, push);
                }
            }
            Some("result") => {
                let Ok(ServerFrame::Result { id, outcome }) = CODEC.decode_unbounded(frame) else {
                    return;
                };
                if let Some(said) = self.asked.remove(&id) {
                    self.times.command.record(Duration::from_micros(now - said));
                }
                match &outcome {
                    Outcome::Ok(_) => self.counts.done += 1,
                    Outcome::Refused(refused) => {
                        self.counts.commands_refused += 1;
                        tracing::warn!(%refused, ?part, "a command was refused");
                    }
                }
                if let Part::Placer(holder) = part {
                    self.holding.placed(holder, &outcome);
                }
            }
            Some("goodbye") => {
                if let Ok(ServerFrame::Goodbye { refused }) = CODEC.decode_unbounded(frame) {
                    let wait_ms = refused.retry_after_ms.unwrap_or_default();
                    phone.goodbye_ms = Some(u32::try_from(wait_ms).unwrap_or(u32::MAX));
                    tracing::info!(%refused, "goodbye");
                }
            }
            Some("refused") => {
                tracing::info!(frame = ?CODEC.decode_unbounded::<ServerFrame>(frame), "refused");
            }
            Some(_) | None => {}
        }
    }

    fn greeted(&mut self, index: u32, frame: &[u8]) {
        let hello = CODEC.decode_unbounded(frame);
        let Ok(ServerFrame::Hello { session, heartbeat_ms, .. }) = hello else { return };
        let phone = &mut self.phones[index as usize];
        phone.paced(heartbeat_ms);
        phone.heartbeat_usual_ms = phone.heartbeat_ms;
        phone.here = Some(session);
        phone.stage = Stage::Entering;
    }

    fn token(&mut self, index: u32) -> Option<String> {
        let phone = &mut self.phones[index as usize];
        if let Some(token) = &phone.token {
            return Some(token.to_string());
        }
        let token = self.key.sign(self.order.principal(index)).ok()?;
        if self.order.keeps_tokens {
            phone.token = Some(token.as_str().into());
        }
        Some(token)
    }

    fn welcomed(&mut self, index: u32, frame: &[u8]) {
        let now = self.now();
        let part = self.rng.random_range(0.1..BEAT_PART);
        let phone = &mut self.phones[index as usize];
        let beat = phone.heartbeats(part);
        let Ok(ServerFrame::Welcome { resumed, .. }) = CODEC.decode_unbounded(frame) else {
            return;
        };
        if phone.stage != Stage::Entering {
            return;
        }
        phone.stage = Stage::Open;
        phone.n_failed = 0;
        (phone.at, phone.heard) = (phone.here, 0);
        self.n_on_their_way -= 1;
        self.counts.alive += 1;
        let is_first = !std::mem::replace(&mut phone.has_been, true);
        if is_first {
            self.times.welcome.record(Duration::from_micros(now - phone.began));
        } else {
            self.counts.reconnects += 1;
            match resumed {
                Some(true) => self.counts.resumed += 1,
                Some(false) | None => self.counts.anew += 1,
            }
            if std::mem::take(&mut phone.is_cut) {
                self.counts.cut -= 1;
                self.times.back.record(Duration::from_micros(now - phone.lost));
            }
        }
        self.speaks_at(index, now + beat);
        let works = match self.order.cast.part(index) {
            Part::Holder | Part::Asker => true,
            Part::Placer(_) => false,
            Part::Extra => self.order.on_duty,
        };
        if works && matches!(self.order.principal(index), Principal::Driver(_)) {
            if is_first {
                let vehicle =
                    Vehicle { kind: VehicleKind::Moto, capacity_g: 50_000, skills: Vec::new() };
                let (duty, vehicle) = (DutyWish::On, Some(vehicle));
                let action = DriverAction::SetDuty { duty, vehicle };
                self.command(index, Wish::Driver { id: None, action });
            }
            self.position(index);
        }
    }

    fn position(&mut self, index: u32) {
        let at = HERE.offset_m(f64::from(index % 1_000), f64::from(index / 1_000));
        let sampled_at = clock::now();
        let (heading_deg, speed_mps, accuracy_m, mock) = (None, None, None, false);
        let fix = Fix { at, sampled_at, heading_deg, speed_mps, accuracy_m, mock };
        self.say(index, &ClientFrame::Position(fix));
    }

    fn beat(&mut self, index: u32) {
        let now = self.now();
        let phone = &mut self.phones[index as usize];
        phone.beat_at = now;
        let heard = Some(u64::from(phone.heard_here));
        let due = now + phone.heartbeats(BEAT_PART);
        self.counts.beats += 1;
        self.speaks_at(index, due);
        self.say(index, &ClientFrame::Heartbeat { heard });
        if matches!(self.order.cast.part(index), Part::Holder | Part::Asker) {
            self.position(index);
        }
    }

    /// Lets askers say as many commands as their pace allows, if they are there.
    fn ask(&mut self) {
        let cast = self.order.cast;
        if cast.n_askers == 0 || self.n_begun < self.order.n {
            return;
        }
        let allowed = self.began.elapsed().as_secs_f64() * f64::from(cast.asks_per_s);
        while (self.n_asked as f64) < allowed {
            self.n_asked += 1;
            let index = 2 * cast.n_holders + (self.n_asked % u64::from(cast.n_askers)) as u32;
            if self.phones[index as usize].stage == Stage::Open {
                let to = Some(HERE.offset_m((self.n_asked % 1_000) as f64, 0.0));
                let action = DriverAction::SetDestination { to };
                self.command(index, Wish::Driver { id: None, action });
            }
        }
    }

    fn place(&mut self, placer: u32, holder: u32) {
        let Principal::Driver(driver) = self.order.principal(holder) else { return };
        let stops = [HERE, HERE.offset_m(2_000.0, 0.0)].map(|at| json!({ "at": at }));
        let order = json!({ "kind": OrderKind::Ride, "stops": stops, "driver": driver });
        match serde_json::from_value::<NewOrder>(order) {
            Ok(order) => self.command(placer, Wish::PlaceOrder(Box::new(order))),
            Err(error) => tracing::error!(%error, "an order cannot be written"),
        }
    }

    fn command(&mut self, index: u32, wish: Wish) {
        let id = CommandId::mint();
        self.counts.commands += 1;
        self.asked.insert(id, self.now());
        self.say(index, &ClientFrame::Command { id, wish });
    }

    fn say(&mut self, index: u32, frame: &ClientFrame) {
        match CODEC.encode(frame) {
            Ok(bytes) => {
                let bytes = wire::say(&bytes, self.rng.random());
                self.write(index, &bytes);
            }
            Err(error) => tracing::error!(%error, "a frame cannot be written"),
        }
    }

    fn write(&mut self, index: u32, bytes: &[u8]) {
        let phone = &mut self.phones[index as usize];
        let mut unsaid = std::mem::take(&mut phone.unsaid).into_vec();
        unsaid.extend_from_slice(bytes);
        phone.unsaid = unsaid.into();
        self.flush(index);
    }

    fn flush(&mut self, index: u32) {
        let phone = &mut self.phones[index as usize];
        let mut n_written = 0;
        while n_written < phone.unsaid.len()
            && let Some(stream) = &mut phone.stream
        {
            match stream.write(&phone.unsaid[n_written..]) {
                Ok(n) => n_written += n,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return self.lost(index),
            }
        }
        if n_written > 0 {
            phone.unsaid = phone.unsaid[n_written..].into();
        }
    }

    /// Its connection is gone, and nobody wanted that.
    fn lost(&mut self, index: u32) {
        let phone = &self.phones[index as usize];
        if phone.stream.is_none() {
            return;
        }
        if phone.stage == Stage::Open {
            self.counts.died += 1;
        } else {
            self.counts.failed += 1;
        }
        self.come_back(index, None);
    }

    /// Drops the connection; the next attempt comes after a pause, at least `wait`.
    fn come_back(&mut self, index: u32, wait: Option<Duration>) {
        let now = self.now();
        let phone = &mut self.phones[index as usize];
        if phone.is_on_its_way() {
            self.n_on_their_way -= 1;
        }
        // As the clients do: only whoever is cut off without a word leaves the way to others.
        let told = phone.goodbye_ms.take();
        let mut pause = self.habits.pause(phone.n_failed.into(), &mut self.rng);
        if told.is_none() && phone.is_at_rest() {
            pause = pause.max(self.habits.pause_at_rest(&mut self.rng));
        }
        let wait = wait.or(told.map(|ms| Duration::from_millis(ms.into())));
        if phone.stage == Stage::Open {
            self.counts.alive -= 1;
            phone.lost = now;
            (phone.at, phone.heard) = (phone.here, phone.heard_here);
        }
        phone.n_failed = phone.n_failed.saturating_add(1);
        phone.stage = Stage::Waiting;
        // Its number may be used at once again by another: what is under way for this one is nobody's.
        phone.stream = None;
        (phone.here, phone.heard_here, phone.beat_at) = (None, 0, 0);
        (phone.rest, phone.unsaid) = Default::default();
        self.set_due(index, now + (wait.unwrap_or_default() + pause).as_micros() as u64);
    }

    /// Cuts off the next of those who are to be, as a network would: without a word.
    fn cut_some(&mut self) {
        let Range { start, end } = self.cutting;
        // Whoever holds pushes first, and all at once: what is heard afterwards was said again.
        let next = (start + CUT_IN_A_ROW).max(self.order.cast.n_holders).min(end);
        self.cutting = next..end;
        for index in start..next {
            match self.order.cast.part(index) {
                Part::Placer(_) | Part::Asker => continue,
                Part::Extra | Part::Holder => {}
            }
            let phone = &mut self.phones[index as usize];
            if phone.stage != Stage::Open {
                continue;
            }
            if let Some(stream) = phone.stream.take() {
                // With nothing to wait for, closing is a reset.
                let socket = Socket::from(std::net::TcpStream::from(stream));
                drop(socket.set_linger(Some(Duration::ZERO)));
            }
            phone.is_cut = true;
            self.counts.cut += 1;
            self.come_back(index, None);
        }
    }

    fn leave(mut self) -> io::Result<()> {
        for index in 0..self.order.n {
            if self.phones[index as usize].stage == Stage::Open {
                let goodbye = wire::goodbye(self.rng.random());
                self.phones[index as usize].stage = Stage::Gone;
                self.write(index, &goodbye);
            }
        }
        say(&Said::Counts(self.counts))
    }
}

fn connect(order: &Order, index: u32) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    socket.set_tcp_nodelay(true)?;
    socket.bind(&order.source(index).into())?;
    match socket.connect(&order.target(index).into()) {
        Err(error) if error.raw_os_error() != Some(IN_PROGRESS) => Err(error),
        Ok(()) | Err(_) => Ok(TcpStream::from_std(socket.into())),
    }
}

fn say(said: &Said) -> io::Result<()> {
    let mut out = io::stdout().lock();
    serde_json::to_writer(&mut out, said)?;
    out.write_all(b"\n")?;
    out.flush()
}
