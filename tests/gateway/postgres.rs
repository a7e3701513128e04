//! A node whose Postgres crashes, stays away and comes back: phones stay connected, hear when to ask
//! again, and have what they were told they have.

use crate::{
    client::Client,
    node::{Node, rider},
    ride::new_ride,
};
use actors::journal::postgres::private::{PrivatePostgres, Stop};
use protocol::{
    Code, CommandId,
    frame::Outcome,
    work::{OrderAction, Wish},
};
use std::{
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

const N_RIDERS: u64 = 16;
const AWAY: Duration = Duration::from_secs(30);

/// What the riders can tell.
#[derive(Debug, Default)]
struct Told {
    n_ok: AtomicU64,
    n_busy: AtomicU64,
    is_enough: AtomicBool,
}

#[expect(clippy::print_stdout, reason = "the figures of this test are worth reading")]
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_crash_of_postgres_loses_nothing_and_closes_no_socket() {
    let directory = tempfile::tempdir().unwrap();
    // It does not run as root, and must be able to come in.
    fs::set_permissions(directory.path(), Permissions::from_mode(0o755)).unwrap();
    let server = PrivatePostgres::start(directory.path().join("postgres")).await.unwrap();
    let node = Node::with(&[
        ("JOURNAL__KIND", "postgres"),
        ("JOURNAL__URL", &server.url()),
        ("GATEWAY__SESSION__COMMANDS_PER_S", "1000"),
        ("GATEWAY__SESSION__COMMANDS_BURST", "1000"),
        ("GATEWAY__SESSION__FRAMES_PER_S", "1000"),
        ("GATEWAY__SESSION__FRAMES_BURST", "1000"),
    ]);
    let told = Arc::new(Told::default());
    let mut riders = Vec::new();
    for n in 0..N_RIDERS {
        let client = Client::connect(&node, rider(n)).await;
        riders.push(tokio::spawn(ride_and_cancel(client, Arc::clone(&told))));
    }
    until(|| told.n_ok.load(Ordering::Relaxed) > 50).await;

    server.stop(Stop::Immediate).await.unwrap();
    tokio::time::sleep(AWAY).await;
    assert!(told.n_busy.load(Ordering::Relaxed) > N_RIDERS, "callers are told to come back");

    server.start_again().await.unwrap();
    let (back, before) = (Instant::now(), told.n_ok.load(Ordering::Relaxed));
    until(|| told.n_ok.load(Ordering::Relaxed) > before).await;
    println!("the first yes came {:?} after Postgres was back", back.elapsed());
    until(|| told.n_ok.load(Ordering::Relaxed) > before + 50).await;
    told.is_enough.store(true, Ordering::Relaxed);

    let http = reqwest::Client::new();
    for (n, riding) in (0..).zip(riders) {
        let kept = riding.await.unwrap();
        let token = node.token(rider(n));
        for order in kept {
            let answer = http.get(node.url(&format!("/v1/orders/{order}"))).bearer_auth(&token);
            let view: serde_json::Value = answer.send().await.unwrap().json().await.unwrap();
            assert_eq!(view["id"], order, "{view}");
            assert!(view["status"].as_str().unwrap().starts_with("cancelled"), "{view}");
        }
    }
    drop(node);
    drop(server);
}

/// Places and cancels orders, each with one command id until there is a yes; returns the orders, whose
/// beginning and end were both acknowledged.
async fn ride_and_cancel(mut client: Client, told: Arc<Told>) -> Vec<String> {
    let mut kept = Vec::new();
    while !told.is_enough.load(Ordering::Relaxed) {
        let place = Wish::PlaceOrder(Box::new(new_ride()));
        let id = insist(&mut client, place, &told).await;
        let order = id.parse().unwrap();
        let action = OrderAction::Cancel { reason: "changed my mind".to_owned() };
        insist(&mut client, Wish::Order { id: order, action }, &told).await;
        kept.push(id);
    }
    kept
}

/// Asks until the answer is yes. The socket stays open all the while.
async fn insist(client: &mut Client, wish: Wish, told: &Told) -> String {
    let command = CommandId::mint();
    loop {
        match client.wish_as(command, wish.clone()).await {
            Outcome::Ok(done) => {
                told.n_ok.fetch_add(1, Ordering::Relaxed);
                return done.actor;
            }
            Outcome::Refused(refused) => {
                assert_eq!(refused.code, Code::Busy, "{refused:?}");
                let wait = refused.retry_after_ms.expect("busy says for how long");
                told.n_busy.fetch_add(1, Ordering::Relaxed);
                tokio::time::sleep(Duration::from_millis(wait)).await;
            }
        }
    }
}

async fn until(mut holds: impl FnMut() -> bool) {
    while !holds() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
