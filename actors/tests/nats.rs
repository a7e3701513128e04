//! Messages between nodes through a real broker, which comes and goes.
#![expect(clippy::unwrap_used, reason = "helpers of tests are not seen as tests")]

use actors::cluster::{
    Incarnation,
    nats::{ConnectError, NatsTransport, Settings, testing::TestNats},
    transport::{Full, Incoming, MESSAGE_BYTES_MAX, Transport},
};
use std::time::Duration;
use tokio::{sync::mpsc, time::timeout};
use uuid::Uuid;

/// How long anything may take that happens at all.
const SOON: Duration = Duration::from_secs(10);

/// What a node sends to itself, to learn whether it is heard.
const KNOCK: &[u8] = b"knock";

struct Node {
    me: Incarnation,
    transport: NatsTransport,
    heard: mpsc::Receiver<Incoming>,
}

/// Of no other test, though all may share a broker.
fn incarnation() -> Incarnation {
    Incarnation(Uuid::now_v7().as_u64_pair().1)
}

async fn connect(settings: &Settings, name: &str) -> NatsTransport {
    NatsTransport::connect(settings, name, "node").await.unwrap()
}

impl Node {
    async fn join(settings: &Settings, name: &str) -> Self {
        let (transport, me) = (connect(settings, name).await, incarnation());
        let (to, heard) = mpsc::channel(10_000);
        transport.listen(me, to);
        let mut node = Self { me, transport, heard };
        node.is_connected(true).await;
        node.is_heard().await;
        node
    }

    async fn is_connected(&self, wanted: bool) {
        let mut connected = self.transport.is_connected();
        let changed = timeout(SOON, connected.wait_for(|it| *it == wanted)).await;
        drop(changed.unwrap_or_else(|_| panic!("connected is not {wanted}")).unwrap());
    }

    /// Waits until what is sent to it arrives: by itself, through the broker.
    async fn is_heard(&mut self) {
        let arrived = async {
            loop {
                self.transport.send(self.me, KNOCK.into()).unwrap();
                // Nobody says that it is not heard while that is not heard either.
                let heard = timeout(Duration::from_millis(20), self.heard.recv()).await;
                if let Ok(Some(Incoming::Message(_))) = heard {
                    break;
                }
            }
        };
        timeout(SOON, arrived).await.expect("it hears itself");
    }

