use super::*;
use crate::{measure::Commands, record::tests::a_run};

#[test]
fn a_record_crosses_as_it_is() {
    let run = a_run();
    let packed = pack(&run).unwrap();
    assert!(packed.len() * 3 < serde_json::to_vec(&run).unwrap().len());
    assert_eq!(unpack(&packed).unwrap(), run);
    assert!(unpack(&packed[..packed.len() / 2]).is_err());
}

fn done(band: &mut Band, who: &str, record: &Record) {
    for (n, part) in pack(record).unwrap().chunks(PART).enumerate() {
        let player = band.players.get_mut(who).unwrap();
        player.parts.insert(n, part.to_vec());
    }
    band.heard(who, Said::Done { parts: 1 });
}

fn smoke() -> Scenario {
    Scenario::open("smoke", &[]).unwrap()
}

#[test]
fn what_all_measured_is_one_record() {
    let mut band = Band::new(vec!["a".to_owned(), "b".to_owned()], Nodes::default());
    band.second();
    done(&mut band, "a", &a_run());
    assert!(!band.is_over());
    done(&mut band, "b", &a_run());
    assert!(band.is_over());
    let record = band.record(&smoke());
    assert_eq!((record.generators, record.commands.wanted), (2, 4_800));
    assert_eq!(
        (record.scenario.as_str(), record.verdicts.len()),
        ("smoke", smoke().thresholds.len())
    );
}

#[test]
fn whoever_falls_silent_is_missed_and_the_rest_is_not_believed() {
    let mut band = Band::new(vec!["a".to_owned(), "b".to_owned()], Nodes::default());
    let long_ago =
        Instant::now().checked_sub(SILENCE_MAX * 2).expect("a machine that is up for a minute");
    band.players.get_mut("b").unwrap().heard_at = long_ago;
    band.second();
    done(&mut band, "a", &a_run());
    assert!(band.is_over());
    let record = band.record(&smoke());
    assert_eq!(record.generators, 1);
    assert!(
        record.generator.saturated[0].contains("generator b is lost"),
        "{:?}",
        record.generator
    );
    assert_eq!(record.exit_code(), 4);
    assert!(record.events.iter().any(|seen| seen.who == "generator b"));
}

#[test]
fn strangers_are_not_heard() {
    let mut band = Band::new(vec!["a".to_owned()], Nodes::default());
    band.heard("z", Said::Done { parts: 0 });
    assert!(!band.is_over() && band.glance().is_none());
}

/// Needs a broker: `OUTRIDER_TEST_NATS`, as `./test` exports it.
#[tokio::test]
async fn generators_meet_start_together_and_are_added_up() {
    let Ok(url) = std::env::var("OUTRIDER_TEST_NATS") else { return };
    let name = format!("test-{}", std::process::id());
    let stop = CancellationToken::new();
    let player = async |me: &'static str| {
        let meeting = Meeting::at(&url, &name).await.unwrap();
        let play = |scenario: Scenario, glances: mpsc::Sender<Glance>, _stop| async move {
            let crate::scenario::Play::Crowd(options) = scenario.play else {
                return Err("no crowd".to_owned());
            };
            glances
                .send(Glance { planned: 10, ..Glance::default() })
                .await
                .map_err(|it| it.to_string())?;
            // Each says which hand it was dealt.
            let wanted = 10_u64.pow(options.hand.n) * u64::from(options.hand.of);
            Ok(Record { commands: Commands { wanted, ..Commands::default() }, ..a_run() })
        };
        join(&meeting, me, CancellationToken::new(), play).await.unwrap()
    };
    let leader = async {
        let meeting = Meeting::at(&url, &name).await.unwrap();
        lead(&meeting, &smoke(), 3, Nodes::default(), stop, |_| {}, |_| {}).await.unwrap()
    };
    let (record, ..) = tokio::join!(leader, player("one"), player("two"), player("three"));
    assert_eq!((record.generators, record.commands.wanted), (3, 333));
}

#[tokio::test]
async fn a_meeting_has_a_name() {
    let failed = Meeting::at("nats://127.0.0.1:1", "a.b").await;
    assert!(matches!(failed, Err(NotTogether::Name(_))));
}
