//! Between what clients say and what actors understand: the only file that knows both vocabularies.
//!
//! Wishes become commands for one actor; states become views; what one may not see is not there.

use super::{allowed, price::Prices, why, zones};
use crate::{auth::scope::Asker, settings::Area};
use actors::{
    Decider, EntityKey, Kind, Tell, Version,
    driver::{self, Break, Driver, Leave},
    incident::{self, Incident, Opening},
    listing::RegionId,
    order::{self, Order, Placement},
    policy::{JobPolicy, Preset},
    rescue::{self, Rescue},
    revocation::Revocation,
    rider::{self, Rider},
    rule::{self, Rule},
    run::{self, Run},
    runtime::{Hosted, System, Wished},
    search,
    template::Template,
    zone::{self, Zone},
};
use protocol::{
    Code, CommandId, DriverId, Identifier, IncidentId, JobId, OfferId, OfferStatus, OrderId,
    OrderStatus, Place, Point, Principal, Refused, RescueId, RevocationId, RiderId, RuleId, RunId,
    TemplateId, Timestamp, ZoneId,
    changes::{Changed, OrderChanges, RescueChanges},
    frame::{ActorView, Done, FRAME_BYTES_MAX, ServerFrame, Topic, Viewport},
    rule::RuleMark,
    trace::WhyNot,
    view::{DriverView, Eta, Etas, Message, Position, Queued, WorkKind},
    work::{
        Bike, DriverAction, Handoff, IncidentAction, IncidentKind, NewOrder, NewRescue,
        OrderAction, RescueAction, RiderAction, STOPS_MAX, STRANDED_G_MAX, Sos, TEXT_CHARS_MAX,
        VehicleKind, Wish, ZoneAction,
    },
};
use std::{iter, sync::Arc, time::Duration};
use uuid::Uuid;

/// Most elements of any list a client sends.
const LIST_MAX: usize = 32;
/// How far back a start may lie: what a slow device and a slow person take.
const BEHIND_MAX: Duration = Duration::from_secs(10 * 60);
/// How far ahead an order may be scheduled.
const AHEAD_MAX: Duration = Duration::from_secs(60 * 24 * 3600);
/// How long somebody who calls for help waits for what others know about it.
pub(super) const ASKED_WITHIN: Duration = Duration::from_millis(500);
/// How far ahead of ours a device's clock may be when it says where it is.
const SAMPLED_AHEAD_MAX: Duration = Duration::from_secs(60);

/// Turns wishes into commands.
#[derive(Debug, Clone)]
pub(crate) struct Translator {
    pub(crate) system: System,
    pub(crate) preset: Arc<Preset>,
    pub(crate) area: Arc<Area>,
    pub(crate) prices: Prices,
}

impl Translator {
    /// What `by` wants, as a command for one actor. Whether it may, that actor decides; here only
    /// what makes no sense for anybody is refused.
    pub(crate) async fn command(
        &self,
        wish: Wish,
        by: Principal,
        id: CommandId,
    ) -> Result<Tell, Refused> {
        check_sizes(&wish)?;
        match wish {
            Wish::PlaceOrder(order) => self.place(*order, by, id).await,
            Wish::Order { id: to, action } => {
                Ok(Tell::Order { to, command: self.order_command(to, action).await? })
            }
            Wish::RequestRescue(rescue) => self.request(*rescue, by, id).await,
            Wish::Rescue { id: to, action } => {
                Ok(Tell::Rescue { to, command: self.rescue_command(to, action).await? })
            }
            Wish::Rider { id: to, action } => {
                Ok(Tell::Rider { to, command: self.rider_command(action).await? })
            }
            Wish::Driver { id: to, action } => {
                let to = driver_meant(to, by).ok_or_else(|| invalid("id", "which driver?"))?;
                if let DriverAction::ClaimJob { job: JobId::Order(order) } = action {
                    self.check_claim(to, order).await?;
                }
                Ok(Tell::Driver { to, command: self.driver_command(action).await? })
            }
            Wish::Sos(sos) => Ok(Tell::incident(self.opening(&sos, by, id).await?)),
            Wish::Incident { id: to, action } => {
                Ok(Tell::Incident { to, command: incident_command(action) })
            }
            Wish::Zone { .. } if !by.is_staff() => Err(forbidden("this is for staff")),
            Wish::Zone { id: to, action } => {
                Ok(Tell::Zone { to, command: self.zone_command(action)? })
            }
            Wish::Run { id: to, action } => self.run_command(to, action, by, id).await,
        }
    }

    /// What is known of a call for help. What cannot be found out in time stops nobody.
    async fn opening(
        &self,
        sos: &Sos,
        by: Principal,
        command: CommandId,
    ) -> Result<Opening, Refused> {
        let (parties, position) =
            tokio::join!(self.parties(sos.job), self.whereabouts(sos.position, by));
        let mut opening = Opening {
            kind: IncidentKind::Sos,
            raised_by: by,
            job: sos.job,
            nth: 0,
            parties: parties?,
            position,
            mock: sos.mock,
            command: Some(command),
        };
        opening.nth = self.nth_call(&opening, command).await?;
        Ok(opening)
    }

    /// Who has part in a job; none, if there is no job, or if it cannot be asked.
    async fn parties(&self, job: Option<JobId>) -> Result<Option<Vec<Principal>>, Refused> {
        let Some(job) = job else { return Ok(None) };
        let read = async {
            match job {
                JobId::Order(id) => {
                    self.system.read::<Order>(id).await.map(|(_, order)| order.parties())
                }
                JobId::Rescue(id) => {
                    self.system.read::<Rescue>(id).await.map(|(_, rescue)| rescue.parties())
                }
            }
        };
        match tokio::time::timeout(ASKED_WITHIN, read).await {
            Ok(Ok(parties)) if parties.is_empty() => Err(not_found(&job.to_string())),
            Ok(Ok(parties)) => Ok(Some(parties)),
            Ok(Err(_)) | Err(_) => Ok(None),
        }
    }

    /// Where somebody says that they are, or is known to have been last.
    async fn whereabouts(&self, said: Option<Position>, by: Principal) -> Option<Position> {
        let now = self.system.now();
        let said = said.filter(|position| check_position(position, now).is_ok());
        let (None, Principal::Driver(id)) = (said, by) else { return said };
        let read = tokio::time::timeout(ASKED_WITHIN, self.system.read::<Driver>(id)).await;
        let (version, driver) = read.ok()?.ok()?;
        driver.driver_view(id, version.0).position
    }

    /// Which call it is: the one this command made, the one that is open, or the next. All before one that is not over
    /// are, so it is found by doubling and halving.
    async fn nth_call(&self, opening: &Opening, command: CommandId) -> Result<u32, Refused> {
        let (mut first, mut step) = (0_u32, 1_u32);
        while self.call(opening, first + step - 1).await?.is_over() {
            (first, step) = (first + step, step.saturating_mul(2));
        }
        let mut last = first + step - 1;
        while first < last {
            let middle = first.midpoint(last);
            match self.call(opening, middle).await?.is_over() {
                true => first = middle + 1,
                false => last = middle,
            }
        }
        let before = match first.checked_sub(1) {
            Some(before) => self.call(opening, before).await?.is_raised_by(command),
            None => false,
        };
        Ok(if before { first - 1 } else { first })
    }

    async fn call(&self, opening: &Opening, nth: u32) -> Result<Arc<Incident>, Refused> {
        let id = Opening { nth, ..opening.clone() }.id();
        Ok(self.system.read::<Incident>(id).await?.1)
    }

