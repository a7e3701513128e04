//! What gateways of a cluster ask each other, and who answers.

use super::{
    Gate,
    inspect::Wanted,
    orchestrations::Assigning,
    session::Suspended,
    sessions::Taking,
    stream::Post,
    together::{Choosing, Grouping},
    why::Whose,
};
use actors::{
    EntityKey, cluster::Incarnation, revocation::InForce, rule, runtime::Front, zone::Standing,
};
use futures_util::{FutureExt, future::BoxFuture};
use protocol::{
    DriverId, JobId, Point, Principal, RuleId, SessionId, Timestamp, TokenId, ZoneId,
    frame::Attending, rule::RuleTerms,
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::{sync::Weak, time::Duration};

/// What one node asks of another. One that knows a question less gives no answer to it.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Question {
    /// Give me what is left of a session.
    Take(Taking),
    /// Keep this until its client comes: I am leaving.
    Keep { session: SessionId, suspended: Box<Suspended> },
    /// Pass this on. Answered with whether it will be heard.
    Post(Post),
    /// This is revoked.
    Revoked(Vec<InForce>),
    /// This has become of zones.
    Zones(Vec<(ZoneId, Standing)>),
    /// Something has happened to an incident: look.
    Incidents,
    /// Which sessions are there?
    Sessions(Wanted),
    /// Let me hear what a session hears and says, for so long in milliseconds.
    Tap { session: SessionId, lasts_ms: u64 },
    /// What has it heard and said since? The `n`th time I ask.
    Hear { tap: u64, n: u64 },
    /// What did your rounds see of a job?
    Rounds(JobId),
    /// What did they make of a driver?
    Chances(Whose),
    /// Since when do you know what rounds saw around a place?
    KnownSince(Point),
    /// What do your regions count in their zones?
    Demand,
    /// Where does a driver stand in line?
    Turn(DriverId),
    /// Where is a job, with this pickup, in the queue of its region?
    Place(JobId, Point),
    /// How is this entity there?
    Residence(EntityKey),
    /// These jobs are open before staff who are connected here. I am this incarnation.
    Attending(u64, Vec<Attending>),
    /// What would be brought together in a region of yours?
    Groups(Box<Grouping>),
    /// May these be brought together in a region of yours, and how?
    Chosen(Box<Choosing>),
    /// Which drivers would bring which orders, in a region of yours?
    Assigned(Box<Assigning>),
    /// How often was what is promised kept there?
    ServiceLevels,
    /// What do you count of yourself, for whoever looks at the cluster?
    Counted,
    /// An admin whom I believe wants you to leave, by this token.
    Drain { by: Principal, with: Option<TokenId> },
    /// This has become of rules.
    Rules(Vec<(RuleId, rule::Standing)>),
    /// What would a rule that says this have made of your rounds since then?
    Replay { terms: Box<RuleTerms>, since: Timestamp },
}

/// Answers what gateways of other nodes ask. Weak, for the gate owns the node.
#[derive(Debug)]
pub(super) struct Desk(pub(super) Weak<Gate>);

impl Front for Desk {
    fn answer(&self, question: Vec<u8>) -> BoxFuture<'static, Option<Vec<u8>>> {
        let gate = self.0.upgrade();
        async move {
            let gate = gate?;
            match rmp_serde::from_slice(&question).ok()? {
                Question::Take(taking) => written(&gate.known.take(taking, true).await?),
                Question::Keep { session, suspended } => {
                    gate.known.suspend(session, *suspended);
                    Some(Vec::new())
                }
                Question::Post(post) => written(&gate.streams.hear(post)),
                Question::Revoked(all) => written(&gate.take_in(&all)),
                Question::Zones(all) => {
                    gate.take_in_zones(all);
                    written(&())
                }
                Question::Incidents => {
                    gate.incidents.look();
                    written(&())
                }
                Question::Sessions(wanted) => {
                    let rows = gate.inspect(wanted).await;
                    written(&rows)
                }
                Question::Tap { session, lasts_ms } => {
                    written(&gate.tap_for(session, Duration::from_millis(lasts_ms)).await)
                }
                Question::Hear { tap, n } => written(&gate.taps.hear(tap, n).await),
                Question::Rounds(job) => written(&gate.rounds(job)),
                Question::Chances(whose) => written(&gate.chances(whose)),
                Question::KnownSince(at) => written(&gate.known_since(at)),
                Question::Demand => written(&gate.demand()),
                Question::Turn(driver) => written(&gate.turn_of(driver)),
                Question::Place(job, pickup) => written(&gate.place_of(job, pickup)),
                Question::Residence(key) => written(&gate.system.residence(key).await),
                Question::Attending(who, all) => {
                    gate.attendance.elsewhere(who, all);
                    written(&())
                }
                Question::Groups(asked) => written(&gate.groups_here(*asked).await),
                Question::Chosen(asked) => written(&gate.chosen_here(*asked).await),
                Question::Assigned(asked) => written(&gate.assigned_here(*asked).await),
                Question::ServiceLevels => written(&gate.service_levels()),
                Question::Counted => written(&gate.counted()),
                Question::Drain { by, with } => {
                    // As it would be refused if it were asked here.
                    if by != Principal::Admin {
                        return None;
                    }
                    gate.dismiss(by, with);
                    written(&())
                }
                Question::Rules(all) => {
                    gate.take_in_rules(all);
                    written(&())
                }
                Question::Replay { terms, since } => {
                    written(&gate.replayed_for(&terms, since).await.ok()?)
                }
            }
        }
        .boxed()
    }
}

fn written(answer: &impl Serialize) -> Option<Vec<u8>> {
    rmp_serde::to_vec_named(answer).ok()
}

impl Gate {
    /// What another node's gateway answers; none, if it has no answer, or none in time.
    pub(super) async fn ask<T: DeserializeOwned>(
        &self,
        who: Incarnation,
        question: &Question,
        patience: Duration,
    ) -> Option<T> {
        let question = written(question)?;
        let answer = self.system.ask_front(who, question, patience).await?;
        rmp_serde::from_slice(&answer).ok()
    }
}