    async fn hear(&mut self) -> Incoming {
        loop {
            let heard = timeout(SOON, self.heard.recv()).await.expect("something arrives").unwrap();
            let is_late = heard == Incoming::Message(KNOCK.into());
            if !is_late && heard != Incoming::Unheard(self.me) {
                break heard;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_arrive_in_order_at_whom_they_are_for() {
    let broker = TestNats::start().await;
    let mut one = Node::join(&broker.settings(), "order").await;
    let mut two = Node::join(&broker.settings(), "order").await;
    let mut three = Node::join(&broker.settings(), "order").await;
    for n in 0..5_000_u32 {
        one.transport.send(two.me, n.to_be_bytes().into()).unwrap();
        if n % 10 == 0 {
            one.transport.send(three.me, n.to_be_bytes().into()).unwrap();
        }
    }
    for n in 0..5_000_u32 {
        assert_eq!(two.hear().await, Incoming::Message(n.to_be_bytes().into()));
    }
    for n in (0..5_000_u32).step_by(10) {
        assert_eq!(three.hear().await, Incoming::Message(n.to_be_bytes().into()));
    }
    two.transport.send(one.me, b"last".into()).unwrap();
    assert_eq!(one.hear().await, Incoming::Message(b"last".into()), "nobody was unheard");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_largest_message_fits() {
    let broker = TestNats::start().await;
    let one = Node::join(&broker.settings(), "large").await;
    let mut two = Node::join(&broker.settings(), "large").await;
    let large: Vec<_> = (0..MESSAGE_BYTES_MAX).map(|n| n as u8).collect();
    one.transport.send(two.me, large.clone()).unwrap();
    assert_eq!(two.hear().await, Incoming::Message(large));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_writes_to_nobody_is_told() {
    let broker = TestNats::start().await;
    let mut one = Node::join(&broker.settings(), "nobody").await;
    let never = incarnation();
    one.transport.send(never, b"you".into()).unwrap();
    assert_eq!(one.hear().await, Incoming::Unheard(never));

    let two = Node::join(&broker.settings(), "nobody").await;
    let gone = two.me;
    drop(two);
    // The broker learns of it a moment later.
    let told = async {
        loop {
            one.transport.send(gone, b"you".into()).unwrap();
            if let Ok(incoming) = timeout(Duration::from_millis(20), one.hear()).await {
                break incoming;
            }
        }
    };
    assert_eq!(timeout(SOON, told).await.unwrap(), Incoming::Unheard(gone));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clusters_of_other_names_are_not_heard() {
    let broker = TestNats::start().await;
    let mut one = Node::join(&broker.settings(), "here").await;
    let two = Node::join(&broker.settings(), "there").await;
    one.transport.send(two.me, b"you".into()).unwrap();
    assert_eq!(one.hear().await, Incoming::Unheard(two.me));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_that_goes_and_comes_is_noticed_and_forgiven() {
    let mut broker = TestNats::start_own(&[]).await;
    let one = Node::join(&broker.settings(), "again").await;
    let mut two = Node::join(&broker.settings(), "again").await;
    for _ in 0..2 {
        broker.stop();
        one.is_connected(false).await;
        two.is_connected(false).await;
        // Without a broker sending still never waits, and ends with a clear no.
        let n_taken = (0..100_000).take_while(|_| one.transport.send(two.me, vec![0]).is_ok());
        let n_taken = n_taken.count();
        assert!(n_taken < 100_000, "{n_taken} wait");
        broker.start_again().await;
        one.is_connected(true).await;
        two.is_connected(true).await;
        // What was written before may still arrive, and then what is written now does.
        let arrived = async {
            loop {
                one.transport.send(two.me, b"now".into()).ok();
                let heard = timeout(Duration::from_millis(50), two.heard.recv()).await;
                if heard == Ok(Some(Incoming::Message(b"now".into()))) {
                    break;
                }
            }
        };
        timeout(SOON, arrived).await.expect("messages arrive again");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_starts_before_its_broker() {
    let mut broker = TestNats::start_own(&[]).await;
    broker.stop();
    let (transport, me) = (connect(&broker.settings(), "early").await, incarnation());
    let (to, heard) = mpsc::channel(100);
    transport.listen(me, to);
    assert!(!*transport.is_connected().borrow());
    broker.start_again().await;
    let mut node = Node { me, transport, heard };
    node.is_connected(true).await;
    node.is_heard().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_messages_that_wait_are_bounded_by_their_bytes() {
    let mut broker = TestNats::start_own(&[]).await;
    let one = Node::join(&broker.settings(), "bytes").await;
    broker.stop();
    one.is_connected(false).await;
    let large = || one.transport.send(one.me, vec![0; MESSAGE_BYTES_MAX]);
    let n_taken = (0..10_000).take_while(|_| large().is_ok()).count();
    assert!((100..200).contains(&n_taken), "64 MiB are 128: {n_taken}");
    assert_eq!(large(), Err(Full));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_password_is_in_the_url() {
    let broker = TestNats::start_own(&["--user", "outrider", "--pass", "secr@t"]).await;
    let url = broker.settings().url;
    let with = |password: &str| Settings {
        url: url.replace("nats://", &format!("nats://outrider:{password}@")),
        ..Settings::default()
    };
    Node::join(&with("secr%40t"), "secret").await;
    let stranger = connect(&with("guess"), "secret").await;
    let mut connected = stranger.is_connected();
    timeout(Duration::from_secs(1), connected.wait_for(|it| *it)).await.expect_err("a stranger");
    let shown = format!("{:?}", with("guess"));
    assert!(!shown.contains("guess"), "{shown}");
}

#[tokio::test]
async fn settings_that_can_never_work_are_refused() {
    let settings = |url: &str| Settings { url: url.into(), ..Settings::default() };
    let connect = async |settings, name| NatsTransport::connect(&settings, name, "node").await;
    let refused = connect(settings("http://broker:4222"), "here").await;
    assert!(matches!(refused, Err(ConnectError::Url(_))), "{refused:?}");
    for name in ["", "two words", "a.b", "all.>", "*"] {
        let refused = connect(settings("nats://127.0.0.1:1"), name).await;
        assert!(matches!(refused, Err(ConnectError::Name(_))), "{refused:?}");
    }
    let creds_file = "no-such-file.creds".into();
    let refused = connect(Settings { creds_file, ..settings("nats://127.0.0.1:1") }, "here").await;
    assert!(matches!(refused, Err(ConnectError::Credentials { .. })), "{refused:?}");
}
