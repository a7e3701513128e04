use super::*;
use crate::{
    auth::{Keys, Print},
    gateway::{Extra, Gateway},
    node::now,
    settings::{JournalKind, Settings},
};
use actors::{
    journal::memory::MemoryJournal,
    runtime::{Clock, System},
};
use futures_util::{SinkExt, StreamExt};
use metrics_exporter_prometheus::PrometheusBuilder;
use protocol::{
    DriverId, Principal, RiderId, Timestamp,
    codec::Codec,
    work::{DriverAction, DutyWish, Vehicle, VehicleKind, Wish},
};
use tokio::net::TcpStream;
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream, connect_async,
    tungstenite::{Message, client::IntoClientRequest},
};

/// Longer than anything here should take.
const PATIENCE: Duration = Duration::from_secs(20);

/// What a future takes that is made of this.
fn bytes_of<A, B, C, F>(_: impl Fn(A, B, C) -> F) -> usize {
    size_of::<F>()
}

#[test]
fn a_session_is_small_for_most_of_them_do_nothing() {
    let (session, task) = (size_of::<Session>(), bytes_of(run));
    assert!(session <= 768, "{session}");
    assert!(task <= 1_664, "{task}");
}

#[test]
fn of_two_tokens_the_longer_counts_and_of_two_of_different_regions_the_newer() {
    let at = protocol::Point { lat: -1.9441, lon: 30.0619 };
    let here = Scope::of(&[actors::zone::neighbourhood(at).to_string()]).unwrap();
    let token = |issued_s: u64, expires_s: u64, scope: &Scope| Identity {
        principal: Principal::Dispatcher,
        scope: scope.clone(),
        fleet: None,
        token: None,
        issued_at: Timestamp(issued_s * 1_000),
        expires_at: Timestamp(expires_s * 1_000),
        print: Print::default(),
    };
    let everywhere = Scope::default();
    let known = token(100, 900, &everywhere);
    assert!(inbound::outlasts(&known, &token(200, 800, &everywhere)));
    assert!(!inbound::outlasts(&known, &token(50, 901, &everywhere)));
    // A narrower one counts although it is good for less long, and an older one does not, however long it is good.
    assert!(!inbound::outlasts(&known, &token(200, 300, &here)));
    assert!(!inbound::outlasts(&known, &token(100, 300, &here)), "in the same second");
    assert!(inbound::outlasts(&token(200, 300, &here), &known));
}

#[test]
fn that_it_can_be_looked_at_costs_a_session_next_to_nothing() {
    // What it is called with, and what it passes frames on to.
    assert_eq!(size_of::<Option<Call>>(), 16);
    assert_eq!(size_of::<Option<Box<Tap>>>(), 8);
}

/// A phone that hears and says what it is told to.
struct Phone(WebSocketStream<MaybeTlsStream<TcpStream>>);

impl Phone {
    async fn connect(gateway: &Gateway, keys: &Keys, principal: Principal) -> Self {
        let mut request =
            format!("ws://{}/v1/ws", gateway.address()).into_client_request().unwrap();
        let token = keys.mint(principal, Duration::from_secs(600), now()).unwrap();
        let headers = request.headers_mut();
        headers.insert("sec-websocket-protocol", Codec::MsgPack.subprotocol().parse().unwrap());
        headers.insert("authorization", format!("Bearer {token}").parse().unwrap());
        let (socket, _) = connect_async(request).await.unwrap();
        let mut phone = Self(socket);
        phone.hear(|frame| matches!(frame, ServerFrame::Welcome { .. })).await;
        phone
    }

    async fn say(&mut self, frame: &ClientFrame) {
        self.0.send(Message::binary(Codec::MsgPack.encode(frame).unwrap())).await.unwrap();
    }

    async fn hear(&mut self, is_wanted: impl Fn(&ServerFrame) -> bool) {
        let heard = async {
            while let Some(message) = self.0.next().await {
                let Message::Binary(bytes) = message.unwrap() else { continue };
                if is_wanted(&Codec::MsgPack.decode_unbounded(&bytes).unwrap()) {
                    return;
                }
            }
            panic!("the socket was closed");
        };
        tokio::time::timeout(PATIENCE, heard).await.expect("in time");
    }

    async fn beat(&mut self) {
        self.say(&ClientFrame::Heartbeat { heard: None }).await;
        self.hear(|frame| matches!(frame, ServerFrame::Heartbeat { .. })).await;
    }

    async fn go_on_duty(&mut self) {
        let vehicle = Vehicle { kind: VehicleKind::Moto, capacity_g: 0, skills: Vec::new() };
        let action = DriverAction::SetDuty { duty: DutyWish::On, vehicle: Some(vehicle) };
        let (id, wish) = (CommandId::mint(), Wish::Driver { id: None, action });
        self.say(&ClientFrame::Command { id, wish }).await;
        self.hear(|frame| matches!(frame, ServerFrame::Result { .. })).await;
    }
}

/// Waits until so many are awake; lets everyone sleep meanwhile who may.
async fn until_awake(system: &System, n: usize) {
    let slept = async {
        while system.n_awake() != n {
            system.sleep_all();
            // It takes a moment to ask four thousand shards.
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, slept).await.expect("in time");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_only_there_lets_its_actor_sleep_and_who_works_does_not() {
    let dir = tempfile::tempdir().unwrap();
    let mut settings = Settings::read(None, Some(JournalKind::Memory)).unwrap();
    settings.gateway.listen = "127.0.0.1:0".parse().unwrap();
    settings.journal.dir = dir.path().to_path_buf();
    let keys = || Keys::open(&settings.auth, settings.profile, &settings.journal.dir).unwrap();
    let journal = Arc::new(MemoryJournal::default());
    let regions = settings.regions().unwrap();
    let system = System::start(journal, Clock::Machine, settings.runtime, regions).await.unwrap();
    let metrics = PrometheusBuilder::new().build_recorder().handle();
    let gateway =
        Gateway::open(system.clone(), keys(), &settings, metrics, Extra::default()).await.unwrap();
    let (rider, driver) = (Principal::Rider(RiderId::nth(1)), Principal::Driver(DriverId::nth(1)));

    let mut rider = Phone::connect(&gateway, &keys(), rider).await;
    let mut driver = Phone::connect(&gateway, &keys(), driver).await;
    // Both are followed from now on, as is seen by what they are told: that nobody waits for them.
    let is_at_rest =
        |frame: &ServerFrame| matches!(frame, ServerFrame::Heartbeat { heartbeat_ms: Some(_), .. });
    rider.hear(is_at_rest).await;
    driver.hear(is_at_rest).await;
    assert_eq!(system.n_awake(), 0, "to be followed wakes nobody");
    for phone in [&mut rider, &mut driver] {
        phone.beat().await;
        phone.beat().await;
    }
    // A heartbeat is answered after it was passed on, so whoever was woken by one is awake by now.
    assert_eq!(system.n_awake(), 0, "a heartbeat woke somebody");

    driver.go_on_duty().await;
    driver.beat().await;
    until_awake(&system, 1).await;
    for _ in 0..10 {
        system.sleep_all();
        driver.beat().await;
    }
    assert_eq!(system.n_awake(), 1, "a driver on duty may not sleep");
    drop((rider, driver));
    gateway.leave(PATIENCE).await;
    gateway.close(PATIENCE).await;
    assert!(system.drain(PATIENCE).await);
}
