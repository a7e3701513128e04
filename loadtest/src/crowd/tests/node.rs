//! A node made of one lock and a few rules: enough to talk to a crowd, and to break promises to it.

use futures_util::{SinkExt, StreamExt};
use protocol::{
    Code, Currency, DriverId, DriverStatus, Fare, FulfilmentStatus, JobId, Money, OfferId,
    OfferStatus, OrderId, OrderStatus, Place, Point, Principal, Refused, RescueId, RescueStatus,
    RiderId, SessionId, Timestamp,
    codec::Codec,
    frame::{ClientFrame, Done, Fix, Outcome, Push, SUBPROTOCOL_MSGPACK, ServerFrame, Topic},
    view::{DriverView, Offer, OrderView, Rates, RescueView, WorkKind},
    work::{
        DriverAction, DutyWish, Issue, OfferPolicy, OrderAction, OrderKind, RescueAction, Wish,
    },
};
use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex},
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{broadcast, mpsc},
    task::AbortHandle,
};
use tokio_tungstenite::{
    accept_hdr_async,
    tungstenite::{
        Message,
        handshake::server::{Request, Response},
        http::HeaderValue,
        protocol::CloseFrame,
    },
};

/// What this node does wrong.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Flaws {
    pub(super) answers_twice: bool,
    pub(super) gives_one_ride_to_two: bool,
    pub(super) forgets_the_last_command: bool,
    /// Says "busy" to each command the first time.
    pub(super) is_busy_at_first: bool,
    /// Never finds a driver.
    pub(super) has_no_matching: bool,
    /// Lets nobody in, whatever they show.
    pub(super) believes_nobody: bool,
}

struct Job {
    id: JobId,
    version: u64,
    rider: RiderId,
    driver: Option<DriverId>,
    stops: Vec<Place>,
    kind: OrderKind,
    issue: Issue,
    order: OrderStatus,
    rescue: RescueStatus,
    excluded: Vec<DriverId>,
    offered: Option<(OfferId, DriverId)>,
    n_offers: u32,
}

#[derive(Default)]
struct DriverState {
    version: u64,
    is_on: bool,
    job: Option<JobId>,
    at: Option<Point>,
}

#[derive(Default)]
struct State {
    flaws: Flaws,
    jobs: BTreeMap<JobId, Job>,
    drivers: BTreeMap<DriverId, DriverState>,
    phones: HashMap<Principal, mpsc::Sender<ServerFrame>>,
    answers: HashMap<protocol::CommandId, Outcome>,
    n_pushes: u64,
    seen_busy: std::collections::HashSet<protocol::CommandId>,
    pub(super) commands: Vec<(Principal, Wish)>,
    n_connections: u64,
}

/// A node on a free port of the loopback.
pub(super) struct Node {
    state: Arc<Mutex<State>>,
    accepting: AbortHandle,
    cut: broadcast::Sender<()>,
    pub(super) url: String,
}

impl Node {
    pub(super) async fn start(flaws: Flaws) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("ws://{}/v1/ws", listener.local_addr().unwrap());
        let state = Arc::new(Mutex::new(State { flaws, ..State::default() }));
        let (cut, _) = broadcast::channel(1);
        let (shared, cutter) = (Arc::clone(&state), cut.clone());
        let accepting = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, Arc::clone(&shared), cutter.subscribe()));
            }
        });
        Self { state, accepting: accepting.abort_handle(), cut, url }
    }

    /// Cuts every connection.
    pub(super) fn cut(&self) {
        self.cut.send(()).ok();
    }

    /// Is gone, and does not come back.
    pub(super) fn fall(&self) {
        self.accepting.abort();
        self.cut();
    }

    pub(super) fn n_connections(&self) -> u64 {
        self.state.lock().unwrap().n_connections
    }

    pub(super) fn commands(&self) -> Vec<(Principal, Wish)> {
        self.state.lock().unwrap().commands.clone()
    }

    pub(super) fn n_open(&self) -> usize {
        let state = self.state.lock().unwrap();
        state.jobs.values().filter(|job| !job.is_over()).count()
    }
}

/// Tokens of this node say in plain text who one is.
pub(super) fn token(principal: Principal) -> String {
    principal.to_string()
}

