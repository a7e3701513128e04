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
}

#[test]
fn each_manifest_makes_one_run_however_often_it_is_committed() {
    let (id, other) = (CommandId::nth(1), CommandId::nth(2));
    let one = given(1, &[1, 2]);
    assert_eq!(one.run(id, 0), one.run(id, 0));
    assert_ne!(one.run(id, 0), one.run(id, 1));
    assert_ne!(one.run(id, 0), one.run(other, 0));
    let (run, command) = one.run(id, 0);
    assert_eq!((run.shard(), command.minted_at()), (one.orders[0].shard(), id.minted_at()));
}
