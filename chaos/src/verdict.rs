//! What must hold whatever was broken: nothing that was said is unsaid.

use crate::{
    Outcome,
    fleet::Fleet,
    load::{
        Load,
        phone::{GIVE_UP, Phone},
    },
    record::Sample,
};
use protocol::{Principal, frame};
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// Most riders whose orders are listed.
const LISTED_MAX: usize = 60;

/// A page of a list.
#[derive(Debug, Deserialize)]
struct Page {
    items: Vec<Row>,
    next: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Row {
    id: String,
}

/// Everything that is wrong after the load has gone home; nothing, if all is well.
pub(crate) async fn judge(fleet: &Fleet, load: &Load) -> Outcome<Vec<String>> {
    let mut wrong = load.world.record.all_unexpected();
    wrong.extend(repeats(load).await);
    wrong.extend(orders(fleet, load).await?);
    let (is_sound, said) = fleet.check(load.world.record.file()?).await?;
    if !is_sound {
        wrong.push(format!("the journal is not sound: {said}"));
    }
    wrong.extend(fleet.panics());
    Ok(wrong)
}

/// A repeat hears the first answer, whichever node hears it.
async fn repeats(load: &Load) -> Vec<String> {
    let mut by_client: BTreeMap<String, Vec<Sample>> = BTreeMap::new();
    for sample in load.world.record.samples() {
        by_client.entry(sample.by.to_string()).or_default().push(sample);
    }
    let mut wrong = Vec::new();
    for (n, samples) in by_client.into_values().enumerate() {
        let mut phone = Phone::new(&load.world, n, samples[0].by);
        for Sample { by, id, wish, done } in samples {
            match phone.ask(id, &wish).await.0 {
                Some(frame::Outcome::Ok(again)) if again == done => {}
                Some(other) => wrong.push(format!("{by} was told {done:?}, and now {other:?}")),
                None => wrong.push(format!("{by} hears nothing to {id} for {GIVE_UP:?}")),
            }
        }
    }
    wrong
}

/// Every order that was acknowledged exists, once, and nobody has one that was not.
async fn orders(fleet: &Fleet, load: &Load) -> Outcome<Vec<String>> {
    let mut wrong = Vec::new();
    let mut told: HashMap<Principal, BTreeSet<String>> = HashMap::new();
    let (mut commands, mut ids) = (BTreeSet::new(), BTreeSet::new());
    for (by, command, id) in load.world.record.placed() {
        if !commands.insert(command) || !ids.insert(id.clone()) {
            wrong.push(format!("two commands made {id}, or one made two"));
        }
        told.entry(by).or_default().insert(id);
    }
    let http = reqwest::Client::builder().no_proxy().build()?;
    let key = fleet.key();
    let riders = told.iter().filter(|(by, _)| matches!(by, Principal::Rider(_))).take(LISTED_MAX);
    for (by, told) in riders {
        let token = loadtest::TokenSource::token(&*key, *by).await?;
        let (mut listed, mut before) = (BTreeSet::new(), String::new());
        loop {
            let door = load.world.doors[listed.len() % fleet.nodes.len()];
            let door = if fleet.nodes.iter().any(|it| it.address == door && it.pid().is_some()) {
                door
            } else {
                let running = fleet.nodes.iter().find(|it| it.pid().is_some());
                running.ok_or("no node runs")?.address
            };
            let url = format!("http://{door}/v1/orders?limit=100{before}");
            let page: Page = http.get(url).bearer_auth(&token).send().await?.json().await?;
            listed.extend(page.items.into_iter().map(|row| row.id));
            match page.next {
                Some(next) => before = format!("&before={next}"),
                None => break,
            }
        }
        let missing = told.difference(&listed).count();
        let more = listed.difference(told).count();
        if missing + more > 0 {
            wrong.push(format!("{by} misses {missing} orders, and has {more} nobody confirmed"));
        }
    }
    Ok(wrong)
}
