//! The dead are found, the paused accuse nobody, and nobody is accused in vain.

use super::*;
use crate::cluster::arbiter::NodeCard;
use proptest::prelude::*;

const ME: Incarnation = Incarnation(1);

/// Whoever is called this or more has come a moment ago.
const NEWCOMER: u64 = 100;

struct Scene {
    observer: Observer,
    began: Instant,
    now: Instant,
    picture: Picture,
    unheard: BTreeSet<Incarnation>,
}

impl Scene {
    fn of(n: u64) -> Self {
        let members = (1..=n).map(Incarnation).map(|it| (it, member(it))).collect();
        let picture = Picture { members, ..Picture::default() };
        let observer = Observer::new(&Settings::default());
        let began = Instant::now();
        Self { observer, began, now: began, picture, unheard: BTreeSet::new() }
    }

    /// The same, of whom only these may be given shards.
    fn owned_by(n: u64, owners: &[u64]) -> Self {
        let mut scene = Self::of(n);
        for member in scene.picture.members.values_mut() {
            member.card.weight = if owners.contains(&member.incarnation.0) { 100 } else { 0 };
        }
        scene
    }

    fn member(&mut self, n: u64) -> &mut Member {
        self.picture.members.get_mut(&Incarnation(n)).unwrap()
    }

    /// Somebody comes who was not there before.
    fn join(&mut self, n: u64) {
        self.picture.members.insert(Incarnation(n), member(Incarnation(n)));
    }

    /// Looks every 200 ms; the judge and `alive` renew themselves each time.
    fn pass(&mut self, ms: u64, alive: &[u64]) -> Vec<Accusation> {
        let mut accusations = Vec::new();
        for _ in 0..ms / 200 {
            self.now += Duration::from_millis(200);
            for n in alive.iter().chain([&ME.0]) {
                self.member(*n).renewals += 1;
            }
            accusations.extend(self.look());
        }
        accusations
    }

    fn look(&mut self) -> Vec<Accusation> {
        let age = self.now - self.began;
        for (who, member) in &mut self.picture.members {
            // Whoever has joined since is new.
            member.age = if who.0 < NEWCOMER { age } else { Duration::ZERO };
        }
        self.observer.looked(self.now, self.now, ME, &self.picture, &self.unheard)
    }
}

fn member(incarnation: Incarnation) -> Member {
    let card = NodeCard {
        node: incarnation.to_string(),
        address: String::new(),
        zone: String::new(),
        weight: 100,
        version: String::new(),
        writes: 1,
        reads: 1,
        secret: String::new(),
    };
    Member {
        incarnation,
        card,
        standing: Standing::Up,
        hears: true,
        renewals: 0,
        age: Duration::ZERO,
        has_session: true,
    }
}

#[test]
fn who_stands_still_for_a_lease_is_accused_and_who_does_not_is_not() {
    let mut scene = Scene::of(3);
    assert_eq!(scene.pass(4_000, &[2, 3]), []);
    let accusations = scene.pass(2_400, &[3]);
    assert_eq!(accusations[0].who, Incarnation(2));
    assert_eq!(accusations[0].proof, Proof::Still);
    assert!(accusations.iter().all(|it| it.who == Incarnation(2)));
}

#[test]
fn a_judge_that_was_paused_accuses_nobody_before_it_has_looked_for_a_whole_lease() {
    let mut scene = Scene::of(3);
    scene.pass(4_000, &[2, 3]);
    scene.now += Duration::from_secs(60);
    assert_eq!(scene.look(), []);
    assert_eq!(scene.pass(1_600, &[]), []);
}

#[test]
fn a_judge_whose_arbiter_was_away_accuses_nobody_at_once() {
    let mut scene = Scene::of(2);
    scene.pass(1_800, &[2]);
    for _ in 0..20 {
        scene.now += Duration::from_millis(200);
        scene.observer.failed();
    }
    assert_eq!(scene.pass(1_800, &[]), []);
    assert_eq!(scene.pass(600, &[])[0].who, Incarnation(2));
}

#[test]
fn two_proofs_that_a_process_is_gone_need_no_waiting_and_one_does_not_do() {
    let mut scene = Scene::of(2);
    scene.pass(400, &[2]);
    scene.picture.members.get_mut(&Incarnation(2)).unwrap().has_session = false;
    assert_eq!(scene.look(), []);
    scene.unheard.insert(Incarnation(2));
    assert_eq!(scene.look()[0].proof, Proof::Gone);
    scene.picture.members.get_mut(&Incarnation(2)).unwrap().has_session = true;
    assert_eq!(scene.look(), []);
}

#[test]
fn whoever_is_not_back_yet_after_the_arbiter_was_away_is_not_gone() {
    let mut scene = Scene::of(3);
    scene.pass(400, &[2, 3]);
    scene.observer.failed();
    // The arbiter is back before their connections to it are, and the broker was away, too.
    for n in [2, 3] {
        scene.picture.members.get_mut(&Incarnation(n)).unwrap().has_session = false;
        scene.unheard.insert(Incarnation(n));
    }
    assert_eq!(scene.pass(800, &[]), []);
    // One comes back, and goes for good.
    scene.picture.members.get_mut(&Incarnation(2)).unwrap().has_session = true;
    assert_eq!(scene.look(), []);
    scene.picture.members.get_mut(&Incarnation(2)).unwrap().has_session = false;
    let accusations = scene.look();
    assert_eq!(accusations.len(), 1, "{accusations:?}");
    assert_eq!((accusations[0].who, accusations[0].proof), (Incarnation(2), Proof::Gone));
}