    async fn place(
        &self,
        mut new: NewOrder,
        by: Principal,
        id: CommandId,
    ) -> Result<Tell, Refused> {
        let now = self.system.now();
        if let Some(via) = &new.via {
            if new.stops.len() != 2 {
                return Err(invalid("via", "only with two stops"));
            }
            check_moment("via.until", via.until, now)?;
            // Whoever brings it on begins there.
            self.check_area(via.hub.at)?;
            new.stops.insert(1, via.hub.clone());
        }
        let NewOrder { kind, stops, start_at, merchant, .. } = &new;
        self.check_stops(stops, 2)?;
        check_start(*start_at, now)?;
        let pickup = stops[0].at;
        self.check_area(pickup)?;
        let (rider, author) = match (by, new.rider) {
            (Principal::Rider(me), None) => (me, me.0),
            (Principal::Rider(me), Some(rider)) if rider == me => (me, me.0),
            (Principal::Merchant(me), Some(rider)) if *merchant == Some(me) => (rider, me.0),
            (Principal::Dispatcher | Principal::Admin | Principal::System, Some(rider)) => {
                (rider, rider.0)
            }
            (Principal::Dispatcher | Principal::Admin | Principal::System, None) => {
                return Err(invalid("rider", "for whom?"));
            }
            (Principal::Rider(_) | Principal::Merchant(_) | Principal::Driver(_), _) => {
                return Err(forbidden("only staff may order for someone else"));
            }
        };
        if new.policy.is_some() && !by.is_staff() {
            return Err(forbidden("only staff may choose how a driver is found"));
        }
        if new.exclusive && new.fleet.is_none() {
            return Err(invalid("exclusive", "to whose drivers?"));
        }
        let to = OrderId::created_by(author, id, RegionId::at(pickup).shard());
        match self.check_zone(pickup, *start_at) {
            // It was placed before the zone was paused: its first answer still stands.
            Err(_) if self.exists::<Order>(to).await => {}
            checked => checked?,
        }
        let terms = self.preset.order(*kind);
        let then = start_at.map_or(now, |start_at| start_at.max(now));
        let (mut policy, rule) = self.policy_at(order::work(*kind), pickup, then);
        if let Some(offer) = new.policy {
            policy.offer = offer;
        }
        policy.batch &= self.system.writes() >= run::KNOWN;
        // Where no fleet comes first, or not every node knows yet that one may, everybody is asked at once.
        let may_be_first = policy.fleet_tiers > 0 && self.system.writes() >= search::FLEETS_FIRST;
        let fleet = new.fleet.filter(|_| new.exclusive || may_be_first);
        let fare = match &new.quote {
            None => self.prices.order(*kind, stops, start_at.unwrap_or(now)),
            Some(quote) => match self.prices.promised(quote, *kind, stops, *start_at, by) {
                Ok(fare) => fare,
                // A repeat may come when the promise has run out; its first answer still stands.
                Err(_) if self.exists::<Order>(to).await => {
                    self.prices.order(*kind, stops, start_at.unwrap_or(now))
                }
                Err(refused) => return Err(refused),
            },
        };
        let needs_code = policy.start_code || new.handoff == Handoff::Collect;
        let placement = Placement {
            kind: new.kind,
            rider,
            fare,
            policy,
            stops: new.stops,
            start_at: new.start_at,
            payment: new.payment,
            needs: new.needs,
            merchant: new.merchant,
            handoff: new.handoff,
            n_items: new.n_items.unwrap_or(0),
            driver: new.driver,
            code: if needs_code { Some(draw_code()?) } else { None },
            pickup_proof: new.pickup_proof,
            dropoff_proof: new.dropoff_proof,
            cash_on_delivery: new.cash_on_delivery,
            waiting_per_min: terms.tariff.waiting_per_min,
            follows: None,
            excluded: Vec::new(),
            barred: self.barred(rider).await?.into(),
            fleet: fleet.map(Box::new),
            fleet_first: fleet.is_some() && !new.exclusive,
            rule,
            kept_until: None,
            hub: new.via.map(|via| Box::new(order::Hub { until: via.until })),
        };
        Ok(Tell::Order { to, command: order::Command::Place(Box::new(placement)) })
    }

    async fn request(&self, new: NewRescue, by: Principal, id: CommandId) -> Result<Tell, Refused> {
        let rider = match (by, new.rider) {
            (Principal::Rider(me), None) => me,
            (Principal::Rider(me), Some(rider)) if rider == me => me,
            // Who is stranded at work asks as the rider it is as well.
            (Principal::Driver(me), None) => RiderId(me.0),
            (Principal::Driver(me), Some(rider)) if rider.0 == me.0 => rider,
            (Principal::Dispatcher | Principal::Admin | Principal::System, Some(rider)) => rider,
            (Principal::Dispatcher | Principal::Admin | Principal::System, None) => {
                return Err(invalid("rider", "for whom?"));
            }
            (Principal::Rider(_) | Principal::Merchant(_) | Principal::Driver(_), _) => {
                return Err(forbidden("only staff may call help for someone else"));
            }
        };
        if new.policy.is_some() && !by.is_staff() {
            return Err(forbidden("only staff may choose how a driver is found"));
        }
        check_place(&new.at)?;
        if let Some(dropoff) = &new.dropoff {
            check_place(dropoff)?;
            if self.prices.is_too_far(&[new.at.clone(), dropoff.clone()]) {
                return Err(invalid("dropoff", "too far away"));
            }
        }
        let vehicle = stranded(&new)?;
        // What kind of bike it is, is written once every node can read it.
        let bike = new.bike.filter(|_| self.system.writes() >= search::FEATURES);
        let to = RescueId::created_by(rider.0, id, RegionId::at(new.at.at).shard());
        let (mut policy, rule) = self.policy_at(WorkKind::Rescue, new.at.at, self.system.now());
        if let Some(offer) = new.policy {
            policy.offer = offer;
        }
        let served = self.area.serves(new.at.at);
        // One that says vaguely where it is may turn out to be outside.
        let may_be_outside = !served || new.accuracy_m.is_some();
        let elsewhere = if may_be_outside { self.area.elsewhere(new.at.at) } else { Vec::new() };
        let request = rescue::Request {
            rider,
            issue: new.issue,
            accuracy_m: new.accuracy_m,
            severity: new.severity,
            served,
            elsewhere,
            fare: self.prices.rescue(&new.at, new.dropoff.as_ref(), self.system.now()),
            at: new.at,
            dropoff: new.dropoff,
            vehicle,
            bike,
            weight_g: new.weight_g,
            policy,
            barred: self.barred(rider).await?,
            rule,
        };
        Ok(Tell::Rescue { to, command: rescue::Command::Request(Box::new(request)) })
    }

