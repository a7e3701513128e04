//! Orders that go on as another order: a ride whose driver broke down, and a second try after nobody
//! was found.

use super::{Answer, Around, Event, Life, Placement, waiting};
use crate::listing::RegionId;
use protocol::{
    Fare, FareLine, OrderId, Place, Principal,
    work::{EarlyReason, OfferPolicy, PaymentTiming},
};

impl Life {
    /// The same once more, now. What became of the first one is final.
    pub(super) fn try_again(&self, around: &Around) -> Answer {
        if self.followed_by.is_some() {
            return Ok(Vec::new());
        }
        self.within_time(self.placement.policy.retry_ms, "trying again", around)?;
        let placement = Placement {
            start_at: None,
            kept_until: None,
            follows: Some(around.id),
            barred: self.search.barred().into(),
            fleet: self.search.fleet().map(Box::new),
            fleet_first: self.search.is_kept_at_first(),
            excluded: Vec::new(),
            ..self.placement.clone()
        };
        Ok(vec![self.goes_on_as(placement, None, around)])
    }

    /// Nothing goes on for it, and it may be tried again.
    pub(super) fn unfollow(&self, around: &Around) -> Vec<Event> {
        let unfollowed = Event::Unfollowed { at: around.now };
        self.followed_by.map(|_| unfollowed).into_iter().collect()
    }

    /// A ride that ends away from its last stop because its driver cannot go on: another driver
    /// comes to where it stands. Both parts together cost what the whole would have cost.
    pub(super) fn go_on_from_here(
        &self,
        early_reason: Option<&str>,
        around: &Around,
    ) -> Option<Event> {
        let driver = self.driver()?;
        let is_breakdown = early_reason == Some(EarlyReason::Breakdown.into())
            || self.ending().is_some_and(|ending| matches!(ending.by, Principal::Driver(_)));
        let ahead = self.placement.stops.get(usize::from(self.stops_done)..)?;
        let last_stop = self.placement.stops.get(usize::from(self.stops_done.saturating_sub(1)))?;
        let here = self.track.last_seen().map_or_else(|| last_stop.clone(), Place::from);
        let fence_m = f64::from(self.placement.policy.dropoff_fence_m);
        let is_there = here.at.distance_m(self.dropoff().at) <= fence_m && self.is_at_last_stop();
        if !is_breakdown || is_there || ahead.is_empty() {
            return None;
        }
        let stops: Vec<Place> = [here].into_iter().chain(ahead.iter().cloned()).collect();
        let rest = self.share_of(&stops);
        let mut done = self.placement.fare.clone();
        done.lines.push(FareLine { code: "continued".to_owned(), amount: -rest });
        let mut lines = vec![FareLine { code: "continuation".to_owned(), amount: rest }];
        let is_prepaid = self.placement.payment == PaymentTiming::Prepay;
        if is_prepaid {
            lines.push(FareLine { code: "paid_before".to_owned(), amount: -rest });
        }
        let mut policy = self.placement.policy;
        let was_the_only = self.placement.driver.is_some();
        if was_the_only && matches!(policy.offer, OfferPolicy::Direct | OfferPolicy::AutoAssign) {
            policy.offer = OfferPolicy::Sequential;
        }
        let placement = Placement {
            stops,
            fare: Fare { currency: done.currency, lines },
            policy,
            start_at: None,
            kept_until: None,
            payment: match is_prepaid {
                true => PaymentTiming::OnCompletion,
                false => self.placement.payment,
            },
            driver: None,
            follows: Some(around.id),
            barred: self.search.barred().into(),
            fleet: self.search.fleet().map(Box::new),
            fleet_first: self.search.is_kept_at_first(),
            excluded: vec![driver],
            ..self.placement.clone()
        };
        Some(self.goes_on_as(placement, Some(done), around))
    }

    fn goes_on_as(&self, placement: Placement, fare: Option<Fare>, around: &Around) -> Event {
        let pickup = placement.stops.first().unwrap_or(self.pickup()).at;
        let order = OrderId::following(around.id, RegionId::at(pickup).shard());
        Event::Continued { order, placement: Box::new(placement), fare, at: around.now }
    }

    /// What part of the fare the way along these stops is: by distance, without the base and without waiting.
    fn share_of(&self, stops: &[Place]) -> i64 {
        let ahead_m: f64 = stops.windows(2).map(|leg| leg[0].at.distance_m(leg[1].at)).sum();
        let ahead_m = i128::from(ahead_m.round() as u64);
        let done_m = i128::from(self.metered_m.saturating_add(self.track.unmetered_m()));
        let fare = &self.placement.fare;
        let is_for_the_way = |line: &&FareLine| !["base", waiting::LINE].contains(&&*line.code);
        let way: i64 = fare.lines.iter().filter(is_for_the_way).map(|line| line.amount).sum();
        let priced = i128::from(way.clamp(0, fare.total().amount.max(0)));
        let share = priced * ahead_m / (ahead_m + done_m).max(1);
        i64::try_from(share).expect("a part is no larger than the whole")
    }
}