#[test]
fn no_storm_of_accusations() {
    let mut scene = Scene::of(7);
    scene.pass(4_000, &[2, 3, 4, 5, 6, 7]);
    let who: BTreeSet<_> = scene.pass(2_200, &[]).iter().map(|it| it.who).collect();
    assert!(who.len() <= 2, "{who:?}");
}

fn accused(accusations: &[Accusation]) -> BTreeSet<u64> {
    accusations.iter().map(|it| it.who.0).collect()
}

#[test]
fn owners_that_are_late_together_are_spared_by_those_who_could_not_take_over() {
    let mut scene = Scene::owned_by(9, &[2, 3]);
    let gateways = [4, 5, 6, 7, 8, 9];
    scene.pass(4_000, &[2, 3, 4, 5, 6, 7, 8, 9]);
    assert_eq!(scene.pass(30_000, &gateways), [], "nobody would take their shards");
    assert_eq!(scene.observer.n_spared(), 2);
    // Both get a processor again.
    assert_eq!(scene.pass(4_000, &[2, 3, 4, 5, 6, 7, 8, 9]), []);
    assert_eq!(scene.observer.n_spared(), 0);
}

#[test]
fn of_two_owners_one_may_be_declared_dead_while_the_other_is_in_time() {
    let mut scene = Scene::owned_by(4, &[2, 3]);
    scene.pass(4_000, &[2, 3, 4]);
    assert_eq!(accused(&scene.pass(2_400, &[3, 4])), BTreeSet::from([2]));
    // The one that is left is late by half a lease: nobody knows whether it could take over.
    let mut scene = Scene::owned_by(4, &[2, 3]);
    scene.pass(4_000, &[2, 3, 4]);
    scene.pass(800, &[3, 4]);
    assert_eq!(scene.pass(1_600, &[4]), []);
    assert_eq!(accused(&scene.pass(200, &[3, 4])), BTreeSet::from([2]), "it has moved");
}

#[test]
fn a_renewal_that_is_seen_now_may_be_as_old_as_the_last_look() {
    let mut scene = Scene::owned_by(4, &[2, 3]);
    scene.pass(4_000, &[2, 3, 4]);
    scene.pass(1_000, &[3, 4]);
    // Right after that.
    scene.member(3).renewals += 1;
    for _ in 0..2 {
        scene.now += Duration::from_millis(900);
        assert_eq!(scene.look(), []);
    }
    assert_eq!(scene.observer.n_spared(), 1, "the other has been late for almost a lease");
    scene.pass(200, &[3, 4]);
    assert_eq!(scene.observer.n_spared(), 0);
}

#[test]
fn a_judge_that_is_late_itself_is_no_heir() {
    let mut scene = Scene::of(2);
    scene.pass(4_000, &[2]);
    let mut accusations = Vec::new();
    for _ in 0..20 {
        scene.now += Duration::from_millis(200);
        accusations.extend(scene.look());
    }
    assert_eq!(accusations, [], "it looks, and does not renew itself either");
    assert_eq!(accused(&scene.pass(200, &[])), BTreeSet::from([2]));
}

#[test]
fn whoever_was_spared_is_declared_dead_as_soon_as_a_new_owner_comes() {
    let mut scene = Scene::owned_by(4, &[2]);
    scene.pass(4_000, &[2, 3, 4]);
    assert_eq!(scene.pass(10_000, &[3, 4]), []);
    scene.join(NEWCOMER);
    assert_eq!(accused(&scene.pass(200, &[3, 4])), BTreeSet::from([2]));
}

#[test]
fn a_process_that_is_gone_is_spared_as_well_while_nobody_could_take_over() {
    let mut scene = Scene::owned_by(3, &[2]);
    scene.pass(400, &[2, 3]);
    scene.member(2).has_session = false;
    scene.unheard.insert(Incarnation(2));
    assert_eq!(scene.look(), []);
    assert_eq!(scene.observer.n_spared(), 1);
    scene.join(NEWCOMER);
    let accusations = scene.look();
    assert_eq!(accusations.len(), 1, "{accusations:?}");
    assert_eq!((accusations[0].who, accusations[0].proof), (Incarnation(2), Proof::Gone));
}

#[test]
fn one_without_shards_may_stand_still_for_longer() {
    let mut scene = Scene::owned_by(6, &[2]);
    scene.pass(4_000, &[2, 3, 4, 5, 6]);
    assert_eq!(scene.pass(9_800, &[2, 3]), [], "starved, but full of sockets");
    assert_eq!(accused(&scene.pass(200, &[2, 3])), BTreeSet::from([4]), "no more than a third");
    // A judge that has only been well for a lease knows nothing of five.
    let mut scene = Scene::owned_by(3, &[2]);
    scene.pass(9_000, &[2]);
    scene.observer.failed();
    assert_eq!(scene.pass(9_800, &[2]), []);
    assert_eq!(accused(&scene.pass(400, &[2])), BTreeSet::from([3]));
}

