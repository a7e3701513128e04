use super::*;

/// Something whose end is known, or not yet.
#[derive(Debug)]
struct Fake {
    is_over: bool,
}

impl Watched for Fake {
    fn poll_change(&mut self, _: &mut Context<'_>, _: Principal, _: &System) -> Poll<Change> {
        Poll::Pending
    }

    fn version(&self) -> u64 {
        1
    }

    fn frame(&self, _by: Principal) -> Option<ServerFrame> {
        None
    }

    fn say(
        &mut self,
        whole: ServerFrame,
        _by: Principal,
        _shown: Option<u64>,
        _told: Option<Told>,
    ) -> ServerFrame {
        whole
    }

    fn renew(&mut self, _whole: &ServerFrame, _told: Told) -> Option<ServerFrame> {
        None
    }

    fn whole(&self, _events: Vec<String>) -> ActorView {
        unreachable!("nobody asks for it")
    }

    fn may_sleep(&self) -> bool {
        true
    }

    fn has_had_its_say(&self, _by: Principal) -> bool {
        self.is_over
    }

    fn ended_offer(&self, _offer: OfferId) -> Option<OfferStatus> {
        None
    }

    fn parts(&self) -> Vec<Principal> {
        Vec::new()
    }
}

fn leaving(now: Instant) -> Follow {
    let mut follow = Follow::new(OrderId::nth(1).into());
    follow.leave(Some(now));
    follow
}

const BY: Principal = Principal::Dispatcher;

#[test]
fn what_is_one_s_own_is_never_forgotten() {
    let now = Instant::now();
    let mut follow = leaving(now);
    follow.opened(Box::new(Fake { is_over: true }));
    follow.leave(None);
    assert!(!follow.is_done(BY, now + 2 * LAST_WORD_MAX));
    assert_eq!(follow.done_at(now), None);
}

#[test]
fn a_job_that_has_said_its_last_word_is_forgotten_when_it_may_be() {
    let now = Instant::now();
    let mut follow = leaving(now + Duration::from_secs(1));
    follow.opened(Box::new(Fake { is_over: true }));
    assert!(!follow.is_done(BY, now));
    assert_eq!(follow.done_at(now), Some(now + Duration::from_secs(1)));
    assert!(follow.is_done(BY, now + Duration::from_secs(1)));
}

/// Its rider hears that the job is over by another way, which may be the faster one.
#[test]
fn the_last_word_is_waited_for_while_the_way_to_it_is_lost_or_long_but_not_for_ever() {
    let now = Instant::now();
    let mut follow = leaving(now);
    for _ in 0..2 {
        assert!(!follow.is_done(BY, now + LAST_WORD_MAX / 2));
        assert_eq!(follow.done_at(now), Some(now + LAST_WORD_MAX), "no sooner, or it would spin");
        assert!(follow.is_done(BY, now + LAST_WORD_MAX));
        follow.opened(Box::new(Fake { is_over: false }));
    }
}

#[test]
fn what_cannot_be_followed_is_tried_less_and_less_often_and_what_could_be_sooner() {
    let mut follow = Follow::new(OrderId::nth(1).into());
    let waits: Vec<_> = (0..14).map(|_| follow.lost(Some(&Refusal::Unavailable))).collect();
    assert_eq!(waits[0], Duration::from_millis(20));
    assert!(waits.is_sorted() && waits[9] > Duration::from_secs(5), "{waits:?}");
    assert_eq!(waits[12..], [Duration::from_secs(30); 2]);
    let busy = Refusal::Busy { retry_after_ms: 100 };
    assert_eq!(follow.lost(Some(&busy)), Duration::from_secs(10), "somebody has answered");
    follow.opened(Box::new(Fake { is_over: false }));
    assert_eq!(follow.lost(None), Duration::from_secs(5), "it was followed");
    let wait = follow.lost(Some(&Refusal::Unavailable));
    assert!(wait < Duration::from_secs(30), "{wait:?}, not as if it had never been");
    follow.opened(Box::new(Fake { is_over: false }));
    follow.is_well();
    assert_eq!(follow.lost(None), Duration::from_millis(20));
}