async fn serve(stream: TcpStream, state: Arc<Mutex<State>>, mut cut: broadcast::Receiver<()>) {
    #[expect(clippy::result_large_err, reason = "the library's signature")]
    let subprotocol = |_: &Request, mut response: Response| {
        response
            .headers_mut()
            .insert("sec-websocket-protocol", HeaderValue::from_static(SUBPROTOCOL_MSGPACK));
        Ok(response)
    };
    stream.set_nodelay(true).unwrap();
    let Ok(mut socket) = accept_hdr_async(stream, subprotocol).await else { return };
    let bytes = |frame: &ServerFrame| Message::Binary(Codec::MsgPack.encode(frame).unwrap().into());
    let hello = ServerFrame::Hello {
        session: SessionId::nth(1),
        server_time: Timestamp(0),
        heartbeat_ms: 1_000,
        frame_bytes_max: 65_536,
        frames_per_s: 50,
        commands_per_s: 50,
        commands_max: 16,
        topics_max: 64,
        resume_ms: 0,
    };
    socket.send(bytes(&hello)).await.unwrap();
    let (sender, mut frames) = mpsc::channel(1_000);
    let mut me = None;
    loop {
        tokio::select! {
            _ = cut.recv() => return,
            Some(frame) = frames.recv() => {
                if socket.send(bytes(&frame)).await.is_err() {
                    return;
                }
            }
            message = socket.next() => {
                let Some(Ok(message)) = message else { return };
                let Message::Binary(raw) = message else { continue };
                let frame = Codec::MsgPack.decode::<ClientFrame>(&raw).unwrap();
                if state.lock().unwrap().flaws.believes_nobody {
                    let unauthenticated = CloseFrame { code: 4_401.into(), reason: "".into() };
                    socket.close(Some(unauthenticated)).await.ok();
                    return;
                }
                let mut state = state.lock().unwrap();
                if let ClientFrame::Identify { token, .. } = &frame {
                    let driver = token.parse().ok().map(Principal::Driver);
                    let who = driver.or_else(|| token.parse().ok().map(Principal::Rider));
                    let who = who.expect("a token of this node");
                    me = Some(who);
                    state.n_connections += 1;
                    state.phones.insert(who, sender.clone());
                    state.say(who, ServerFrame::Welcome { principal: who, expires_at: Timestamp(u64::MAX), resumed: Some(false), regions: Vec::new() });
                    state.welcome(who);
                } else {
                    state.hear(me.expect("identified first"), frame);
                }
            }
        }
    }
}

impl Job {
    fn is_over(&self) -> bool {
        match self.id {
            JobId::Order(_) => self.order.is_final(),
            JobId::Rescue(_) => self.rescue.is_final(),
        }
    }

    fn is_searching(&self) -> bool {
        match self.id {
            JobId::Order(_) => self.order == OrderStatus::Searching,
            JobId::Rescue(_) => self.rescue == RescueStatus::Searching,
        }
    }

    fn fare(&self) -> Fare {
        Fare { currency: Currency::RWF, lines: Vec::new() }
    }

    fn view(&self) -> ServerFrame {
        match self.id {
            JobId::Order(id) => ServerFrame::Order(Box::new(OrderView {
                id,
                version: self.version,
                kind: self.kind,
                status: self.order,
                fulfilment: FulfilmentStatus::None,
                rider: self.rider,
                driver: self.driver,
                stops: self.stops.clone(),
                stops_done: u8::from(self.order >= OrderStatus::InProgress),
                fare: self.fare(),
                tip: None,
                policy: OfferPolicy::Sequential,
                held: false,
                paused: None,
                priority: protocol::work::Priority::Normal,
                fleet: None,
                fleet_first: false,
                offers: Vec::new(),
                reason: None,
                placed_at: Timestamp(0),
                changed_at: Timestamp(0),
                start_at: None,
                price_asked: None,
                follows: None,
                followed_by: None,
                run: None,
                eta: None,
                queue: None,
                code: None,
                hub: None,
            })),
            JobId::Rescue(id) => ServerFrame::Rescue(Box::new(RescueView {
                id,
                version: self.version,
                issue: self.issue,
                status: self.rescue,
                rider: self.rider,
                driver: self.driver,
                attached: None,
                at: self.stops[0].clone(),
                dropoff: self.stops.get(1).cloned(),
                fare: self.fare(),
                needs: protocol::work::Needs::default(),
                held: false,
                priority: protocol::work::Priority::Normal,
                fleet: None,
                offers: Vec::new(),
                outcome: None,
                alternatives: Vec::new(),
                requested_at: Timestamp(0),
                changed_at: Timestamp(0),
                eta: None,
                queue: None,
            })),
        }
    }
}

type Verdict = Result<Done, Refused>;

fn illegal() -> Refused {
    Refused::new(Code::IllegalTransition, "not now")
}