#[test]
fn one_without_shards_that_is_gone_is_not_spared_for_want_of_an_heir() {
    let mut scene = Scene::owned_by(5, &[2]);
    scene.pass(4_000, &[2, 3, 4, 5]);
    scene.pass(3_000, &[4, 5]);
    for gone in [2, 3] {
        scene.member(gone).has_session = false;
        scene.unheard.insert(Incarnation(gone));
    }
    let accusations = scene.look();
    assert_eq!(accused(&accusations), BTreeSet::from([3]));
    assert_eq!(accusations[0].proof, Proof::Gone);
    assert_eq!(scene.observer.n_spared(), 1, "the owner");
}

#[test]
fn who_leaves_or_hears_nobody_is_no_heir() {
    let late_2 = |other: fn(&mut Member)| {
        let mut scene = Scene::owned_by(4, &[2, 3]);
        scene.pass(4_000, &[2, 3, 4]);
        other(scene.member(3));
        accused(&scene.pass(3_000, &[3, 4]))
    };
    assert_eq!(late_2(|_| ()), BTreeSet::from([2]));
    assert_eq!(late_2(|it| it.standing = Standing::Draining), BTreeSet::new());
    assert_eq!(late_2(|it| it.hears = false), BTreeSet::new());
    assert_eq!(late_2(|it| it.card.weight = 0), BTreeSet::new());
}

#[test]
fn who_was_there_before_the_judge_is_no_heir_before_it_has_moved() {
    let mut scene = Scene::owned_by(3, &[2, 3]);
    scene.began -= Duration::from_secs(60);
    scene.look();
    scene.member(2).has_session = false;
    scene.unheard.insert(Incarnation(2));
    assert_eq!(scene.pass(200, &[]), [], "the other may have stood still for a minute");
    assert_eq!(accused(&scene.pass(200, &[3])), BTreeSet::from([2]));
}

/// What happens between two looks: who renews itself, who is not connected, who is not heard, and how long it takes.
fn moments() -> impl Strategy<Value = Vec<(u8, u8, u8, u64)>> {
    // Most are well most of the time, or nobody would ever be accused.
    let mostly = || prop_oneof![4 => Just(u8::MAX), 1 => any::<u8>()];
    let ms = prop_oneof![9 => Just(200_u64), 1 => 10..3_000_u64];
    let stretch = (mostly(), mostly(), mostly(), ms, 1..20_usize);
    let stretches = prop::collection::vec(stretch, 1..12);
    stretches.prop_map(|stretches| {
        let moments = stretches.into_iter().flat_map(|(renew, session, heard, ms, n)| {
            std::iter::repeat_n((renew, session, !heard, ms), n)
        });
        moments.collect()
    })
}

proptest! {
    /// Whatever happens: once those are dead who are accused of having left shards behind, there is one who may be given shards
    /// and has renewed itself within half a lease, though it was right after the look before. So it is never the last.
    #[test]
    fn whoever_is_accused_leaves_somebody_who_takes_over(
        owners in any::<u8>(),
        leaving in prop_oneof![3 => Just(0_u8), 1 => any::<u8>()],
        moments in moments(),
    ) {
        let has = |bits: u8, who: Incarnation| (bits >> (who.0 - 1)) & 1 == 1;
        let mut scene = Scene::of(8);
        let mut renewed_at = BTreeMap::new();
        for (who, member) in &mut scene.picture.members {
            member.card.weight = if has(owners, *who) { 100 } else { 0 };
            member.standing = if has(leaving, *who) { Standing::Draining } else { Standing::Up };
            renewed_at.insert(*who, scene.now);
        }
        for (renew, session, unheard, ms) in moments {
            let before = scene.now;
            scene.now += Duration::from_millis(ms);
            scene.unheard.clear();
            for (who, member) in &mut scene.picture.members {
                member.has_session = has(session, *who);
                if has(unheard, *who) {
                    scene.unheard.insert(*who);
                }
                if has(renew, *who) {
                    member.renewals += 1;
                    renewed_at.insert(*who, before);
                }
            }
            let accusations = scene.look();
            for Accusation { who, .. } in &accusations {
                scene.member(who.0).standing = Standing::Dead;
            }
            let is_left = |it: &Member| {
                it.standing == Standing::Up
                    && it.card.weight > 0
                    && scene.now - renewed_at[&it.incarnation] <= Settings::default().ttl / 2
            };
            let is_one_left = scene.picture.members.values().any(is_left);
            let has_no_shards = |it: &Accusation| {
                it.proof == Proof::Gone && scene.picture.members[&it.who].card.weight == 0
            };
            let is_harmless = accusations.iter().all(has_no_shards);
            prop_assert!(is_harmless || is_one_left, "{accusations:?}");
        }
    }
}
