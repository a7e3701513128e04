//! Two builds side by side: this one, and the one that comes after it, which has a field and an event
//! that this one does not know (the feature `next`).

use crate::{
    client::Client,
    cluster::{Shared, is_shared_by, seen},
    node::{Node, command, next_build, outrider, rider},
    ride::{act, place_ride},
};
use protocol::{Principal, work::OrderAction};
use serde_json::Value;
use std::{
    path::{Path, PathBuf},
    process::Output,
    time::Duration,
};

struct Fleet {
    shared: Shared,
    old: PathBuf,
    new: PathBuf,
}

impl Fleet {
    fn start(&self, build: &Path, name: &str) -> Node {
        let settings = self.shared.settings(name);
        Node::of(build, &settings.each_ref().map(|(key, value)| (*key, value.as_str())))
    }

    /// What a build says that is given a command instead of being started for good.
    fn run(&self, build: &Path, args: &[&str]) -> Output {
        let mut command = command(build, self.shared.directory.path());
        for (key, value) in self.shared.settings("third") {
            command.env(format!("OUTRIDER_{key}"), value);
        }
        command.args(args).output().unwrap()
    }

    /// The same once there is so much: riders are told by their orders, a moment later.
    async fn history_of(&self, build: &Path, rider: Principal, n: usize) -> (Vec<String>, Value) {
        let told = async {
            loop {
                match self.history(build, rider) {
                    Ok(told) if told.0.len() >= n => return told,
                    Ok(_) => {}
                    Err(problem) => assert!(problem.contains("nothing ever"), "{problem}"),
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), told).await.unwrap()
    }

    /// The names of what happened to a rider, as a build reads them, and the last event.
    fn history(&self, build: &Path, rider: Principal) -> Result<(Vec<String>, Value), String> {
        let output = self.run(build, &["history", &rider.to_string()]);
        if !output.status.success() {
            return Err(String::from_utf8_lossy(&output.stderr).into_owned());
        }
        let lines = String::from_utf8(output.stdout).unwrap();
        let events: Vec<Value> =
            lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let names = events.iter().map(|it| it["name"].as_str().unwrap().to_owned()).collect();
        Ok((names, events.last().unwrap()["event"].clone()))
    }
}

/// The format that may be written, once a node sees it so.
fn writes(n: u64) -> impl Fn(&Value) -> bool {
    move |cluster| cluster["writes"] == n
}

async fn replace(fleet: &Fleet, node: Node, name: &str, other: &Node) -> Node {
    node.terminate();
    assert!(node.wait().success());
    let node = fleet.start(&fleet.new, name);
    seen(other, is_shared_by(2)).await;
    node
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_new_format_is_written_once_every_node_reads_it_and_older_builds_refuse_it() {
    let shared = Shared::new().await;
    let old = PathBuf::from(outrider(shared.directory.path()).get_program());
    let fleet = Fleet { shared, old, new: next_build() };
    let (first, second) = (fleet.start(&fleet.old, "first"), fleet.start(&fleet.old, "second"));
    seen(&first, is_shared_by(2)).await;
    let mut early = Client::connect(&first, rider(1)).await;
    let order = place_ride(&mut early).await;

    // One of each: what both can read is written, wherever it is asked for.
    let second = replace(&fleet, second, "second", &first).await;
    seen(&second, writes(11)).await;
    for n in 2..=9 {
        let node = if n % 2 == 0 { &first } else { &second };
        place_ride(&mut Client::connect(node, rider(n)).await).await;
        let (names, opened) = fleet.history_of(&fleet.old, rider(n), 1).await;
        assert_eq!(names, ["job_opened"], "rider {n}");
        assert_eq!(opened["job_opened"]["nth"], Value::Null, "rider {n}");
    }

    // The last old one goes: now, and only now, the new format is written.
    let first = replace(&fleet, first, "first", &second).await;
    seen(&first, writes(12)).await;
    seen(&second, writes(12)).await;
    let mut late = Client::connect(&first, rider(20)).await;
    let new_order = place_ride(&mut late).await;
    let (_, opened) = fleet.history_of(&fleet.new, rider(20), 1).await;
    assert_eq!(opened["job_opened"]["nth"], 1);
    let cancel = OrderAction::Cancel { reason: "changed_mind".to_owned() };
    act(&mut late, new_order, cancel.clone()).await;

    // What was begun under the old one goes on.
    let mut early = Client::connect(&second, rider(1)).await;
    act(&mut early, order, cancel).await;
    let (names, _) = fleet.history_of(&fleet.old, rider(1), 2).await;
    assert_eq!(names, ["job_opened", "job_closed"]);
    let (names, _) = fleet.history_of(&fleet.new, rider(20), 3).await;
    assert_eq!(names, ["job_opened", "job_closed", "settled"]);

    // An old build neither shows half of what it does not know, nor takes part any more.
    let refused = fleet.history(&fleet.old, rider(20)).unwrap_err();
    assert!(refused.contains("needs a build that reads format 12"), "{refused}");
    let started = fleet.run(&fleet.old, &["serve"]);
    let said = String::from_utf8_lossy(&started.stderr).into_owned();
    assert!(!started.status.success() && said.contains("writes format 12"), "{said}");
    seen(&first, is_shared_by(2)).await;
}