impl State {
    fn say(&self, who: Principal, frame: ServerFrame) {
        if let Some(phone) = self.phones.get(&who) {
            phone.try_send(frame).ok();
        }
    }

    fn push(&mut self, driver: DriverId, push: Push) {
        self.n_pushes += 1;
        self.say(Principal::Driver(driver), ServerFrame::Push { n: self.n_pushes, push });
    }

    fn welcome(&mut self, who: Principal) {
        match who {
            Principal::Driver(id) => {
                if !self.drivers.contains_key(&id) {
                    return;
                }
                self.show_driver(id);
                for job in self.jobs.values_mut() {
                    job.offered = job.offered.filter(|(_, driver)| *driver != id);
                }
                self.find_drivers();
                if let Some(job) = self.drivers[&id].job {
                    self.say(who, self.jobs[&job].view());
                }
            }
            Principal::Rider(id) => {
                for job in self.jobs.values().filter(|job| job.rider == id && !job.is_over()) {
                    self.say(who, job.view());
                }
            }
            _ => panic!("only drivers and riders come here"),
        }
    }

    fn show_driver(&self, id: DriverId) {
        let driver = &self.drivers[&id];
        let status = match (driver.is_on, driver.job) {
            (false, _) => DriverStatus::Offline,
            (true, None) => DriverStatus::Available,
            (true, Some(_)) => DriverStatus::Busy,
        };
        let view = DriverView {
            id,
            version: driver.version,
            status,
            blocked: None,
            vehicle: None,
            jobs: driver.job.into_iter().collect(),
            offers: Vec::new(),
            position: None,
            fleet: None,
            hint: None,
            run: None,
            grants: Vec::new(),
            ungranted: Vec::new(),
            rates: Rates::default(),
            shift: None,
            n_shift_no_shows: 0,
            doubted: false,
            rest: None,
        };
        self.say(Principal::Driver(id), ServerFrame::Driver(Box::new(view)));
    }

    fn show_job(&self, id: JobId) {
        let job = &self.jobs[&id];
        self.say(Principal::Rider(job.rider), job.view());
        if let Some(driver) = job.driver {
            self.say(Principal::Driver(driver), job.view());
        }
    }

    fn hear(&mut self, me: Principal, frame: ClientFrame) {
        match frame {
            ClientFrame::Heartbeat { .. } => {
                self.say(
                    me,
                    ServerFrame::Heartbeat { server_time: Timestamp(0), heartbeat_ms: None },
                );
            }
            ClientFrame::Position(Fix { at, .. }) => {
                if let Principal::Driver(id) = me {
                    self.drivers.entry(id).or_default().at = Some(at);
                }
            }
            ClientFrame::Subscribe(topic) => {
                let job = match topic {
                    Topic::Order(id) => self.jobs.get(&JobId::Order(id)),
                    Topic::Rescue(id) => self.jobs.get(&JobId::Rescue(id)),
                    _ => None,
                };
                if let Some(job) = job {
                    self.say(me, job.view());
                }
            }
            ClientFrame::Command { id, wish } => {
                if self.flaws.is_busy_at_first && self.seen_busy.insert(id) {
                    let busy = Refused::new(Code::Busy, "later").retry_after_ms(50);
                    self.say(me, ServerFrame::Result { id, outcome: Outcome::Refused(busy) });
                    return;
                }
                let outcome = match self.answers.get(&id) {
                    Some(before) => before.clone(),
                    None => {
                        self.commands.push((me, wish.clone()));
                        match self.ask(me, id, wish) {
                            Ok(done) => Outcome::Ok(done),
                            Err(refused) => Outcome::Refused(refused),
                        }
                    }
                };
                self.answers.insert(id, outcome.clone());
                self.say(me, ServerFrame::Result { id, outcome: outcome.clone() });
                if self.flaws.answers_twice {
                    self.say(me, ServerFrame::Result { id, outcome });
                }
                self.find_drivers();
            }
            ClientFrame::Ack { .. }
            | ClientFrame::Unsubscribe(_)
            | ClientFrame::Identify { .. } => {}
        }
    }