    async fn order_command(
        &self,
        to: OrderId,
        action: OrderAction,
    ) -> Result<order::Command, Refused> {
        use order::Command as C;
        Ok(match action {
            OrderAction::ModifyStops { stops } => {
                let fare = self.fare_with(to, &stops).await?;
                C::ModifyStops { stops, fare }
            }
            OrderAction::ConfirmPayment { amount } => C::ConfirmPayment { amount },
            OrderAction::FailPayment {} => C::FailPayment {},
            OrderAction::Reschedule { start_at } => {
                check_start(Some(start_at), self.system.now())?;
                C::Reschedule { start_at, fare: self.fare_at(to, Some(start_at)).await? }
            }
            OrderAction::Requote {} => {
                let fare = self.fare_at(to, None).await?;
                C::Requote { fare: fare.ok_or_else(|| not_found(&to.to_string()))? }
            }
            OrderAction::AcceptPrice {} => C::AcceptPrice {},
            OrderAction::DeclinePrice {} => C::DeclinePrice {},
            OrderAction::AcceptChange {} => C::AcceptChange {},
            OrderAction::DeclineChange {} => C::DeclineChange {},
            OrderAction::ConfirmOffer { offer } => C::ConfirmOffer { offer },
            OrderAction::RejectOffer { offer } => C::RejectOffer { offer },
            OrderAction::Assign { driver, force, reason } => {
                let mut against = self.against(driver, JobId::Order(to)).await?;
                against.extend(self.against_zone(to).await?);
                C::Assign { driver, force, reason, against }
            }
            OrderAction::Reassign { driver, force, reason } => {
                let against = self.against(driver, JobId::Order(to)).await?;
                C::Reassign { driver, force, reason, against }
            }
            OrderAction::Unassign { reason } => C::Unassign { reason },
            OrderAction::Hold { reason } => C::Hold { reason },
            OrderAction::Resume { reason } => C::Resume { reason },
            OrderAction::SetPriority { priority, reason } => C::SetPriority { priority, reason },
            OrderAction::SetFleet { fleet, reason } => C::SetFleet { fleet, reason },
            OrderAction::ExtendSearch {} => C::ExtendSearch {},
            OrderAction::CollectInstead {} => C::CollectInstead {},
            OrderAction::Depart {} => C::Depart {},
            OrderAction::Arrive {} => C::Arrive {},
            OrderAction::OnBoard {} => C::OnBoard {},
            OrderAction::Start { code } => C::Start { code },
            OrderAction::PickUp { proofs } => C::PickUp { proofs },
            OrderAction::ArriveStop {} => C::ArriveStop {},
            OrderAction::CompleteStop { proofs } => C::CompleteStop { proofs },
            OrderAction::SkipStop { reason } => C::SkipStop { reason },
            OrderAction::Finish { code, early_reason } => C::Finish { code, early_reason },
            OrderAction::Deliver { proofs, cash } => C::Deliver { proofs, cash },
            OrderAction::Fail { reason } => C::Fail { reason },
            OrderAction::Retry {} => C::Retry {},
            OrderAction::StartReturn {} => C::StartReturn {},
            OrderAction::Returned { proofs } => C::Returned { proofs },
            OrderAction::Handover { driver, force, reason } => {
                let against = self.against(driver, JobId::Order(to)).await?;
                C::Handover { driver, force, reason, against }
            }
            OrderAction::Contacted {} => C::Contacted {},
            OrderAction::NoShow {} => C::NoShow {},
            OrderAction::Cancel { reason } => C::Cancel { reason },
            OrderAction::RequestCancel { reason } => C::RequestCancel { reason },
            OrderAction::DecideCancel { decision } => C::DecideCancel { decision },
            OrderAction::CancelSafety { reason } => C::CancelSafety { reason },
            OrderAction::EndEarly {} => C::EndEarly {},
            OrderAction::CannotContinue { reason } => C::CannotContinue { reason },
            OrderAction::ReportLoss { reason } => C::ReportLoss { reason },
            OrderAction::AdjustFareDown { percent } => C::AdjustFareDown { percent },
            OrderAction::Tip { amount } => C::Tip { amount },
            OrderAction::Rate { stars } => C::Rate { stars },
            OrderAction::MerchantAccept { prep_min } => C::MerchantAccept { prep_min },
            OrderAction::MerchantReject { reason } => C::MerchantReject { reason },
            OrderAction::StartPrep {} => C::StartPrep {},
            OrderAction::Ready {} => C::Ready {},
            OrderAction::ItemUnavailable { item } => C::ItemUnavailable { item },
            OrderAction::DecideItem { item, replace } => C::DecideItem { item, replace },
            OrderAction::HandOver {} => C::HandOver {},
            OrderAction::Collected { code } => C::Collected { code },
        })
    }

    async fn rescue_command(
        &self,
        to: RescueId,
        action: RescueAction,
    ) -> Result<rescue::Command, Refused> {
        let against = if let RescueAction::Assign { driver, .. }
        | RescueAction::Reassign { driver, .. } = action
        {
            self.against(driver, JobId::Rescue(to)).await?
        } else {
            Vec::new()
        };
        rescue_command(action, against, &self.area)
    }

    /// What speaks against giving a job to a driver, as far as the driver's own state says. Nobody can be
    /// sent whom nobody has ever heard of.
    pub(super) async fn against(
        &self,
        driver: DriverId,
        job: JobId,
    ) -> Result<Vec<WhyNot>, Refused> {
        let (version, state) = self.system.read::<Driver>(driver).await?;
        if version == Version(0) {
            return Err(not_found(&driver.to_string()));
        }
        let (now, costs) = (self.system.now(), self.system.regions().costs());
        let against = match job {
            JobId::Order(id) => {
                let (_, order) = self.system.read::<Order>(id).await?;
                order.asks().map(|asks| state.against(job, &asks, now, costs))
            }
            JobId::Rescue(id) => {
                let (_, rescue) = self.system.read::<Rescue>(id).await?;
                rescue.asks().map(|asks| state.against(job, &asks, now, costs))
            }
        };
        // A job that does not exist says so itself.
        let against = against.unwrap_or_default();
        // They are kept in its answer, which a build that knows less must be able to read.
        let writes = self.system.writes();
        let known = |why: WhyNot| match writes {
            it if it >= search::FEATURES => why,
            it if it >= run::KNOWN => why.as_known_before_features(),
            _ => why.as_known_before(),
        };
        Ok(against.into_iter().map(known).collect())
    }

    /// What speaks against giving an order to anybody where it is fetched: its region tells that to what looks for a driver, but
    /// knows nothing of what a dispatcher holds.
    async fn against_zone(&self, id: OrderId) -> Result<Option<WhyNot>, Refused> {
        let (_, order) = self.system.read::<Order>(id).await?;
        let is_to_begin = order.driver().is_none();
        let pickup = order.asks().filter(|_| is_to_begin).map(|asks| asks.way.pickup);
        let is_paused = pickup.is_some_and(|at| self.check_zone(at, None).is_err());
        Ok(is_paused.then_some(WhyNot::ZonePaused))
    }

    /// Refuses a driver who takes from the feed what nobody may offer it. Who may not look at the order learns nothing of it
    /// here: its claim is lost like one that comes too late.
    async fn check_claim(&self, driver: DriverId, id: OrderId) -> Result<(), Refused> {
        let (_, order) = self.system.read::<Order>(id).await?;
        if !order.concerns(Principal::Driver(driver)) {
            return Ok(());
        }
        let against = self.against(driver, JobId::Order(id)).await?;
        // It was claimed before: the first answer still stands.
        if against.contains(&WhyNot::HasIt) {
            return Ok(());
        }
        match against.into_iter().find(|why| why.is_of_fit()) {
            Some(why) => {
                let refused = Refused::new(Code::NotEligible, "it needs what you have not got");
                Err(Refused { why: vec![why::as_told(why)], ..refused })
            }
            None => Ok(()),
        }
    }

    /// Nobody can be sent whom nobody has ever heard of.
    async fn check_driver(&self, id: DriverId) -> Result<(), Refused> {
        if self.exists::<Driver>(id).await { Ok(()) } else { Err(not_found(&id.to_string())) }
    }

    /// Between what a multiplier may lie is the brand's choice, which no zone knows.
    fn zone_command(&self, action: ZoneAction) -> Result<zone::Command, Refused> {
        use zone::Command as C;
        let surge = self.system.regions().surge();
        Ok(match action {
            ZoneAction::Pause { reason, until } => C::Pause { reason, until },
            ZoneAction::Resume { reason } => C::Resume { reason },
            ZoneAction::SetSurge { percent, .. } if !surge.allows(percent) => {
                let (least, most) = (surge.percent_min, surge.percent_max);
                return Err(invalid("percent", &format!("100, or {least} to {most}")));
            }
            ZoneAction::SetSurge { percent, reason, until } => {
                C::SetSurge { percent, reason, until }
            }
            ZoneAction::LiftSurge { reason } => C::LiftSurge { reason },
        })
    }

    async fn driver_command(&self, action: DriverAction) -> Result<driver::Command, Refused> {
        use driver::Command as C;
        Ok(match action {
            DriverAction::SetDuty { duty, vehicle } => {
                C::SetDuty { duty, vehicle, policy: self.preset.driver }
            }
            DriverAction::AcceptOffer { offer } => C::AcceptOffer { offer },
            DriverAction::DeclineOffer { offer } => C::DeclineOffer { offer },
            DriverAction::SeeOffer { offer } => C::SeeOffer { offer },
            DriverAction::ClaimJob { job } => {
                let (work, weight_g) = self.claimed(job).await?;
                C::ClaimJob { job, work, weight_g }
            }
            DriverAction::SetDestination { to } => C::SetDestination { to },
            DriverAction::RejectJob { job } => C::RejectJob { job },
            DriverAction::SetFleet { fleet, reason } => C::SetFleet { fleet, reason },
            DriverAction::GrantSkill { skill, reason, until } => {
                C::GrantSkill { skill, reason, until }
            }
            DriverAction::RevokeSkill { skill, reason } => C::RevokeSkill { skill, reason },
            DriverAction::AllowOffShift { until, reason } => C::AllowOffShift { until, reason },
            DriverAction::RevokeOffShift { reason } => C::RevokeOffShift { reason },
            DriverAction::Message { job, text } => C::Message { job, text },
            DriverAction::Suspend { reason, reassign } => C::Suspend { reason, reassign },
            DriverAction::Reinstate {} => C::Reinstate {},
        })
    }

