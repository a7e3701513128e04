//! A shop: hears from its customers which baskets are meant for it, says that it will make them, and when they are ready.
//!
//! Merchants cannot list their orders, so a customer tells the shop its order's id, as a rider tells its driver a code.

use super::{
    client::{Answer, Mind, Out},
    rider::topic,
    world::World,
};
use protocol::{
    CommandId, FulfilmentStatus, JobId, MerchantId, OrderId, OrderStatus, Principal,
    frame::{ClientFrame, Outcome, Push, ServerFrame},
    view::OrderView,
    work::{OrderAction, Wish},
};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

/// How often it looks whether a basket was asked for.
const LOOK_EVERY: Duration = Duration::from_millis(400);
/// How long until it says again what was refused.
const PAUSE: Duration = Duration::from_secs(2);
/// How long a basket takes, in city seconds.
const PREPARING_S: std::ops::Range<f64> = 60.0..300.0;

/// A basket being made.
#[derive(Debug)]
struct Basket {
    status: FulfilmentStatus,
    said: Option<CommandId>,
    ready_at: Option<Instant>,
    not_before: Instant,
}

/// A shop.
pub(super) struct Shop {
    world: Arc<World>,
    n: usize,
    id: MerchantId,
    rng: ChaCha8Rng,
    baskets: HashMap<OrderId, Basket>,
    wake_at: Instant,
}

impl Shop {
    pub(super) fn new(world: Arc<World>, n: usize) -> Self {
        let rng = ChaCha8Rng::seed_from_u64(world.options.seed ^ 0x5404 ^ (n as u64) << 16);
        let id = world.shop(n);
        Self { world, n, id, rng, baskets: HashMap::new(), wake_at: Instant::now() }
    }

    fn saw(&mut self, view: &OrderView, now: Instant, out: &mut Out) {
        let Some(basket) = self.baskets.get_mut(&view.id) else { return };
        basket.status = view.fulfilment;
        if is_over(view) {
            self.baskets.remove(&view.id);
            out.frame(ClientFrame::Unsubscribe(topic(JobId::Order(view.id))));
        } else {
            self.wake_at = now;
        }
    }
}

/// Is there nothing left for a shop to do?
fn is_over(view: &OrderView) -> bool {
    let is_gone = match view.fulfilment {
        FulfilmentStatus::HandedOver | FulfilmentStatus::Rejected | FulfilmentStatus::None => true,
        FulfilmentStatus::AwaitingMerchant
        | FulfilmentStatus::Confirmed
        | FulfilmentStatus::Preparing
        | FulfilmentStatus::Ready => false,
    };
    is_gone || OrderStatus::is_final(view.status)
}

impl Mind for Shop {
    fn principal(&self) -> Principal {
        Principal::Merchant(self.id)
    }

    fn welcomed(&mut self, _resumed: bool, now: Instant, out: &mut Out) {
        for id in self.baskets.keys() {
            out.frame(ClientFrame::Subscribe(topic(JobId::Order(*id))));
        }
        self.wake_at = now;
    }

    fn lost(&mut self, _now: Instant) {}

    /// Shops are pushed nothing.
    fn pushed(&mut self, _push: Push, _now: Instant) {}

    fn hear(&mut self, frame: ServerFrame, now: Instant, out: &mut Out) {
        if let ServerFrame::Order(view) = frame {
            self.saw(&view, now, out);
        }
    }

    fn answered(&mut self, answer: Answer, now: Instant, _out: &mut Out) {
        let basket = self.baskets.values_mut().find(|it| it.said == Some(answer.id));
        if let Some(basket) = basket {
            basket.said = None;
            // What was done shows in the next view; until then it would only be said twice.
            basket.not_before = now + PAUSE;
            if matches!(answer.outcome, Outcome::Ok(_)) {
                basket.status = next(basket.status);
                basket.not_before = now;
            }
        }
        self.wake_at = now;
    }

    fn wake(&mut self, now: Instant, out: &mut Out) {
        for id in self.world.asked_of_shop(self.n) {
            out.frame(ClientFrame::Subscribe(topic(JobId::Order(id))));
            let basket = Basket {
                status: FulfilmentStatus::None,
                said: None,
                ready_at: None,
                not_before: now,
            };
            self.baskets.insert(id, basket);
        }
        for (&id, basket) in &mut self.baskets {
            if basket.said.is_some() || now < basket.not_before {
                continue;
            }
            let action = match basket.status {
                FulfilmentStatus::AwaitingMerchant => OrderAction::MerchantAccept { prep_min: 1 },
                FulfilmentStatus::Confirmed => OrderAction::StartPrep {},
                FulfilmentStatus::Preparing => {
                    let takes = self.world.real(self.rng.random_range(PREPARING_S));
                    let ready_at = *basket.ready_at.get_or_insert(now + takes);
                    if now < ready_at {
                        continue;
                    }
                    OrderAction::Ready {}
                }
                FulfilmentStatus::None
                | FulfilmentStatus::Ready
                | FulfilmentStatus::HandedOver
                | FulfilmentStatus::Rejected => continue,
            };
            basket.said = Some(out.command(Wish::Order { id, action }));
        }
        self.wake_at = now + LOOK_EVERY;
    }

    fn wake_at(&self) -> Instant {
        self.wake_at
    }

    fn is_done(&self) -> bool {
        false
    }
}

/// Where a basket is after what was said of it was done.
fn next(status: FulfilmentStatus) -> FulfilmentStatus {
    match status {
        FulfilmentStatus::AwaitingMerchant => FulfilmentStatus::Confirmed,
        FulfilmentStatus::Confirmed => FulfilmentStatus::Preparing,
        FulfilmentStatus::Preparing => FulfilmentStatus::Ready,
        FulfilmentStatus::None
        | FulfilmentStatus::Ready
        | FulfilmentStatus::HandedOver
        | FulfilmentStatus::Rejected => status,
    }
}