    fn ask(&mut self, me: Principal, command: protocol::CommandId, wish: Wish) -> Verdict {
        match (me, wish) {
            (Principal::Rider(rider), Wish::PlaceOrder(new)) => {
                let id = OrderId::created_by(rider.0, command, protocol::ShardId(0));
                self.open(JobId::Order(id), rider, new.stops, new.kind, Issue::Stuck)
            }
            (Principal::Rider(rider), Wish::RequestRescue(new)) => {
                let id = RescueId::created_by(rider.0, command, protocol::ShardId(0));
                let stops = [Some(new.at), new.dropoff].into_iter().flatten().collect();
                self.open(JobId::Rescue(id), rider, stops, OrderKind::Ride, new.issue)
            }
            (me, Wish::Order { id, action }) => self.order(me, JobId::Order(id), action),
            (me, Wish::Rescue { id, action }) => self.rescue(me, JobId::Rescue(id), action),
            (Principal::Driver(id), Wish::Driver { action, .. }) => self.driver(id, action),
            _ => Err(Refused::new(Code::Forbidden, "not you")),
        }
    }

    fn open(
        &mut self,
        id: JobId,
        rider: RiderId,
        stops: Vec<Place>,
        kind: OrderKind,
        issue: Issue,
    ) -> Verdict {
        let job = Job {
            id,
            version: 1,
            rider,
            driver: None,
            stops,
            kind,
            issue,
            order: OrderStatus::Searching,
            rescue: RescueStatus::Searching,
            excluded: Vec::new(),
            offered: None,
            n_offers: 0,
        };
        self.jobs.insert(id, job);
        self.show_job(id);
        Ok(Done { actor: id.to_string(), version: 1 })
    }

    fn find_drivers(&mut self) {
        if self.flaws.has_no_matching {
            return;
        }
        let searching: Vec<JobId> = self
            .jobs
            .values()
            .filter(|job| job.is_searching() && job.offered.is_none())
            .map(|job| job.id)
            .collect();
        for id in searching {
            let busy: Vec<DriverId> = self
                .jobs
                .values()
                .filter_map(|job| job.offered.map(|(_, driver)| driver))
                .collect();
            let job = self.jobs.get_mut(&id).unwrap();
            let free = self.drivers.iter().find(|(driver, state)| {
                state.is_on
                    && state.job.is_none()
                    && !busy.contains(driver)
                    && !job.excluded.contains(driver)
            });
            let Some((&driver, _)) = free else {
                job.excluded.clear();
                continue;
            };
            job.n_offers += 1;
            let offer = OfferId::of(id, job.n_offers);
            job.offered = Some((offer, driver));
            let offer = Offer {
                id: offer,
                job: id,
                work: WorkKind::Ride,
                pickup: job.stops[0].clone(),
                dropoff: job.stops.get(1).cloned(),
                fare: Money { amount: 1, currency: Currency::RWF },
                eta_s: 1,
                expires_at: Timestamp(0),
                run: None,
                next: false,
            };
            self.push(driver, Push::Offer(offer));
        }
    }

    fn driver(&mut self, me: DriverId, action: DriverAction) -> Verdict {
        let found = |state: &Self, offer| {
            let is_it = |job: &&Job| job.offered == Some((offer, me));
            state.jobs.values().find(is_it).map(|job| job.id)
        };
        match action {
            DriverAction::SetDuty { duty, .. } => {
                self.drivers.entry(me).or_default().is_on = duty == DutyWish::On;
            }
            DriverAction::AcceptOffer { offer } => {
                let id = found(self, offer).ok_or_else(|| Refused::new(Code::OfferGone, "gone"))?;
                let job = self.jobs.get_mut(&id).unwrap();
                job.offered = None;
                job.driver = Some(me);
                job.order = OrderStatus::Assigned;
                job.rescue = RescueStatus::Accepted;
                job.version += 1;
                self.drivers.entry(me).or_default().job = Some(id);
                self.push(me, Push::OfferEnded { offer, status: OfferStatus::Accepted });
                self.push(me, Push::Assigned { job: id });
                self.show_job(id);
                if self.flaws.gives_one_ride_to_two {
                    let another = *self.drivers.keys().find(|id| **id != me).unwrap();
                    let mut twin = self.jobs[&id].view();
                    if let ServerFrame::Order(view) = &mut twin {
                        view.driver = Some(another);
                    }
                    self.push(another, Push::Assigned { job: id });
                    self.say(Principal::Driver(another), twin);
                }
            }
            DriverAction::DeclineOffer { offer } => {
                let id = found(self, offer).ok_or_else(|| Refused::new(Code::OfferGone, "gone"))?;
                let job = self.jobs.get_mut(&id).unwrap();
                job.offered = None;
                job.excluded.push(me);
                self.push(me, Push::OfferEnded { offer, status: OfferStatus::Declined });
            }
            _ => return Err(illegal()),
        }
        let driver = self.drivers.entry(me).or_default();
        driver.version += 1;
        let version = driver.version;
        self.show_driver(me);
        Ok(Done { actor: me.to_string(), version })
    }