    async fn rider_command(&self, action: RiderAction) -> Result<rider::Command, Refused> {
        Ok(match action {
            RiderAction::Block { driver, reason } => {
                self.check_driver(driver).await?;
                rider::Command::Block { driver, reason }
            }
            RiderAction::Unblock { driver, reason } => rider::Command::Unblock { driver, reason },
            RiderAction::Message { job, text } => rider::Command::Message { job, text },
        })
    }

    /// How a job of this kind is offered that is picked up there and looks for a driver then; and by which rule, if one is in force.
    pub(crate) fn policy_at(
        &self,
        work: WorkKind,
        at: Point,
        then: Timestamp,
    ) -> (JobPolicy, Option<Box<RuleMark>>) {
        let mut policy = self.preset.policy_at(work, at);
        // A node that has just started may know rules before it knows that they may be written about.
        if self.system.writes() < rule::RULED {
            return (policy, None);
        }
        let rules = self.system.regions().rules().set();
        let rule = rules.in_force(at, work, then);
        if let Some(rule) = rule {
            rule::apply(&rule.changes, &mut policy);
        }
        (policy, rule.map(|it| Box::new(it.mark())))
    }

    /// Whom a rider is kept apart from.
    async fn barred(&self, rider: RiderId) -> Result<Vec<DriverId>, Refused> {
        let (_, state) = self.system.read::<Rider>(rider).await?;
        Ok(state.blocked().to_vec())
    }

    /// What taking a job from the feed does to a driver's slots, and how heavy it is, in grams. Nothing is begun where its
    /// zone is paused.
    async fn claimed(&self, job: JobId) -> Result<(WorkKind, u32), Refused> {
        match job {
            JobId::Rescue(_) => Ok((WorkKind::Rescue, 0)),
            JobId::Order(id) => {
                let (version, order) = self.system.read::<Order>(id).await?;
                let view = order
                    .order_view(id, version.0, Principal::System)
                    .ok_or_else(|| not_found(&id.to_string()))?;
                let is_claimable = view.status == OrderStatus::JobFeed;
                view.pickup()
                    .filter(|_| is_claimable)
                    .map_or(Ok(()), |pickup| self.check_zone(pickup.at, None))?;
                let weight_g = order.asks().map_or(0, |asks| asks.needs.weight_g);
                Ok((order::work(view.kind), weight_g))
            }
        }
    }

    /// What the whole order costs when these are the stops still to come.
    async fn fare_with(
        &self,
        id: OrderId,
        stops: &[Place],
    ) -> Result<Option<protocol::Fare>, Refused> {
        self.check_stops(stops, 1)?;
        let (version, order) = self.system.read::<Order>(id).await?;
        let Some(view) = order.order_view(id, version.0, Principal::System) else {
            return Ok(None);
        };
        let mut all = view.stops;
        all.truncate(usize::from(view.stops_done));
        all.extend_from_slice(stops);
        self.check_stops(&all, 1)?;
        Ok(Some(self.prices.order(view.kind, &all, view.start_at.unwrap_or(view.placed_at))))
    }

    /// What the order costs when it starts then, or when it should.
    pub(crate) async fn fare_at(
        &self,
        id: OrderId,
        start_at: Option<Timestamp>,
    ) -> Result<Option<protocol::Fare>, Refused> {
        let (version, order) = self.system.read::<Order>(id).await?;
        let Some(view) = order.order_view(id, version.0, Principal::System) else {
            return Ok(None);
        };
        let at = start_at.or(view.start_at).unwrap_or(view.placed_at);
        Ok(Some(self.prices.order(view.kind, &view.stops, at)))
    }

    /// Refuses stops that nobody can mean.
    pub(crate) fn check_stops(&self, stops: &[Place], n_min: usize) -> Result<(), Refused> {
        if !(n_min..=STOPS_MAX).contains(&stops.len()) {
            return Err(invalid("stops", &format!("{n_min} to {STOPS_MAX} are needed")));
        }
        stops.iter().try_for_each(check_place)?;
        if self.prices.is_too_far(stops) {
            return Err(invalid("stops", "too far apart"));
        }
        Ok(())
    }

    /// Refuses a start outside the service area.
    pub(crate) fn check_area(&self, at: Point) -> Result<(), Refused> {
        if self.area.serves(at) {
            Ok(())
        } else {
            Err(Refused::new(Code::OutOfArea, "nobody serves this place"))
        }
    }

    /// Refuses a pickup in a zone that is paused then. When one that has no end is over, nobody knows.
    pub(crate) fn check_zone(&self, at: Point, start_at: Option<Timestamp>) -> Result<(), Refused> {
        let now = self.system.now();
        let then = start_at.map_or(now, |start_at| start_at.max(now));
        match self.system.regions().zones().paused().at(at, then) {
            Some(pause) => Err(zones::paused((*pause).clone(), now)),
            None => Ok(()),
        }
    }

    async fn exists<D: Hosted>(&self, id: D::Id) -> bool {
        self.system.read::<D>(id).await.is_ok_and(|(version, _)| version > Version(0))
    }

    /// A refusal as `by` may know it: who cannot see a thing does not learn what state it is in, and
    /// nobody is told what others may do.
    pub(crate) async fn hide(&self, refused: Refused, to: EntityKey, by: Principal) -> Refused {
        let says_something = match refused.code {
            Code::Forbidden | Code::IllegalTransition | Code::NotFound => true,
            Code::Malformed
            | Code::Invalid
            | Code::TooLarge
            | Code::Unauthenticated
            | Code::Taken
            | Code::InsufficientFunds
            | Code::OfferGone
            | Code::TooFar
            | Code::TooEarly
            | Code::TooLate
            | Code::WrongCode
            | Code::ProofMissing
            | Code::NotEligible
            | Code::OutOfArea
            | Code::ZonePaused
            | Code::QuoteInvalid
            | Code::CommandExpired
            | Code::CommandIdReused
            | Code::Busy
            | Code::RateLimited
            | Code::Quarantined
            | Code::Unavailable
            | Code::Draining
            | Code::Internal => false,
        };
        if !says_something {
            return refused;
        }
        match self.show(to, by).await {
            Err(unseen) if unseen.code == Code::NotFound => unseen,
            Ok(seen) => allowed::for_asker(refused, to.kind, &seen, by),
            Err(_) => Refused { allowed: Vec::new(), ..refused },
        }
    }

    /// What `by` is shown of an entity, or why not.
    pub(crate) async fn show(&self, key: EntityKey, by: Principal) -> Result<ServerFrame, Refused> {
        match key.kind {
            Kind::Order => self.show_one::<Order>(OrderId(key.id), by).await,
            Kind::Rescue => self.show_one::<Rescue>(RescueId(key.id), by).await,
            Kind::Driver => self.show_one::<Driver>(DriverId(key.id), by).await,
            Kind::Rider => self.show_one::<Rider>(RiderId(key.id), by).await,
            Kind::Revocation => self.show_one::<Revocation>(RevocationId(key.id), by).await,
            Kind::Incident => self.show_one::<Incident>(IncidentId(key.id), by).await,
            Kind::Zone => self.show_one::<Zone>(ZoneId(key.id), by).await,
            Kind::Run => self.show_one::<Run>(RunId(key.id), by).await,
            Kind::Rule => self.show_one::<Rule>(RuleId(key.id), by).await,
            Kind::Template => self.show_one::<Template>(TemplateId(key.id), by).await,
        }
    }

    async fn show_one<D: Shown>(&self, id: D::Id, by: Principal) -> Result<ServerFrame, Refused> {
        let (version, state) = self.system.read::<D>(id).await?;
        shown(&*state, id, version, by).ok_or_else(|| not_found(&id.to_string()))
    }

    /// One actor whole, for staff.
    pub(crate) async fn whole(&self, key: EntityKey) -> Result<ActorView, Refused> {
        match key.kind {
            Kind::Order => self.whole_one::<Order>(OrderId(key.id)).await,
            Kind::Rescue => self.whole_one::<Rescue>(RescueId(key.id)).await,
            Kind::Driver => self.whole_one::<Driver>(DriverId(key.id)).await,
            Kind::Rider => self.whole_one::<Rider>(RiderId(key.id)).await,
            Kind::Revocation => self.whole_one::<Revocation>(RevocationId(key.id)).await,
            Kind::Incident => self.whole_one::<Incident>(IncidentId(key.id)).await,
            Kind::Zone => self.whole_one::<Zone>(ZoneId(key.id)).await,
            Kind::Run => self.whole_one::<Run>(RunId(key.id)).await,
            Kind::Rule => self.whole_one::<Rule>(RuleId(key.id)).await,
            Kind::Template => self.whole_one::<Template>(TemplateId(key.id)).await,
        }
    }

