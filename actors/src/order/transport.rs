//! What a driver does with goods between the pickup and the last stop.

use super::{Answer, Around, Event, Leg, Life, fulfilment};
use crate::{Refusal, search::Chosen};
use protocol::{
    FulfilmentStatus,
    trace::WhyNot,
    work::{OrderKind, Proof, ProofKind},
};

impl Life {
    pub(super) fn pick_up(&self, proofs: &[Proof], around: &Around) -> Answer {
        self.within(self.pickup().at, self.placement.policy.pickup_fence_m, around)?;
        self.are_complete(proofs, &self.placement.pickup_proof, None)?;
        let mut events = Vec::new();
        if self.placement.kind == OrderKind::Commerce {
            match self.fulfilment_status() {
                FulfilmentStatus::HandedOver => {}
                FulfilmentStatus::Ready => events.push(self.handed_over(around.now)),
                FulfilmentStatus::None
                | FulfilmentStatus::AwaitingMerchant
                | FulfilmentStatus::Confirmed
                | FulfilmentStatus::Preparing
                | FulfilmentStatus::Rejected => {
                    let what = "the merchant is not ready".to_owned();
                    return Err(Refusal::TooEarly { what, remaining_ms: 60_000 });
                }
            }
        }
        events.extend(self.charge_pickup(around));
        events.push(Event::PickedUp { proofs: proofs.to_vec(), at: around.now });
        Ok(events)
    }

    pub(super) fn arrive_stop(&self, around: &Around) -> Answer {
        if matches!(self.leg(), Some(Leg::InProgress { is_at_stop: true, .. })) {
            return Ok(Vec::new());
        }
        self.has_stop_on_the_way()?;
        let stop = self.placement.stops.get(usize::from(self.stops_done));
        let stop = stop.unwrap_or(self.dropoff()).at;
        self.within(stop, self.placement.policy.dropoff_fence_m, around)?;
        Ok(vec![Event::StopArrived { at: around.now }])
    }

    pub(super) fn complete_stop(&self, proofs: &[Proof], around: &Around) -> Answer {
        self.is_at_stop_on_the_way()?;
        if self.is_before_hub() {
            return self.leave_at_hub(proofs, around);
        }
        self.are_complete(proofs, &self.placement.dropoff_proof, None)?;
        let done = Event::StopCompleted { proofs: proofs.to_vec(), at: around.now };
        Ok(self.charge_stop(around).into_iter().chain([done]).collect())
    }

    pub(super) fn skip_stop(&self, reason: &str, around: &Around) -> Answer {
        self.is_at_stop_on_the_way()?;
        self.must_not_skip_hub()?;
        let skipped = Event::StopSkipped { reason: reason.to_owned(), at: around.now };
        Ok(self.charge_stop(around).into_iter().chain([skipped]).collect())
    }

    pub(super) fn deliver(&self, proofs: &[Proof], cash: Option<i64>, around: &Around) -> Answer {
        let code = self.placement.code.as_deref();
        self.within(self.dropoff().at, self.placement.policy.dropoff_fence_m, around)?;
        self.may_try_code(around)?;
        self.are_complete(proofs, &self.placement.dropoff_proof, code)?;
        if let Some(owed) = self.placement.cash_on_delivery
            && cash.unwrap_or(0) < owed
        {
            return Err(Refusal::ProofMissing(format!("{owed} in cash must be collected")));
        }
        let (proofs, by, at) = (proofs.to_vec(), around.by, around.now);
        let delivered = self.end_with(Event::Delivered { proofs, cash, by, at });
        Ok(self.charge_stop(around).into_iter().chain(delivered).collect())
    }

    /// Goods that cannot be handed over are tried again, and then returned. A ride that went wrong is
    /// over.
    pub(super) fn fail(&self, reason: &str, around: &Around) -> Answer {
        let (reason, at) = (reason.to_owned(), around.now);
        if self.is_ride() {
            return Ok(self.break_down(&reason, around));
        }
        let mut events = vec![Event::AttemptFailed { reason: reason.clone(), at }];
        if self.n_failed >= self.placement.policy.retries_max {
            events.push(Event::ReturnStarted { reason, at });
        }
        Ok(events)
    }

    pub(super) fn returned(&self, proofs: &[Proof], around: &Around) -> Answer {
        self.within(self.pickup().at, self.placement.policy.pickup_fence_m, around)?;
        Ok(self.end_with(Event::Returned { proofs: proofs.to_vec(), at: around.now }))
    }

    /// Another driver takes over the goods: told, not asked, and bound once it has confirmed.
    pub(super) fn hand_to_another(&self, chosen: &Chosen, around: &Around) -> Answer {
        if !self.placement.policy.handover {
            return Err(Refusal::NotEligible("goods do not change hands here".to_owned()));
        }
        let has_it = (self.driver() == Some(chosen.driver)).then_some(WhyNot::HasIt);
        let against: Vec<WhyNot> =
            has_it.into_iter().chain(chosen.against.iter().copied()).collect();
        self.assign(&Chosen { against: &against, ..*chosen }, around)
    }

    /// The driver cannot go on with the rider or the goods on board.
    pub(super) fn cannot_continue(&self, reason: &str, around: &Around) -> Vec<Event> {
        if self.is_ride() {
            return self.end_early(reason, around);
        }
        self.report_driver_lost(around)
    }

    /// Lost, damaged, or wrong beyond repair.
    pub(super) fn break_down(&self, reason: &str, around: &Around) -> Vec<Event> {
        let (by, reason, at) = (around.by, reason.to_owned(), around.now);
        self.end_with(Event::Failed { by, reason, at })
    }

    pub(super) fn handed_over(&self, now: protocol::Timestamp) -> Event {
        Event::Fulfilment(fulfilment::Event::HandedOver { at: now })
    }

    fn has_stop_on_the_way(&self) -> Result<(), Refusal> {
        if self.is_at_last_stop() {
            return Err(Refusal::invalid("stop", "only the last one is left"));
        }
        Ok(())
    }

    fn is_at_stop_on_the_way(&self) -> Result<(), Refusal> {
        self.has_stop_on_the_way()?;
        if matches!(self.leg(), Some(Leg::InProgress { is_at_stop: false, .. })) {
            return Err(Refusal::invalid("stop", "arrive there first"));
        }
        Ok(())
    }

    /// Every wanted kind of proof is there, and a PIN is the right one.
    pub(super) fn are_complete(
        &self,
        proofs: &[Proof],
        wanted: &[ProofKind],
        pin: Option<&str>,
    ) -> Result<(), Refusal> {
        for kind in wanted {
            let Some(proof) = proofs.iter().find(|proof| proof.kind == *kind) else {
                return Err(Refusal::ProofMissing(kind.to_string()));
            };
            let is_wrong_pin = *kind == ProofKind::Pin && pin.is_some_and(|pin| pin != proof.value);
            if is_wrong_pin {
                return Err(Refusal::WrongCode);
            }
        }
        Ok(())
    }
}
