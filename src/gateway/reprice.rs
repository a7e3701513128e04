//! Looks at the price of orders for later once more before they start: the city may have become dearer.

use super::Gate;
use actors::{
    Kind,
    order::{self, Order},
    runtime::Ask,
};
use protocol::{CommandId, OrderId, Principal};
use std::{sync::Arc, time::Duration};
use tracing::warn;

/// The event that says an order starts soon.
const REMINDED: &[&str] = &["reminded"];
/// How long an order may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long to breathe after having been too slow.
const BREATHER: Duration = Duration::from_secs(1);

/// Quotes each order anew when it is reminded of; the order judges whether its rider must be asked.
/// A price that is not looked at again, because a node fell just then, stays as it was promised.
pub(super) async fn run(gate: Arc<Gate>) {
    while !gate.drain.is_cancelled() {
        let mut reminded = gate.system.hear(REMINDED);
        loop {
            let published = tokio::select! {
                published = reminded.recv() => published,
                () = gate.drain.cancelled() => return,
            };
            let Some(published) = published else { break };
            if published.entity.kind == Kind::Order {
                requote(&gate, OrderId(published.entity.id)).await;
            }
        }
        warn!("prices could not keep up with reminders");
        tokio::time::sleep(BREATHER).await;
    }
}

async fn requote(gate: &Gate, id: OrderId) {
    let Ok(Some(fare)) = gate.translator.fare_at(id, None).await else { return };
    let command = order::Command::Requote { fare };
    let ask = Ask { command, by: Principal::System, id: CommandId::mint() };
    if let Err(refusal) = gate.system.ask::<Order>(id, ask, PATIENCE).await {
        // It has started, or ended, meanwhile.
        warn!(order = %id, %refusal, "not quoted again");
    }
}