    async fn whole_one<D: Hosted>(&self, id: D::Id) -> Result<ActorView, Refused> {
        let (version, state) = self.system.read::<D>(id).await?;
        if version == Version(0) {
            return Err(not_found(&id.to_string()));
        }
        Ok(actor_view(&*state, id, version, Vec::new()))
    }
}

/// What is expected of something that is followed, and what time it is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Outlook {
    /// When its vehicle is expected, as was last counted: what its view says, and nothing that is asked for a sighting.
    pub(crate) etas: Option<Etas>,
    pub(crate) now: Timestamp,
}

impl Outlook {
    /// What a client is told of where the driver of a job is, and of when it is at the `next` place it must be, counted from
    /// now.
    fn sighted(
        self,
        job: JobId,
        at: Point,
        next: impl FnOnce(&Etas) -> Option<Eta>,
    ) -> ServerFrame {
        let eta = self.etas.and_then(|etas| Some(next(&etas)?.after(etas.age_s(self.now))));
        ServerFrame::Sighted {
            job,
            at,
            eta_s: eta.map(|it| it.s),
            eta_low_s: eta.map(|it| it.low_s),
            eta_high_s: eta.map(|it| it.high_s),
        }
    }
}

/// A decider whose states clients are shown.
pub(crate) trait Shown: Hosted {
    /// What `by` is shown of an existing one; nothing if it may not know of it.
    fn frame(&self, id: Self::Id, version: u64, by: Principal) -> Option<ServerFrame>;

    /// May `by` be shown any of its sightings? Whoever may not is not woken by them.
    fn is_sighted_by(_by: Principal) -> bool {
        true
    }

    /// What `by` is shown of a sighting.
    fn sighted(
        &self,
        id: Self::Id,
        version: u64,
        sighting: &Self::Sighting,
        by: Principal,
        outlook: Outlook,
    ) -> Option<ServerFrame>;

    /// When its vehicle is expected, as was last counted.
    fn etas(&self) -> Option<Etas> {
        None
    }

    /// The same, as a sighting says; nothing, if it does not say.
    fn expected_by(&self, _sighting: &Self::Sighting) -> Option<Option<Etas>> {
        None
    }

    /// Has it come to its end? What else may become of it is not waited for.
    fn is_over(&self) -> bool {
        true
    }

    /// How an offer ended, if this entity remembers.
    fn ended_offer(&self, _offer: OfferId) -> Option<OfferStatus> {
        None
    }

    /// Who has part in it, as long as it goes on.
    fn parts(&self, _id: Self::Id) -> Vec<Principal> {
        Vec::new()
    }

    /// Do its events ever say what its state soon does not say any more?
    const HAS_NEWS: bool = false;

    /// Takes from an event what its client must be told, and a later state need not say.
    fn news(_event: &Self::Event, _news: &mut News) {}
}

/// What became of a driver's jobs and offers, and what staff wrote to it or to a rider, as events said it.
#[derive(Debug, Default)]
pub(crate) struct News {
    /// What staff wrote, and what the platform has to say.
    pub(crate) messages: Vec<Message>,
    /// Jobs that are no longer its own, and why.
    pub(crate) released: Vec<Release>,
    /// How offers ended: a state remembers the last few.
    pub(crate) ended: Vec<(OfferId, OfferStatus)>,
}

/// A job that is no longer a driver's.
#[derive(Debug, Clone)]
pub(crate) struct Release {
    pub(crate) job: JobId,
    pub(crate) reason: String,
    /// It was never quite the driver's own: it had asked for it, or said yes to it.
    pub(crate) is_claim: bool,
}

/// What `by` is shown of an entity that exists.
pub(crate) fn shown<D: Shown>(
    state: &D,
    id: D::Id,
    version: Version,
    by: Principal,
) -> Option<ServerFrame> {
    (version > Version(0)).then(|| state.frame(id, version.0, by)).flatten()
}

/// Somebody's device was heard of. Whether that is anybody's business, and news, is judged by who follows.
fn present(job: JobId, who: Principal) -> ServerFrame {
    ServerFrame::Presence { job, who, reachable: true }
}

/// Something else is expected of an order, which is otherwise what it was.
fn expected_of_order(
    order: &Order,
    (id, version): (OrderId, u64),
    eta: Option<Option<Etas>>,
    queue: Option<Option<Queued>>,
) -> Option<ServerFrame> {
    let view = order.order_view(id, version, Principal::System)?;
    let changes = OrderChanges { eta, queue, ..view.changes_since(&view)? };
    Some(ServerFrame::Changed(Changed::Order(Box::new(changes))))
}

/// The same of a rescue.
fn expected_of_rescue(
    rescue: &Rescue,
    (id, version): (RescueId, u64),
    eta: Option<Option<Etas>>,
    queue: Option<Option<Queued>>,
) -> Option<ServerFrame> {
    let view = rescue.rescue_view(id, version, Principal::System)?;
    let changes = RescueChanges { eta, queue, ..view.changes_since(&view)? };
    Some(ServerFrame::Changed(Changed::Rescue(Box::new(changes))))
}

/// What a sighting of a job says of when the vehicle of that driver is expected, if it is about it.
fn etas_by(sighting: &search::Sighting, of: Option<DriverId>) -> Option<Option<Etas>> {
    match sighting {
        search::Sighting::Expected { driver, etas } => (of == Some(*driver)).then_some(*etas),
        search::Sighting::DriverAt { .. }
        | search::Sighting::Queued { .. }
        | search::Sighting::Connected { .. }
        | search::Sighting::Crossed { .. } => None,
    }
}

/// Who has part in a job.
fn parts(rider: RiderId, drivers: [Option<DriverId>; 2]) -> Vec<Principal> {
    let drivers = drivers.into_iter().flatten().map(Principal::Driver);
    iter::once(Principal::Rider(rider)).chain(drivers).collect()
}

impl Shown for Order {
    fn frame(&self, id: OrderId, version: u64, by: Principal) -> Option<ServerFrame> {
        let view = self.order_view(id, version, by).filter(|_| self.concerns(by))?;
        Some(ServerFrame::Order(Box::new(view)))
    }

    fn is_over(&self) -> bool {
        self.status().is_none_or(|it| it.is_final())
    }

    fn etas(&self) -> Option<Etas> {
        Self::etas(self)
    }

    fn expected_by(&self, sighting: &search::Sighting) -> Option<Option<Etas>> {
        etas_by(sighting, self.driver())
    }

    fn sighted(
        &self,
        id: OrderId,
        version: u64,
        sighting: &search::Sighting,
        by: Principal,
        outlook: Outlook,
    ) -> Option<ServerFrame> {
        // It may have been on its way while the ride ended.
        if self.is_over() {
            return None;
        }
        let is_driver = matches!(by, Principal::Driver(_));
        let (driver, position) = match sighting {
            search::Sighting::DriverAt { driver, position, .. } => (driver, position),
            search::Sighting::Connected { who } => return Some(present(JobId::Order(id), *who)),
            search::Sighting::Crossed { driver, stop, what, crossing, at } => {
                let is_for = !is_driver && self.driver() == Some(*driver);
                let (job, stop, what) = (JobId::Order(id), *stop, *what);
                let (crossing, at) = (*crossing, *at);
                return is_for.then_some(ServerFrame::Near { job, stop, what, crossing, at });
            }
            search::Sighting::Expected { driver, etas } => {
                let is_for = !is_driver && self.driver() == Some(*driver);
                let said = || expected_of_order(self, (id, version), Some(*etas), None);
                return is_for.then(said).flatten();
            }
            search::Sighting::Queued { queued } => {
                let is_own = self.rider().map(Principal::Rider) == Some(by);
                let is_for = (is_own || by.is_staff()) && self.driver().is_none();
                let said = || expected_of_order(self, (id, version), None, Some(Some(*queued)));
                return is_for.then(said).flatten();
            }
        };
        if is_driver || self.driver() != Some(*driver) {
            return None;
        }
        Some(outlook.sighted(JobId::Order(id), position.at, |etas| self.next_of(etas)))
    }

