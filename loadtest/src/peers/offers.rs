//! Orders while positions flow: from the rider's word to the driver's phone, and back.

use super::{
    Fault,
    dialect::{Dialect, Heard, Socket, Who},
    fleet::{Fleet, Offered, spot},
};
use futures_util::{SinkExt, StreamExt, future::try_join_all};
use std::{
    net::SocketAddr,
    sync::{
        PoisonError,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};
use tokio::time::{sleep_until, timeout};

/// How many people order; enough that one of them is always free to.
const N_RIDERS: u32 = 60;
/// How long an order may take before it counts as lost.
const PATIENCE: Duration = Duration::from_secs(15);
/// How long drivers say where they are before anybody orders.
const WARM_UP: Duration = Duration::from_secs(4);

/// How many orders, and how fast, beside how many positions a second.
#[derive(Debug, Clone, Copy)]
pub(super) struct Orders {
    pub(super) n: u32,
    pub(super) per_s: u32,
    pub(super) positions_per_s: u32,
}

/// How long each order took, in milliseconds.
#[derive(Debug, Default)]
pub(super) struct Taken {
    /// From the rider's word to the offer on a driver's socket.
    pub(super) offer_ms: Vec<f64>,
    /// From there, the driver saying yes at once, until the rider hears of it.
    pub(super) assign_ms: Vec<f64>,
    /// Both.
    pub(super) whole_ms: Vec<f64>,
    /// Orders that came to nothing.
    pub(super) n_lost: u32,
}

/// People with a socket each to one peer.
#[derive(Debug)]
pub(super) struct Riders {
    dialect: Dialect,
    sockets: Vec<Socket>,
    n_ordered: AtomicU32,
}

impl Riders {
    pub(super) async fn gather(dialect: Dialect, address: SocketAddr) -> Result<Self, Fault> {
        let sockets = (0..N_RIDERS).map(|n| dialect.open(address, Who::Rider(n)));
        let sockets = try_join_all(sockets).await?;
        Ok(Self { dialect, sockets, n_ordered: AtomicU32::new(0) })
    }

    pub(super) async fn go_home(mut self) {
        for socket in &mut self.sockets {
            // It may have been closed already.
            drop(socket.close(None).await);
        }
    }
}

/// Lets riders order while drivers drive.
pub(super) async fn run(
    orders: Orders,
    fleet: &mut Fleet,
    riders: &mut Riders,
    taken: &mut Taken,
) -> Result<(), Fault> {
    let offered = Offered::clone(fleet.offered());
    let lasting =
        WARM_UP + Duration::from_secs_f64(f64::from(orders.n) / f64::from(orders.per_s.max(1)));
    let began = Instant::now();
    let (_, each) = tokio::try_join!(
        fleet.drive(orders.positions_per_s, 1, lasting),
        ordering(orders, riders, &offered, began + WARM_UP),
    )?;
    for one in each {
        match one {
            Some((offer_ms, assign_ms)) => {
                taken.offer_ms.push(offer_ms);
                taken.assign_ms.push(assign_ms);
                taken.whole_ms.push(offer_ms + assign_ms);
            }
            None => taken.n_lost += 1,
        }
    }
    Ok(())
}

type Took = Option<(f64, f64)>;

/// Each rider orders in its turn.
async fn ordering(
    orders: Orders,
    riders: &mut Riders,
    offered: &Offered,
    begin: Instant,
) -> Result<Vec<Took>, Fault> {
    let Riders { dialect, sockets, n_ordered } = riders;
    let (dialect, n_ordered) = (&*dialect, &*n_ordered);
    let n_sockets = sockets.len();
    let each = (0..).zip(sockets.iter_mut()).map(|(rider, socket)| async move {
        let mut took = Vec::new();
        for turn in (rider..orders.n as usize).step_by(n_sockets) {
            let at = begin + Duration::from_secs_f64(turn as f64 / f64::from(orders.per_s.max(1)));
            sleep_until(at.into()).await;
            let n = n_ordered.fetch_add(1, Ordering::Relaxed);
            took.push(match timeout(PATIENCE, one(dialect, socket, offered, n)).await {
                Ok(took) => took?,
                Err(_late) => None,
            });
        }
        Ok::<_, Fault>(took)
    });
    Ok(try_join_all(each).await?.into_iter().flatten().collect())
}

/// One order, and its end. Returns how long it took to be offered, and from there to be assigned, in
/// milliseconds; nothing if it was refused.
async fn one(
    dialect: &Dialect,
    socket: &mut Socket,
    offered: &Offered,
    n: u32,
) -> Result<Took, Fault> {
    let began = Instant::now();
    socket.send(dialect.order(&format!("order-{n}"), spot(n), spot(n + 1))).await?;
    let (order, shown) = loop {
        match hear(dialect, socket).await? {
            Heard::Assigned { order } => {
                // What is told of one that is over already was shown to nobody since.
                let shown = offered.lock().unwrap_or_else(PoisonError::into_inner).remove(&order);
                if let Some(shown) = shown {
                    break (order, shown);
                }
            }
            Heard::Refused(why) => {
                tracing::warn!(why, "an order came to nothing");
                return Ok(None);
            }
            Heard::Offer { .. } | Heard::Placed { .. } | Heard::Sign(_) | Heard::Other => {}
        }
    };
    let assigned = Instant::now();
    socket.send(dialect.end(&order)?).await?;
    if let Dialect::Outrider(_) = dialect {
        while !matches!(hear(dialect, socket).await?, Heard::Placed { .. } | Heard::Refused(_)) {}
    }
    let ms = |from: Instant, to: Instant| to.saturating_duration_since(from).as_secs_f64() * 1e3;
    Ok(Some((ms(began, shown), ms(shown, assigned))))
}

/// The next thing a rider hears; what wants an answer has it.
async fn hear(dialect: &Dialect, socket: &mut Socket) -> Result<Heard, Fault> {
    let said = socket.next().await.ok_or("the peer closed a rider's socket")??;
    let heard = dialect.hear(&said);
    if let Heard::Sign(answer) = &heard {
        socket.send(answer.clone()).await?;
    }
    Ok(heard)
}