    fn is_near(&self, driver: Option<DriverId>, place: Point) -> Result<(), Refused> {
        let at = driver.and_then(|driver| self.drivers.get(&driver)).and_then(|state| state.at);
        match at {
            Some(at) if at.distance_m(place) < 100.0 => Ok(()),
            _ => Err(Refused::new(Code::TooFar, "not there")),
        }
    }

    fn order(&mut self, me: Principal, id: JobId, action: OrderAction) -> Verdict {
        use OrderStatus::*;
        let job = self.jobs.get(&id).ok_or_else(|| Refused::new(Code::NotFound, "no"))?;
        let is_driver = job.driver.is_some_and(|driver| me == Principal::Driver(driver));
        let (first, last) = (job.stops[0].at, job.stops[job.stops.len() - 1].at);
        let next = match (action, job.order) {
            (OrderAction::Cancel { .. }, status) if status < InProgress => CancelledByRider,
            (OrderAction::Rate { .. }, status) if status.is_final() => status,
            (_, _) if !is_driver => return Err(illegal()),
            (OrderAction::Depart {}, Assigned) => EnRoutePickup,
            (OrderAction::Arrive {}, EnRoutePickup) => {
                self.is_near(job.driver, first)?;
                AtPickup
            }
            (OrderAction::Start { .. }, AtPickup) => InProgress,
            (OrderAction::Finish { .. }, InProgress) => {
                self.is_near(job.driver, last)?;
                Completed
            }
            (OrderAction::PickUp { .. }, AtPickup) => PickedUp,
            (OrderAction::Depart {}, PickedUp) => InTransit,
            (OrderAction::Arrive {}, InTransit) => {
                self.is_near(job.driver, last)?;
                AtDropoff
            }
            (OrderAction::Deliver { proofs, .. }, AtDropoff) => {
                if proofs.is_empty() {
                    return Err(Refused::new(Code::ProofMissing, "photo"));
                }
                Delivered
            }
            _ => return Err(illegal()),
        };
        let forgets = self.flaws.forgets_the_last_command && matches!(next, Completed | Delivered);
        let job = self.jobs.get_mut(&id).unwrap();
        job.order = next;
        Ok(self.changed(id, forgets))
    }

    fn rescue(&mut self, me: Principal, id: JobId, action: RescueAction) -> Verdict {
        use RescueStatus::*;
        let job = self.jobs.get(&id).ok_or_else(|| Refused::new(Code::NotFound, "no"))?;
        let is_driver = job.driver.is_some_and(|driver| me == Principal::Driver(driver));
        let (first, last) = (job.stops[0].at, job.stops[job.stops.len() - 1].at);
        let next = match (action, job.rescue) {
            (RescueAction::Cancel { .. }, status) if status <= EnRoute => CancelledByRider,
            (RescueAction::Rate { .. }, status) if status.is_final() => status,
            (RescueAction::ConfirmFixed { fixed: true }, Assisting) => Completed,
            (_, _) if !is_driver => return Err(illegal()),
            (RescueAction::Depart {}, Accepted) => EnRoute,
            (RescueAction::Arrive {}, EnRoute) => {
                self.is_near(job.driver, first)?;
                OnScene
            }
            (RescueAction::BeginAssist {}, OnScene) => Assisting,
            (RescueAction::Fixed {}, Assisting) => Assisting,
            (RescueAction::Load { .. }, OnScene) => Loading,
            (RescueAction::Depart {}, Loading) => InTransit,
            (RescueAction::Arrive {}, InTransit) => {
                self.is_near(job.driver, last)?;
                AtDropoff
            }
            (RescueAction::Unload { .. }, AtDropoff) => Completed,
            _ => return Err(illegal()),
        };
        self.jobs.get_mut(&id).unwrap().rescue = next;
        Ok(self.changed(id, false))
    }

    fn changed(&mut self, id: JobId, forgets: bool) -> Done {
        let job = self.jobs.get_mut(&id).unwrap();
        job.version += 1;
        let done = Done { actor: id.to_string(), version: job.version + u64::from(forgets) };
        self.show_job(id);
        let job = self.jobs.get_mut(&id).unwrap();
        if job.is_over() {
            job.offered = None;
            if let Some(driver) = job.driver {
                let state = self.drivers.get_mut(&driver).unwrap();
                if state.job == Some(id) {
                    state.job = None;
                    state.version += 1;
                    self.push(driver, Push::Released { job: id, reason: "over".into() });
                    self.show_driver(driver);
                }
            }
        }
        done
    }
}