    fn parts(&self, id: OrderId) -> Vec<Principal> {
        let view = self.order_view(id, 0, Principal::System).filter(|_| !self.is_over());
        view.map_or_else(Vec::new, |view| parts(view.rider, [view.driver, None]))
    }
}

impl Shown for Rescue {
    fn frame(&self, id: RescueId, version: u64, by: Principal) -> Option<ServerFrame> {
        let view = self.rescue_view(id, version, by)?;
        let is_related = match by {
            Principal::Rider(rider) => view.rider == rider,
            // Who helps, or the driver whom it is for.
            Principal::Driver(driver) => {
                [view.driver, view.attached].contains(&Some(driver)) || view.rider.0 == driver.0
            }
            Principal::Merchant(_) => false,
            Principal::Dispatcher | Principal::Admin | Principal::System => true,
        };
        is_related.then(|| ServerFrame::Rescue(Box::new(view)))
    }

    fn is_over(&self) -> bool {
        self.status().is_none_or(|it| it.is_final())
    }

    fn etas(&self) -> Option<Etas> {
        Self::etas(self)
    }

    fn expected_by(&self, sighting: &search::Sighting) -> Option<Option<Etas>> {
        etas_by(sighting, self.driver())
    }

    fn sighted(
        &self,
        id: RescueId,
        version: u64,
        sighting: &search::Sighting,
        by: Principal,
        outlook: Outlook,
    ) -> Option<ServerFrame> {
        if self.is_over() {
            return None;
        }
        // Whoever helps knows where they are; who is helped may be a driver, too.
        let is_own = self.is_of(by);
        let is_helper = !is_own && matches!(by, Principal::Driver(_));
        let (driver, position) = match sighting {
            search::Sighting::DriverAt { driver, position, .. } => (driver, position),
            search::Sighting::Connected { who } => return Some(present(JobId::Rescue(id), *who)),
            search::Sighting::Crossed { driver, stop, what, crossing, at } => {
                let is_for = !is_helper && self.driver() == Some(*driver);
                let (job, stop, what) = (JobId::Rescue(id), *stop, *what);
                let (crossing, at) = (*crossing, *at);
                return is_for.then_some(ServerFrame::Near { job, stop, what, crossing, at });
            }
            search::Sighting::Expected { driver, etas } => {
                let is_for = !is_helper && self.driver() == Some(*driver);
                let said = || expected_of_rescue(self, (id, version), Some(*etas), None);
                return is_for.then(said).flatten();
            }
            search::Sighting::Queued { queued } => {
                let is_for = (is_own || by.is_staff()) && self.driver().is_none();
                let said = || expected_of_rescue(self, (id, version), None, Some(Some(*queued)));
                return is_for.then(said).flatten();
            }
        };
        if is_helper || self.driver() != Some(*driver) {
            return None;
        }
        Some(outlook.sighted(JobId::Rescue(id), position.at, |etas| self.next_of(etas)))
    }

    fn parts(&self, id: RescueId) -> Vec<Principal> {
        let view = self.rescue_view(id, 0, Principal::System).filter(|_| !self.is_over());
        view.map_or_else(Vec::new, |view| parts(view.rider, [view.driver, view.attached]))
    }
}

impl Shown for Driver {
    const HAS_NEWS: bool = true;

    /// Drivers know where they are.
    fn is_sighted_by(by: Principal) -> bool {
        by.is_staff()
    }

    fn frame(&self, id: DriverId, version: u64, by: Principal) -> Option<ServerFrame> {
        let is_related = by == Principal::Driver(id) || by.is_staff();
        is_related.then(|| {
            let view = self.driver_view(id, version);
            // Whoever makes up where it is need not know what is made of that.
            let doubted = view.doubted && by.is_staff();
            ServerFrame::Driver(Box::new(DriverView { doubted, ..view }))
        })
    }

    fn sighted(
        &self,
        id: DriverId,
        version: u64,
        sighting: &driver::Sighting,
        by: Principal,
        _outlook: Outlook,
    ) -> Option<ServerFrame> {
        match sighting {
            driver::Sighting::At(position) if by.is_staff() => {
                let was = self.driver_view(id, version);
                let now = DriverView { position: Some(*position), ..was.clone() };
                let changes = now.changes_since(&was)?;
                Some(ServerFrame::Changed(Changed::Driver(Box::new(changes))))
            }
            driver::Sighting::Doubted { doubted } if by.is_staff() => {
                let view = self.driver_view(id, version);
                let mut changes = view.changes_since(&view)?;
                // Of what was told since no state says anything.
                changes.doubted = Some(*doubted);
                Some(ServerFrame::Changed(Changed::Driver(Box::new(changes))))
            }
            driver::Sighting::At(_)
            | driver::Sighting::Heartbeat
            | driver::Sighting::MadeUp
            | driver::Sighting::Doubted { .. } => None,
        }
    }

    fn ended_offer(&self, offer: OfferId) -> Option<OfferStatus> {
        Self::ended_offer(self, offer)
    }

    fn news(event: &driver::Event, news: &mut News) {
        if let driver::Event::JobEnded { job, reason, .. }
        | driver::Event::JobAborted { job, reason, .. } = event
        {
            let is_claim = matches!(event, driver::Event::JobAborted { .. });
            news.released.push(Release { job: *job, reason: reason.clone(), is_claim });
        } else if let driver::Event::OfferDeclined { offer, .. } = event {
            news.ended.push((*offer, OfferStatus::Declined));
        } else if let driver::Event::OfferEnded { offer, status, .. } = event {
            news.ended.push((*offer, *status));
        } else if let driver::Event::Messaged { at, job, by, text } = event {
            let (job, text, by, at) = (*job, text.clone(), *by, *at);
            news.messages.push(Message { job, text, by, at, in_a_row: None });
        } else if let driver::Event::UnwantedTold { at, n } = event {
            let text = format!("You did not take the last {n} offers. You can take a break.");
            let (by, at) = (Principal::System, *at);
            news.messages.push(Message { job: None, text, by, at, in_a_row: Some(*n) });
        } else if let Some((text, at)) = of_shifts(event).or_else(|| of_hours(event)) {
            let by = Principal::System;
            news.messages.push(Message { job: None, text, by, at, in_a_row: None });
        }
    }
}

/// What a driver is told that its shifts make of it, and when they did.
fn of_shifts(event: &driver::Event) -> Option<(String, Timestamp)> {
    if let driver::Event::ShiftsSet { at, .. } = event {
        Some(("Your shifts have changed.".to_owned(), *at))
    } else if let driver::Event::Draining { at, why: Leave::ShiftOver } = event {
        Some(("Your shift is over: what you have is your last.".to_owned(), *at))
    } else if let driver::Event::WentOff { at, why: Leave::ShiftOver } = event {
        Some(("Your shift is over: you are off duty.".to_owned(), *at))
    } else {
        None
    }
}

/// What a driver is told that its hours make of it, and when they did.
fn of_hours(event: &driver::Event) -> Option<(String, Timestamp)> {
    let span = |ms: u32| {
        let min = ms / 60_000;
        format!("{} h {} min", min / 60, min % 60)
    };
    if let driver::Event::HoursTold { at, worked_ms, left_ms } = event {
        let (worked, left) = (span(*worked_ms), span(*left_ms));
        Some((format!("You have worked for {worked}. Take a break: in {left} you must."), *at))
    } else if let driver::Event::BreakStarted { at, why: Break::Fatigue } = event {
        let text = "You have worked as long as you may: what you have is your last, and then you must rest.";
        Some((text.to_owned(), *at))
    } else {
        None
    }
}

/// Nobody follows one but staff, who see it whole.
impl Shown for Revocation {
    fn frame(&self, _id: RevocationId, _version: u64, _by: Principal) -> Option<ServerFrame> {
        None
    }

    fn sighted(
        &self,
        _id: RevocationId,
        _version: u64,
        _sighting: &(),
        _by: Principal,
        _outlook: Outlook,
    ) -> Option<ServerFrame> {
        None
    }
}

