//! The dead are found, the paused accuse nobody.

use super::*;
use crate::cluster::arbiter::{Member, NodeCard};

const ME: Incarnation = Incarnation(1);

struct Scene {
    observer: Observer,
    now: Instant,
    picture: Picture,
    unheard: BTreeSet<Incarnation>,
}

impl Scene {
    fn of(n: u64) -> Self {
        let members = (1..=n).map(Incarnation).map(|it| (it, member(it))).collect();
        let picture = Picture { members, ..Picture::default() };
        let observer = Observer::new(&Settings::default());
        Self { observer, now: Instant::now(), picture, unheard: BTreeSet::new() }
    }

    /// Looks every 200 ms; `alive` renew themselves each time.
    fn pass(&mut self, ms: u64, alive: &[u64]) -> Vec<Accusation> {
        let mut accusations = Vec::new();
        for _ in 0..ms / 200 {
            self.now += Duration::from_millis(200);
            for n in alive {
                self.picture.members.get_mut(&Incarnation(*n)).unwrap().renewals += 1;
            }
            accusations.extend(self.look());
        }
        accusations
    }

    fn look(&mut self) -> Vec<Accusation> {
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
