use super::*;

fn given(driver: u64, orders: &[u64]) -> Given {
    let orders = orders.iter().copied().map(OrderId::nth).collect();
    Given { driver: DriverId::nth(driver), orders }
}

fn seen(manifests: &[Given], state: &str) -> Vec<SeenOf> {
    let ids = |it: &Given| {
        let orders = it.orders.iter().map(OrderId::to_string);
        orders.chain([it.driver.to_string()]).collect::<Vec<_>>()
    };
    let all = manifests.iter().flat_map(ids);
    all.map(|id| SeenOf { id, state: state.to_owned() }).collect()
}

fn shown(manifests: Vec<Given>) -> Commitment {
    let seen = seen(&manifests, "1");
    let digest = digest_of(&manifests, &seen);
    Commitment { manifests, seen, digest, reason: "it is late".to_owned() }
}

#[test]
fn a_digest_says_what_belongs_together_in_whatever_order() {
    let manifests = [given(1, &[1, 2]), given(2, &[3])];
    let seen_then = seen(&manifests, "1");
    let digest = digest_of(&manifests, &seen_then);
    let turned = [given(2, &[3]), given(1, &[2, 1])];
    let mut seen_turned = seen_then.clone();
    seen_turned.reverse();
    assert_eq!(digest_of(&turned, &seen_turned), digest);
    let others = [
        digest_of(&[given(1, &[1]), given(2, &[2, 3])], &seen_then),
        digest_of(&manifests[..1], &seen_then),
        digest_of(&manifests, &seen(&manifests, "2")),
        digest_of(&manifests, &seen_then[1..]),
    ];
    assert!(others.iter().all(|it| *it != digest), "{others:?}");
}

#[test]
fn what_was_not_shown_so_is_not_committed() {
    let fine = || shown(vec![given(1, &[1, 2]), given(2, &[3])]);
    assert_eq!(fine().check(5), Ok(()));
    let refused = |change: &dyn Fn(&mut Commitment)| {
        let mut wanted = fine();
        change(&mut wanted);
        wanted.check(5).expect_err("it is refused").code
    };
    assert_eq!(refused(&|it| it.manifests[0].orders = vec![OrderId::nth(1)]), Code::Invalid);
    assert_eq!(refused(&|it| it.seen[0].state = "2".to_owned()), Code::Invalid);
    assert_eq!(refused(&|it| it.manifests.clear()), Code::Invalid);
    // One order for two, one driver twice, and more than a run has: also where the digest is right.
    for manifests in [
        vec![given(1, &[1, 2]), given(2, &[2])],
        vec![given(1, &[1]), given(1, &[2])],
        vec![given(1, &[1, 2, 3, 4, 5, 6])],
        vec![given(1, &[])],
    ] {
        assert!(shown(manifests.clone()).check(5).is_err(), "{manifests:?}");
    }
    // Something of it nobody has looked at.
    let manifests = vec![given(1, &[1])];
    let seen = seen(&manifests, "1")[..1].to_vec();
    let digest = digest_of(&manifests, &seen);
    let wanted = Commitment { manifests, seen, digest, reason: String::new() };
    assert!(wanted.check(5).is_err());
    // Something seen twice: the digest is of the last of them alone.
    let mut twice = fine();
    let was_else = SeenOf { state: "2".to_owned(), ..twice.seen[0].clone() };
    twice.seen.insert(0, was_else);
    assert_eq!(twice.digest, digest_of(&twice.manifests, &twice.seen));
    assert!(twice.check(5).is_err());
}

#[test]
fn what_is_otherwise_than_it_was_shown_is_found_one_by_one() {
    let wanted = shown(vec![given(1, &[1, 2])]);
    let (order, driver) = (OrderId::nth(1).to_string(), DriverId::nth(1).to_string());
    assert_eq!(wanted.changed(order.clone(), "1".to_owned()), None);
    assert_eq!(wanted.changed(driver, "1".to_owned()), None);
    let (was, is) = ("1".to_owned(), "2".to_owned());
    let changed = wanted.changed(order.clone(), is.clone());
    assert_eq!(changed, Some(Changed { id: order, was, is }));
}

#[test]
fn what_was_planned_is_the_same_manifest_or_its_name_was_used_for_another() {
    let plan = planned(1, &[2, 1]);
    assert_eq!(given(1, &[1, 2]).check_is(&plan), Ok(()));
    for other in [given(2, &[1, 2]), given(1, &[1]), given(1, &[1, 2, 3]), given(1, &[1, 3])] {
        let refused = other.check_is(&plan).expect_err("it is another");
        assert_eq!(refused.code, Code::CommandIdReused, "{other:?}");
    }
}

fn planned(driver: u64, orders: &[u64]) -> Plan {
    let wanted = |n: &u64| run::Wanted { order: OrderId::nth(*n), round: None, from: None };
    let at = protocol::Point { lat: -1.95, lon: 30.06 };
    let pace = batch::Pace { crow_mps: 10.0, stop_s: 60 };
    let free = Timestamp(0);
    Plan {
        driver: DriverId::nth(driver),
        orders: orders.iter().map(wanted).collect(),
        cart: batch::Cart { at, free, capacity_g: 0, n_max: 5, pace, until: None },
        legs: run::Legs::default(),
        orders_max: 5,
        n_min: 2,
        consent: true,
        saving_percent: 0,
        join_ms: 0,
        offer_ms: 0,
        reason: None,
        by: None,
        told: Vec::new(),
    }
}

#[test]
fn each_manifest_makes_one_run_however_often_it_is_committed() {
    let (id, other) = (CommandId::nth(1), CommandId::nth(2));
    let one = given(1, &[1, 2]);
    assert_eq!(one.run(id, "a", 0), one.run(id, "a", 0));
    assert_ne!(one.run(id, "a", 0), one.run(id, "a", 1));
    assert_ne!(one.run(id, "a", 0), one.run(other, "a", 0));
    assert_ne!(one.run(id, "a", 0), one.run(id, "b", 0), "another commitment under its name");
    let (run, command) = one.run(id, "a", 0);
    assert_eq!((run.shard(), command.minted_at()), (one.orders[0].shard(), id.minted_at()));
}