/// Nobody follows one but staff, who see it whole.
impl Shown for Zone {
    fn frame(&self, _id: ZoneId, _version: u64, _by: Principal) -> Option<ServerFrame> {
        None
    }

    fn sighted(
        &self,
        _id: ZoneId,
        _version: u64,
        _sighting: &(),
        _by: Principal,
        _outlook: Outlook,
    ) -> Option<ServerFrame> {
        None
    }
}

/// Nobody follows one but staff, who see it whole.
impl Shown for Rule {
    fn frame(&self, _id: RuleId, _version: u64, _by: Principal) -> Option<ServerFrame> {
        None
    }

    fn sighted(
        &self,
        _id: RuleId,
        _version: u64,
        _sighting: &(),
        _by: Principal,
        _outlook: Outlook,
    ) -> Option<ServerFrame> {
        None
    }
}

/// Nobody follows one but staff, who see it whole.
impl Shown for Template {
    fn frame(&self, _id: TemplateId, _version: u64, _by: Principal) -> Option<ServerFrame> {
        None
    }

    fn sighted(
        &self,
        _id: TemplateId,
        _version: u64,
        _sighting: &(),
        _by: Principal,
        _outlook: Outlook,
    ) -> Option<ServerFrame> {
        None
    }
}

/// Its driver follows it, and staff.
impl Shown for Run {
    fn frame(&self, id: RunId, version: u64, by: Principal) -> Option<ServerFrame> {
        Some(ServerFrame::Run(Box::new(self.run_view(id, version, by)?)))
    }

    fn is_over(&self) -> bool {
        self.status().is_none_or(|it| it.is_final())
    }

    fn sighted(
        &self,
        _id: RunId,
        _version: u64,
        _sighting: &run::Sighting,
        _by: Principal,
        _outlook: Outlook,
    ) -> Option<ServerFrame> {
        None
    }
}

/// Whoever raised one follows it, and staff; to the other side of the job it is not there.
impl Shown for Incident {
    fn frame(&self, id: IncidentId, _version: u64, by: Principal) -> Option<ServerFrame> {
        Some(ServerFrame::Incident(Box::new(self.incident_view(id, by)?)))
    }

    fn is_over(&self) -> bool {
        Self::is_over(self)
    }

    fn sighted(
        &self,
        _id: IncidentId,
        _version: u64,
        _sighting: &(),
        _by: Principal,
        _outlook: Outlook,
    ) -> Option<ServerFrame> {
        None
    }
}

impl Shown for Rider {
    const HAS_NEWS: bool = true;

    fn news(event: &rider::Event, news: &mut News) {
        if let rider::Event::Messaged { at, job, by, text } = event {
            let (job, text, by, at) = (*job, text.clone(), *by, *at);
            news.messages.push(Message { job, text, by, at, in_a_row: None });
        }
    }

    fn frame(&self, id: RiderId, version: u64, by: Principal) -> Option<ServerFrame> {
        let is_related = by == Principal::Rider(id) || by.is_staff();
        is_related.then(|| ServerFrame::Rider(self.rider_view(id, version)))
    }

    fn sighted(
        &self,
        _id: RiderId,
        _version: u64,
        _sighting: &(),
        _by: Principal,
        _outlook: Outlook,
    ) -> Option<ServerFrame> {
        None
    }
}

/// One actor whole. One too large for a frame is said to be, and no more.
pub(crate) fn actor_view<D: Decider>(
    state: &D,
    id: D::Id,
    version: Version,
    events: Vec<String>,
) -> ActorView {
    let mut value = serde_json::to_value(state)
        .unwrap_or_else(|error| serde_json::json!({ "unreadable": error.to_string() }));
    let bytes = value.to_string().len();
    if bytes > FRAME_BYTES_MAX / 2 {
        value = serde_json::json!({ "too_large": bytes });
    }
    ActorView {
        actor: id.to_string(),
        version: version.0,
        shard: EntityKey { kind: D::KIND, id: id.uuid() }.shard(),
        state: value,
        events,
        deadline: state.deadline().map(|(at, _)| at),
    }
}

fn rescue_command(
    action: RescueAction,
    against: Vec<WhyNot>,
    area: &Area,
) -> Result<rescue::Command, Refused> {
    use rescue::Command as C;
    Ok(match action {
        RescueAction::Locate { at, accuracy_m } => {
            check_place(&at)?;
            let served = area.serves(at.at);
            C::Locate { at, accuracy_m, served }
        }
        RescueAction::Triage { needs } => C::Triage { needs },
        RescueAction::ConfirmOffer { offer } => C::ConfirmOffer { offer },
        RescueAction::RejectOffer { offer } => C::RejectOffer { offer },
        RescueAction::Assign { driver, force, reason } => {
            C::Assign { driver, force, reason, against }
        }
        RescueAction::Unassign { reason } => C::Unassign { reason },
        RescueAction::Hold { reason } => C::Hold { reason },
        RescueAction::Resume { reason } => C::Resume { reason },
        RescueAction::SetPriority { priority, reason } => C::SetPriority { priority, reason },
        RescueAction::SetFleet { fleet, reason } => C::SetFleet { fleet, reason },
        RescueAction::Reassign { driver, force, reason } => {
            C::Reassign { driver, force, reason, against }
        }
        RescueAction::Depart {} => C::Depart {},
        RescueAction::Arrive {} => C::Arrive {},
        RescueAction::BeginAssist {} => C::BeginAssist {},
        RescueAction::Load { dropoff, proofs } => {
            dropoff.as_ref().map_or(Ok(()), check_place)?;
            C::Load { dropoff, proofs }
        }
        RescueAction::Escalate { needs, stay } => C::Escalate { needs, stay },
        RescueAction::Unload { proofs } => C::Unload { proofs },
        RescueAction::Fixed {} => C::Fixed {},
        RescueAction::ConfirmFixed { fixed } => C::ConfirmFixed { fixed },
        RescueAction::Contacted {} => C::Contacted {},
        RescueAction::NoShow {} => C::NoShow {},
        RescueAction::Cancel { reason } => C::Cancel { reason },
        RescueAction::CancelSafety { reason } => C::CancelSafety { reason },
        RescueAction::Fail { reason } => C::Fail { reason },
        RescueAction::Rate { stars } => C::Rate { stars },
    })
}

fn incident_command(action: IncidentAction) -> incident::Command {
    use incident::Command as C;
    match action {
        IncidentAction::Ack {} => C::Ack {},
        IncidentAction::AddResponder { name } => C::AddResponder { name },
        IncidentAction::Escalate { reason } => C::Escalate { reason },
        IncidentAction::Check { item, answer } => C::Check { item, answer },
        IncidentAction::Resolve { resolution, note } => C::Resolve { resolution, note },
    }
}

/// Which actor a wish is for; none, if there is none yet, or if nothing is to be waited for.
pub(crate) fn addressee(wish: &Wish, by: Principal) -> Option<EntityKey> {
    match wish {
        Wish::PlaceOrder(_) | Wish::RequestRescue(_) | Wish::Sos(_) => None,
        Wish::Incident { id, .. } => Some((*id).into()),
        Wish::Zone { id, .. } => Some((*id).into()),
        Wish::Run { id, .. } => Some((*id).into()),
        Wish::Order { id, .. } => Some((*id).into()),
        Wish::Rescue { id, .. } => Some((*id).into()),
        Wish::Rider { id, .. } => Some((*id).into()),
        Wish::Driver { id, .. } => driver_meant(*id, by).map(EntityKey::from),
    }
}

/// Drivers mean themselves, unless they say otherwise.
fn driver_meant(id: Option<DriverId>, by: Principal) -> Option<DriverId> {
    match (id, by) {
        (Some(id), _) | (None, Principal::Driver(id)) => Some(id),
        (None, _) => None,
    }
}

