//! How an order becomes what its journal says it is.

use super::{
    CancelRequest, Change, Ending, Event, Leg, Life, PriceAsked, Sla, Stage, track::Track,
};
use crate::search::Assignment;
use protocol::{Role, work::Handoff};

impl Life {
    /// Folds a fact in. What ends the order ends it here, whatever else the event says.
    pub(super) fn evolve(&mut self, event: &Event) {
        let before = self.status();
        self.apply(event);
        self.apply_run(event);
        if let Some(status) = event.ends_with() {
            let at = event.at().unwrap_or(self.changed_at);
            self.stage = Stage::Ended { status, at, by: self.driver() };
            self.moved_at = None;
            self.cancel_request = None;
            self.price_asked = None;
        }
        if self.status() != before {
            self.changed_at = event.at().unwrap_or(self.changed_at);
        }
    }

    fn apply(&mut self, event: &Event) {
        match event {
            Event::PaymentAwaited { until } => self.stage = Stage::Prepaying { until: *until },
            Event::PaymentConfirmed { amount, .. } => {
                self.paid = *amount;
                self.stage = Stage::Waiting { search_at: None };
            }
            Event::Scheduled { start_at, wake_at, remind_at, fare, .. } => {
                self.placement.start_at = Some(*start_at);
                self.remind_at = *remind_at;
                if let Some(fare) = fare {
                    self.reprice(fare);
                }
                self.price_asked = None;
                self.stage = Stage::Scheduled { wake_at: *wake_at };
            }
            Event::Reminded { .. } => self.remind_at = None,
            Event::PriceAsked { fare, until, .. } => {
                self.price_asked = Some(Box::new(PriceAsked { fare: fare.clone(), until: *until }));
            }
            Event::PriceSettled { fare, .. } => {
                self.reprice(fare);
                self.price_asked = None;
            }
            Event::CodeWrong { .. } => self.n_wrong_codes = self.n_wrong_codes.saturating_add(1),
            Event::WaitingCharged { amount, .. } => self.add_waiting(*amount),
            Event::CollectionChosen { .. } => {
                self.placement.handoff = Handoff::Collect;
                self.stage = Stage::Waiting { search_at: None };
            }
            Event::Unfollowed { .. } => self.followed_by = None,
            Event::Continued { order, fare, .. } => {
                self.followed_by = Some(*order);
                if let Some(fare) = fare {
                    self.placement.fare = fare.clone();
                }
            }
            Event::Postponed { wake_at, .. } => self.stage = Stage::Scheduled { wake_at: *wake_at },
            Event::StopsChanged { stops, fare, .. } => {
                self.placement.stops.clone_from(stops);
                if let Some(fare) = fare {
                    self.reprice(fare);
                }
                self.price_asked = None;
                self.forget_change();
                // What was expected was of another way; with the next position it asks how long this one takes.
                self.track.prospect = None;
            }
            Event::ChangeAsked { stops, fare, until, .. } => {
                let (stops, fare, until) = (stops.clone(), fare.clone(), *until);
                if let Some(Leg::InProgress { change, .. }) = self.leg_mut() {
                    *change = Some(Box::new(Change { stops, fare, until }));
                }
            }
            Event::ChangeDeclined { .. } => self.forget_change(),
            Event::Search(event) => self.apply_search(event),
            Event::Assigned(by) => self.drive(by, Leg::Assigned),
            Event::CustodyPassed(by) => {
                let is_returning = matches!(self.leg(), Some(Leg::Returning));
                let leg = if is_returning { Leg::Returning } else { Leg::PickedUp };
                self.moved_at = Some(by.at);
                self.is_driver_lost = false;
                self.drive(by, leg);
            }
            Event::Settled { slots, .. } => {
                if let Stage::Driven { by, .. } = &mut self.stage {
                    by.slots.clone_from(slots);
                }
            }
            Event::DriverGone { .. } => {
                self.n_reassigns = self.n_reassigns.saturating_add(1);
                self.n_wrong_codes = 0;
                self.stage = Stage::Looking;
            }
            Event::Departed { at } => {
                let leg = match self.leg() {
                    Some(Leg::PickedUp) => Leg::InTransit,
                    _ => Leg::EnRoutePickup,
                };
                if matches!(leg, Leg::InTransit) {
                    self.moved_at = Some(*at);
                }
                self.step(leg);
            }
            Event::Arrived { at, .. } => {
                let leg = match self.leg() {
                    Some(Leg::InTransit) => Leg::AtDropoff { is_contacted: false },
                    _ => Leg::AtPickup { since: *at, is_contacted: false, is_on_board: false },
                };
                self.moved_at = None;
                self.at_stop_since = Some(*at);
                self.step(leg);
            }
            Event::Contacted { .. } => {
                if let Some(Leg::AtPickup { is_contacted, .. } | Leg::AtDropoff { is_contacted }) =
                    self.leg_mut()
                {
                    *is_contacted = true;
                }
            }
            Event::Boarded { .. } => {
                if let Some(Leg::AtPickup { is_on_board, .. }) = self.leg_mut() {
                    *is_on_board = true;
                }
            }
            Event::Started { at, .. } => {
                self.stops_done = 1;
                self.moved_at = Some(*at);
                self.at_stop_since = None;
                self.track.restart_meter();
                self.step(Leg::InProgress { is_at_stop: false, change: None, ending: None });
            }
            Event::Metered { total_m, at } => {
                self.track.checkpoint(total_m.saturating_sub(self.metered_m));
                self.metered_m = *total_m;
                self.moved_at = Some(*at);
            }
            Event::StopArrived { at } => {
                self.moved_at = Some(*at);
                self.at_stop_since = Some(*at);
                match self.leg_mut() {
                    Some(Leg::InProgress { is_at_stop, .. }) => *is_at_stop = true,
                    _ => self.step(Leg::AtStop),
                }
            }
            Event::StopCompleted { at, .. } | Event::StopSkipped { at, .. } => {
                self.at_stop_since = None;
                self.stops_done = self.stops_done.saturating_add(1);
                self.moved_at = Some(*at);
                self.passes_stop();
                match self.leg_mut() {
                    Some(Leg::InProgress { is_at_stop, .. }) => *is_at_stop = false,
                    _ => self.step(Leg::InTransit),
                }
            }
            Event::EndAsked { by, until, .. } => {
                if let Some(Leg::InProgress { ending, .. }) = self.leg_mut() {
                    *ending = Some(Ending { by: *by, alert_at: Some(*until) });
                }
            }
            Event::LeftAtHub { by, at, .. } => self.lie_at_hub(*by, *at),
            Event::PickedUp { at, .. } => {
                self.stops_done = if self.is_past_hub() { 2 } else { 1 };
                self.moved_at = Some(*at);
                self.at_stop_since = None;
                self.track.restart_meter();
                self.step(Leg::PickedUp);
            }
            Event::AttemptFailed { reason, .. } => {
                self.n_failed = self.n_failed.saturating_add(1);
                self.moved_at = None;
                self.reason = Some(reason.clone());
                self.step(Leg::FailedAttempt);
            }
            Event::Retried { at } => {
                self.moved_at = Some(*at);
                self.reason = None;
                self.step(Leg::InTransit);
            }
            Event::ReturnStarted { reason, at } => {
                self.reason = Some(reason.clone());
                self.moved_at = Some(*at);
                self.cancel_request = None;
                self.step(Leg::Returning);
            }
            Event::CancelAsked { by, until, .. } => {
                self.cancel_request = Some(CancelRequest { by: by.role(), until: Some(*until) });
            }
            Event::CancelDenied { .. } => self.cancel_request = None,
            Event::CancelEscalated { .. } => {
                if let Some(request) = &mut self.cancel_request {
                    request.until = None;
                }
            }
            Event::Completed { distance_m, .. } => {
                self.metered_m = *distance_m;
                self.stops_done = self.n_stops();
            }
            Event::Delivered { .. } => self.stops_done = self.n_stops(),
            Event::Cancelled { reason, .. } | Event::Failed { reason, .. } => {
                self.reason = Some(reason.clone());
            }
            Event::FareLowered { percent, fare, .. } => {
                self.placement.fare = fare.clone();
                self.aftermath.lowered_percent = Some(*percent);
            }
            Event::Tipped { amount, .. } => self.aftermath.tip = Some(*amount),
            Event::Rated { by, stars, .. } => match by {
                Role::Rider => self.aftermath.stars_by_rider = Some(*stars),
                Role::Driver => self.aftermath.stars_by_driver = Some(*stars),
                Role::Merchant | Role::Dispatcher | Role::Admin | Role::System => {}
            },
            Event::SlaAtRisk { .. } => self.sla = Sla::AtRisk,
            Event::SlaBreached { .. } => self.sla = Sla::Breached,
            Event::Alerted { what, .. } => self.apply_alert(*what),
            Event::Fulfilment(event) => self.apply_fulfilment(event),
            Event::PrioritySet { priority, .. } => self.priority = *priority,
            Event::Placed { .. }
            | Event::IncidentOpened { .. }
            | Event::DispatchFailed { .. }
            | Event::DriverChosen { .. }
            | Event::Returned { .. }
            | Event::NoDriverFound { .. }
            | Event::NoShow { .. } => {}
        }
    }

    pub(super) fn leg_mut(&mut self) -> Option<&mut Leg> {
        match &mut self.stage {
            Stage::Driven { leg, .. } => Some(leg),
            Stage::Prepaying { .. }
            | Stage::Scheduled { .. }
            | Stage::Waiting { .. }
            | Stage::Looking
            | Stage::Ended { .. } => None,
        }
    }

    fn step(&mut self, next: Leg) {
        self.track.forget_asking();
        if let Some(leg) = self.leg_mut() {
            *leg = next;
        }
    }

    fn drive(&mut self, by: &Assignment, leg: Leg) {
        self.track = Track::default();
        self.stage = Stage::Driven { by: by.clone(), leg };
    }

    fn forget_change(&mut self) {
        if let Some(Leg::InProgress { change, .. }) = self.leg_mut() {
            *change = None;
        }
    }
}
