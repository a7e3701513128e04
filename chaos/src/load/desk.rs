//! A dispatcher's desk: the same wishes over REST, each with a key of its own until it is answered.

use super::{
    MIDDLE, order,
    phone::{GIVE_UP, World},
};
use crate::record::{Sample, Told};
use loadtest::TokenSource;
use protocol::{
    CommandId, Principal, Refused, RiderId,
    frame::Done,
    work::{OrderAction, Wish},
};
use rand::{Rng, SeedableRng, rngs::StdRng};
use reqwest::StatusCode;
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use tokio_util::sync::CancellationToken;

/// Without an answer for this long, a request is made again, of another node.
const ANSWER_MAX: Duration = Duration::from_millis(1_200);
/// How long to breathe before another node is asked.
const BREATHER: Duration = Duration::from_millis(30);

struct Desk {
    world: Arc<World>,
    n: usize,
    http: reqwest::Client,
    token: String,
    door: usize,
}

/// Orders for somebody else and calls it off, and again.
pub(super) async fn dispatch(
    world: Arc<World>,
    n: usize,
    think: Duration,
    home: CancellationToken,
) {
    let token = world.key.token(Principal::Dispatcher).await.expect("the key signs");
    let http = reqwest::Client::builder().no_proxy().timeout(ANSWER_MAX).build();
    let http = http.expect("these settings are possible");
    let mut dice = StdRng::seed_from_u64(n as u64);
    let mut desk = Desk { door: n % world.doors.len(), world, n, http, token };
    while !home.is_cancelled() {
        let mut metres = || dice.random_range(-100_000.0..100_000.0);
        let from = MIDDLE.offset_m(metres(), metres());
        let mut order = order(from);
        order.rider = Some(RiderId::nth(10_000 + n as u64));
        let done = desk.insist(Wish::PlaceOrder(Box::new(order))).await;
        tokio::select! {
            () = tokio::time::sleep(think) => {}
            () = home.cancelled() => {}
        }
        if let Some(id) = done.and_then(|done| done.actor.parse().ok()) {
            let action = OrderAction::Cancel { reason: "the customer called".to_owned() };
            desk.insist(Wish::Order { id, action }).await;
        }
    }
}

/// What a request came to.
enum Heard {
    Yes(Done),
    Later,
    No(StatusCode, Option<Refused>),
    Nothing,
}

impl Desk {
    async fn insist(&mut self, wish: Wish) -> Option<Done> {
        let (id, began, mut n_tries) = (CommandId::mint(), Instant::now(), 0);
        let mut heard_at = began;
        loop {
            n_tries += 1;
            let heard = self.once(id, &wish).await;
            if !matches!(heard, Heard::Nothing) {
                self.world.record.gap(heard_at.elapsed());
                heard_at = Instant::now();
            }
            let record = &self.world.record;
            match heard {
                Heard::Yes(done) => {
                    let by = Principal::Dispatcher;
                    record.acked(Sample { by, id, wish, done: done.clone() }, n_tries);
                    record.answered(self.n, began, n_tries, Told::Yes);
                    return Some(done);
                }
                Heard::No(StatusCode::CONFLICT, _) if matches!(wish, Wish::Order { .. }) => {
                    record.answered(self.n, began, n_tries, Told::No);
                    return None;
                }
                Heard::No(status, refused) => {
                    record.answered(self.n, began, n_tries, Told::Wrong);
                    record.unexpected(format!("a desk heard {status} {refused:?} to {wish:?}"));
                    return None;
                }
                Heard::Later | Heard::Nothing if began.elapsed() > GIVE_UP => {
                    record.answered(self.n, began, n_tries, Told::Wrong);
                    record.unexpected(format!("a desk heard nothing to {wish:?}"));
                    return None;
                }
                Heard::Later | Heard::Nothing => {
                    self.door = (self.door + 1) % self.world.doors.len();
                    tokio::time::sleep(BREATHER).await;
                }
            }
        }
    }

    async fn once(&self, id: CommandId, wish: &Wish) -> Heard {
        let door = self.world.doors[self.door];
        let request = match wish {
            Wish::PlaceOrder(order) => {
                self.http.post(format!("http://{door}/v1/orders")).json(order)
            }
            Wish::Order { id, action } => {
                self.http.post(format!("http://{door}/v1/orders/{id}/actions")).json(action)
            }
            Wish::RequestRescue(_)
            | Wish::Rescue { .. }
            | Wish::Rider { .. }
            | Wish::Driver { .. }
            | Wish::Sos(_)
            | Wish::Incident { .. }
            | Wish::Zone { .. }
            | Wish::Run { .. } => {
                return Heard::No(StatusCode::NOT_IMPLEMENTED, None);
            }
        };
        let key = id.0.to_string();
        let request = request.bearer_auth(&self.token).header("idempotency-key", key);
        let Ok(answer) = request.send().await else { return Heard::Nothing };
        let status = answer.status();
        if status.is_success() {
            // A body that was cut off told nobody anything.
            return answer.json().await.map_or(Heard::Nothing, Heard::Yes);
        }
        let is_passing = [
            StatusCode::TOO_MANY_REQUESTS,
            StatusCode::SERVICE_UNAVAILABLE,
            StatusCode::REQUEST_TIMEOUT,
            StatusCode::GATEWAY_TIMEOUT,
        ];
        match is_passing.contains(&status) {
            true => Heard::Later,
            false => Heard::No(status, answer.json().await.ok()),
        }
    }
}