/// What a wish is recognised by when it is repeated. To whom it goes, the actor knows: an order, or
/// oneself in other words.
pub(crate) fn wished(wish: &Wish) -> Wished {
    match wish {
        Wish::PlaceOrder(order) => Wished::new(order),
        Wish::Order { action, .. } => Wished::new(action),
        Wish::RequestRescue(rescue) => Wished::new(rescue),
        Wish::Rescue { action, .. } => Wished::new(action),
        Wish::Rider { action, .. } => Wished::new(action),
        Wish::Driver { action, .. } => Wished::new(action),
        Wish::Sos(sos) => Wished::new(sos),
        Wish::Incident { action, .. } => Wished::new(action),
        Wish::Zone { action, .. } => Wished::new(action),
        Wish::Run { action, .. } => Wished::new(action),
    }
}

/// What a command did, for its client.
pub(crate) fn done(to: EntityKey, version: Version) -> Done {
    Done { actor: to.to_string(), version: version.0 }
}

/// A position that a device can have had.
pub(crate) fn check_position(position: &Position, now: Timestamp) -> Result<(), Refused> {
    let is_number =
        |value: Option<f32>, max: f32| value.is_none_or(|value| (0.0..=max).contains(&value));
    if position.sampled_at > now + SAMPLED_AHEAD_MAX {
        return Err(invalid("sampled_at", "in the future"));
    }
    if !is_number(position.heading_deg, 360.0) {
        return Err(invalid("heading_deg", "0 to 360"));
    }
    if !is_number(position.speed_mps, 150.0) || !is_number(position.accuracy_m, 100_000.0) {
        return Err(invalid("position", "not plausible"));
    }
    Ok(())
}

/// What a topic is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Subject {
    /// Everything on the map.
    Board,
    /// What is on it in one region.
    Region(RegionId),
    /// All jobs on it, and drivers in one part of it.
    Viewport(Viewport),
    /// One entity.
    Entity(EntityKey),
}

/// What a topic is about, if `by` names it.
pub(crate) fn subject(topic: &Topic, by: Principal) -> Result<Subject, Refused> {
    match topic {
        Topic::Order(id) => Ok(Subject::Entity((*id).into())),
        Topic::Rescue(id) => Ok(Subject::Entity((*id).into())),
        Topic::Driver(id) => Ok(Subject::Entity((*id).into())),
        Topic::Incident(id) => Ok(Subject::Entity((*id).into())),
        Topic::Run(id) => Ok(Subject::Entity((*id).into())),
        Topic::Me => match by {
            Principal::Rider(id) => Ok(Subject::Entity(id.into())),
            Principal::Driver(id) => Ok(Subject::Entity(id.into())),
            Principal::Merchant(_)
            | Principal::Dispatcher
            | Principal::Admin
            | Principal::System => {
                Err(forbidden("only riders and drivers are followed as oneself"))
            }
        },
        Topic::Board => Ok(Subject::Board),
        Topic::Region(text) => {
            RegionId::parse(text).map(Subject::Region).ok_or_else(|| not_found(text))
        }
        Topic::Viewport(viewport) if viewport.south < viewport.north => {
            Ok(Subject::Viewport(*viewport))
        }
        Topic::Viewport(_) => Err(invalid("viewport", "its south is north of its north")),
        Topic::Actor(text) => {
            EntityKey::parse(text).map(Subject::Entity).ok_or_else(|| not_found(text))
        }
    }
}

/// There is no such thing, or it is not yours to see.
pub(crate) fn not_found(what: &str) -> Refused {
    let what: String = what.chars().take(64).collect();
    Refused::new(Code::NotFound, format!("no such thing: {what}"))
}

/// The role may not do this at all.
pub(crate) fn forbidden(message: &str) -> Refused {
    Refused::new(Code::Forbidden, message)
}

/// A value makes no sense.
pub(crate) fn invalid(field: &str, problem: &str) -> Refused {
    Refused::new(Code::Invalid, format!("{field}: {problem}"))
}

/// Refuses a command id that does not say when it was minted: how long a repeat of it is recognised
/// could not be known.
pub(crate) fn check_id(id: CommandId) -> Result<(), Refused> {
    if id.0.get_version_num() == 7 { Ok(()) } else { Err(invalid("id", "must be a UUIDv7")) }
}

/// Refuses an order for the drivers of a fleet by somebody who has not got it. Which one somebody has, only its token says.
pub(crate) fn check_fleet(wish: &Wish, asker: &Asker) -> Result<(), Refused> {
    let Wish::PlaceOrder(order) = wish else { return Ok(()) };
    let is_theirs = order.fleet.is_none_or(|it| asker.fleet.as_deref() == Some(&it));
    if is_theirs || asker.who.is_staff() {
        Ok(())
    } else {
        Err(forbidden("fleet: your token names another one, or none"))
    }
}

/// Refuses to start when nobody can mean it.
pub(crate) fn check_start(start_at: Option<Timestamp>, now: Timestamp) -> Result<(), Refused> {
    check_moment("start_at", start_at, now)
}

fn check_moment(field: &str, at: Option<Timestamp>, now: Timestamp) -> Result<(), Refused> {
    match at {
        Some(at) if at + BEHIND_MAX < now => Err(invalid(field, "in the past")),
        Some(at) if at > now + AHEAD_MAX => Err(invalid(field, "more than 60 days ahead")),
        Some(_) | None => Ok(()),
    }
}

fn check_place(place: &Place) -> Result<(), Refused> {
    match &place.label {
        Some(label) if label.chars().any(char::is_control) => {
            Err(invalid("label", "control characters"))
        }
        Some(_) | None => Ok(()),
    }
}

/// What is stranded, as far as it was said. Refuses what contradicts itself.
fn stranded(new: &NewRescue) -> Result<Option<VehicleKind>, Refused> {
    match (new.bike.map(Bike::vehicle), new.vehicle) {
        (Some(of_bike), Some(said)) if of_bike != said => {
            Err(invalid("bike", &format!("is a {of_bike}, and no {said}")))
        }
        (of_bike, said) => Ok(said.or(of_bike)),
    }
}

/// Refuses texts and lists that are longer than anyone needs, and what is heavier, or holds more, than anything on the road, wherever
/// in the wish they are.
pub(super) fn check_sizes(wish: &Wish) -> Result<(), Refused> {
    let value = serde_json::to_value(wish)
        .map_err(|error| Refused::new(Code::Malformed, error.to_string()))?;
    sizes_within("wish", &value)
}

fn sizes_within(field: &str, value: &serde_json::Value) -> Result<(), Refused> {
    use serde_json::Value;
    match value {
        // A quote is a signed token; its own limit is checked where it is read.
        Value::String(_) if field == "quote" => Ok(()),
        Value::String(text) if text.chars().count() > TEXT_CHARS_MAX => {
            Err(invalid(field, &format!("more than {TEXT_CHARS_MAX} characters")))
        }
        Value::Array(list) if list.len() > LIST_MAX => {
            Err(invalid(field, &format!("more than {LIST_MAX} elements")))
        }
        Value::Number(grams)
            if matches!(field, "weight_g" | "capacity_g")
                && grams.as_u64().is_some_and(|it| it > u64::from(STRANDED_G_MAX)) =>
        {
            Err(invalid(field, &format!("{STRANDED_G_MAX} at most")))
        }
        Value::Array(list) => list.iter().try_for_each(|value| sizes_within(field, value)),
        Value::Object(map) => map.iter().try_for_each(|(field, value)| sizes_within(field, value)),
        Value::String(_) | Value::Null | Value::Bool(_) | Value::Number(_) => Ok(()),
    }
}

/// Four digits nobody can guess from the last ones.
fn draw_code() -> Result<String, Refused> {
    let mut bytes = [0; 4];
    aws_lc_rs::rand::fill(&mut bytes)
        .map_err(|_unspecified| Refused::new(Code::Internal, "no randomness"))?;
    Ok(format!("{:04}", u32::from_be_bytes(bytes) % 10_000))
}

/// A command id that a text names, for one author, at one of the moments it may have been minted.
pub(crate) fn command_id_of(author: &str, key: &str, at: Timestamp) -> CommandId {
    let name = [author.as_bytes(), b"/", key.as_bytes()].concat();
    CommandId::of_effect(&name, 0, 0, at)
}

/// A UUIDv7 in any of the forms clients write one.
pub(crate) fn command_id(text: &str) -> Option<CommandId> {
    let bare = text.strip_prefix("command-").unwrap_or(text);
    Uuid::try_parse(bare).ok().filter(|uuid| uuid.get_version_num() == 7).map(CommandId)
}

#[cfg(test)]
mod tests;
