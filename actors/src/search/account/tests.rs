use super::*;
use std::collections::BTreeMap;
use strum::IntoEnumIterator;

const START: Timestamp = Timestamp(1_800_000_000_000);

fn driver(n: u64, travel_ms: u32) -> Weighed {
    Weighed {
        driver: DriverId::nth(n),
        fate: Fate::Spare,
        distance_m: 400,
        cost_ms: travel_ms + 7,
        travel_ms,
        busy_ms: 0,
        low_s: 3,
        high_s: 9,
        parts: Parts { idle_ms: 7, ..Parts::default() },
    }
}

fn round(n: u32) -> Seen {
    Seen {
        from: START,
        at: Timestamp(START.0 + 2_000),
        n: 3,
        round: n,
        radius_m: 3_000,
        verdict: Verdict::Outbid,
        n_weighed: 1,
        weighed: vec![driver(1, 90_000)],
        n_unfit: BTreeMap::from([(WhyNot::Skill, 2)]),
        unfit: vec![Unfit { driver: DriverId::nth(2), why: WhyNot::Skill }],
        rule: None,
        model: None,
    }
}

/// Every number as long as it gets, and everybody there is room for.
fn crowded(n: u32) -> Seen {
    let most = u32::MAX;
    let all = driver(1, 0);
    let all = Weighed {
        distance_m: most,
        cost_ms: most,
        travel_ms: most,
        busy_ms: most,
        parts: Parts::from([most; Parts::COUNT]),
        ..all
    };
    Seen {
        n: most,
        radius_m: most,
        n_weighed: most,
        weighed: (1..=30).map(|n| Weighed { driver: DriverId::nth(n), ..all }).collect(),
        n_unfit: WhyNot::iter().map(|why| (why, most)).collect(),
        unfit: WhyNot::iter().map(|why| Unfit { driver: DriverId::nth(9), why }).collect(),
        ..round(n)
    }
}

#[test]
fn what_rounds_saw_is_told_as_it_was() {
    assert_eq!(Account::of(&[]), None, "there is nothing to tell");
    let seen = vec![round(3), round(7)];
    let account = Account::of(&seen).unwrap();
    assert_eq!(account.rounds(), seen);
    assert!(account.size() < 300, "{}", account.size());
}

#[test]
fn however_much_there_is_to_tell_it_is_a_kilobyte_and_the_last_rounds_come_first() {
    let account = Account::of(&(1..=9).map(crowded).collect::<Vec<_>>()).unwrap();
    assert!(account.size() <= BYTES_MAX, "{}", account.size());
    let told = account.rounds();
    assert_eq!(told.last().unwrap().round, 9);
    assert_eq!(told.last().unwrap().weighed.len(), WEIGHED_MAX);
    let many = Account::of(&(1..=9).map(round).collect::<Vec<_>>()).unwrap();
    let rounds: Vec<u32> = many.rounds().iter().map(|it| it.round).collect();
    assert!(rounds.ends_with(&[8, 9]) && rounds.len() <= ROUNDS_MAX, "{rounds:?}");
}

#[test]
fn of_reasons_the_most_frequent_are_counted() {
    let counts = WhyNot::iter().zip(1..).collect::<BTreeMap<_, _>>();
    let most = *counts.values().max().unwrap();
    let account = Account::of(&[Seen { n_unfit: counts, ..round(1) }]).unwrap();
    let told = &account.rounds()[0].n_unfit;
    assert_eq!((told.len(), told.values().max()), (REASONS_MAX, Some(&most)));
}

#[test]
fn journals_have_bytes_and_people_have_rounds() {
    let account = Account::of(&[round(3)]).unwrap();
    let bytes = rmp_serde::to_vec_named(&account).unwrap();
    assert_eq!(rmp_serde::from_slice::<Account>(&bytes).unwrap(), account);
    let shown = serde_json::to_value(&account).unwrap();
    assert_eq!(shown[0]["unfit"][0]["why"], "skill");
    assert_eq!(serde_json::from_value::<Account>(shown).unwrap(), account);
}

#[test]
fn what_another_build_says_otherwise_is_told_as_nothing() {
    let bytes = rmp_serde::to_vec(&[("a", "later", "build")]).unwrap();
    assert_eq!(Account(bytes.into()).rounds(), []);
}

#[test]
fn the_rule_of_a_round_is_kept_and_where_there_was_none_nothing_else_is_said() {
    let mark = RuleMark { id: protocol::RuleId::nth(1), version: 3 };
    let ruled = Seen { rule: Some(mark), ..round(2) };
    let seen = vec![round(1), ruled, round(3)];
    assert_eq!(Account::of(&seen).unwrap().rounds(), seen);
    // Builds of format 8 know ten parts of a round.
    let first = |account: Account| account.0[1];
    assert_eq!(first(Account::of(&[round(1)]).unwrap()), 0x9a, "an array of ten");
    assert_eq!(first(Account::of(&[Seen { rule: Some(mark), ..round(1) }]).unwrap()), 0x9b);
}
