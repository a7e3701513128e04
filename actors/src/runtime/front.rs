//! What the gateways of a cluster ask each other. The words are theirs: here they are bytes.

use super::{System, membership::Membership, post::Outcome};
use crate::cluster::{
    Incarnation,
    arbiter::{Member, Standing},
    envelope::{Reply, Request},
    placement,
};
use futures_util::future::BoxFuture;
use protocol::{SHARDS, ShardId};
use serde_bytes::ByteBuf;
use std::{fmt::Debug, sync::Arc, time::Duration};
use tokio::time::Instant;

/// How long to wait before asking again what was lost on its way: at first, and at most.
const AGAIN_AFTER: [Duration; 2] = [Duration::from_millis(50), Duration::from_millis(800)];

/// Answers what gateways of other nodes ask of this one's.
pub trait Front: Debug + Send + Sync + 'static {
    /// The answer; none, if there is none. Asked twice when the first answer was lost.
    fn answer(&self, question: Vec<u8>) -> BoxFuture<'static, Option<Vec<u8>>>;
}

impl System {
    /// Lets `front` answer for this node. The first one stays.
    pub fn answer_with(&self, front: Arc<dyn Front>) {
        // A node has one gateway.
        self.0.front.set(front).ok();
    }

    /// Which start of a node this is; 0 if it is alone.
    pub fn incarnation(&self) -> Incarnation {
        self.membership().map_or(Incarnation(0), |membership| membership.me)
    }

    /// A node that others have not declared dead and whose start `is_meant`.
    pub fn member(&self, is_meant: impl Fn(Incarnation) -> bool) -> Option<Incarnation> {
        self.membership()?.others().into_iter().find(|it| is_meant(*it))
    }

    /// All nodes but this one that others have not declared dead.
    pub fn others(&self) -> Vec<Incarnation> {
        self.membership().map_or_else(Vec::new, Membership::others)
    }

    /// Who of those who stay keeps what `is_former` leaves behind: every node says the same, as long as they
    /// see the same.
    pub fn heir(&self, of: u64, is_former: impl Fn(Incarnation) -> bool) -> Option<Incarnation> {
        let picture = self.membership()?.picture.load();
        let stays = |it: &&Member| it.standing == Standing::Up && !is_former(it.incarnation);
        let staying: Vec<_> = picture.members.values().filter(stays).collect();
        placement::belongs_to(ShardId((of % u64::from(SHARDS)) as u16), &staying, None)
    }

    /// What another node's gateway answers; none, if it has no answer or gives none within `patience`.
    pub async fn ask_front(
        &self,
        who: Incarnation,
        question: Vec<u8>,
        patience: Duration,
    ) -> Option<Vec<u8>> {
        // Calls are named after what they are about, and this is about no shard in particular.
        const ANY: ShardId = ShardId(0);
        let (membership, until) = (self.membership()?, Instant::now() + patience);
        let request = Request::Front(ByteBuf::from(question));
        let [mut pause, pause_max] = AGAIN_AFTER;
        while Instant::now() < until && self.member(|it| it == who).is_some() {
            match membership.post.call(self, who, ANY, 0, &request, until).await {
                Outcome::Reply(Reply::Front(answer)) => return answer.map(ByteBuf::into_vec),
                Outcome::Reply(_) => return None,
                Outcome::Lost | Outcome::Full => {
                    tokio::time::sleep_until(until.min(Instant::now() + pause)).await;
                    pause = (pause * 2).min(pause_max);
                }
            }
        }
        None
    }

    pub(super) async fn answer_front(&self, question: ByteBuf) -> Reply {
        match self.0.front.get() {
            Some(front) => {
                let answer = front.answer(question.into_vec()).await;
                Reply::Front(answer.map(ByteBuf::from))
            }
            None => Reply::Later,
        }
    }
}
