use super::*;
use tokio::time::{advance, timeout};

const ONE: Incarnation = Incarnation(1);
const TWO: Incarnation = Incarnation(2);

struct Pair {
    hub: Hub,
    one: HubTransport,
    two: HubTransport,
    at_one: mpsc::Receiver<Incoming>,
    at_two: mpsc::Receiver<Incoming>,
}

fn pair() -> Pair {
    let hub = Hub::new(7);
    let (one, two) = (hub.join(), hub.join());
    let (to_one, at_one) = mpsc::channel(1000);
    let (to_two, at_two) = mpsc::channel(1000);
    one.listen(ONE, to_one);
    two.listen(TWO, to_two);
    Pair { hub, one, two, at_one, at_two }
}

/// All that arrives at `at` before nothing more does. Time is paused: an hour is nothing.
async fn all(at: &mut mpsc::Receiver<Incoming>) -> Vec<Incoming> {
    let mut all = Vec::new();
    while let Ok(Some(incoming)) = timeout(Duration::from_secs(3600), at.recv()).await {
        all.push(incoming);
    }
    all
}

fn messages(numbers: impl IntoIterator<Item = u8>) -> Vec<Incoming> {
    numbers.into_iter().map(|n| Incoming::Message(vec![n])).collect()
}

#[tokio::test(start_paused = true)]
async fn what_is_sent_arrives_in_order_and_at_its_receiver_only() {
    let mut pair = pair();
    for n in 0..100 {
        pair.one.send(TWO, vec![n]).unwrap();
    }
    assert_eq!(all(&mut pair.at_two).await, messages(0..100));
    assert_eq!(all(&mut pair.at_one).await, []);
}

#[tokio::test(start_paused = true)]
async fn a_cut_is_one_way_and_loses_what_is_under_way() {
    let mut pair = pair();
    pair.hub.set(ONE, TWO, Weather { delay: Duration::from_secs(1), ..Weather::default() });
    pair.one.send(TWO, vec![1]).unwrap();
    advance(Duration::from_millis(500)).await;
    pair.hub.set(ONE, TWO, Weather { is_cut: true, ..Weather::default() });
    pair.one.send(TWO, vec![2]).unwrap();
    pair.two.send(ONE, vec![3]).unwrap();
    assert_eq!(all(&mut pair.at_two).await, []);
    assert_eq!(all(&mut pair.at_one).await, messages([3]), "nobody says that the rest is lost");
    pair.hub.heal();
    pair.one.send(TWO, vec![4]).unwrap();
    assert_eq!(all(&mut pair.at_two).await, messages([4]));
    pair.hub.part(ONE, TWO);
    pair.one.send(TWO, vec![5]).unwrap();
    pair.two.send(ONE, vec![6]).unwrap();
    assert_eq!((all(&mut pair.at_one).await, all(&mut pair.at_two).await), (vec![], vec![]));
}

#[tokio::test(start_paused = true)]
async fn a_delay_passes_on_the_clock_and_nothing_overtakes() {
    let mut pair = pair();
    pair.hub.set(ONE, TWO, Weather { delay: Duration::from_secs(5), ..Weather::default() });
    let began = Instant::now();
    pair.one.send(TWO, vec![1]).unwrap();
    pair.hub.heal();
    pair.one.send(TWO, vec![2]).unwrap();
    assert_eq!(pair.at_two.recv().await, Some(Incoming::Message(vec![1])));
    assert_eq!(pair.at_two.recv().await, Some(Incoming::Message(vec![2])));
    assert_eq!(began.elapsed(), Duration::from_secs(5));
}

#[tokio::test(start_paused = true)]
async fn the_same_seed_loses_and_repeats_the_same() {
    let mut runs = Vec::new();
    for _ in 0..2 {
        let mut pair = pair();
        pair.hub.set(ONE, TWO, Weather { lost: 0.3, doubled: 0.3, ..Weather::default() });
        (0..200).for_each(|n| pair.one.send(TWO, vec![n]).unwrap());
        runs.push(all(&mut pair.at_two).await);
    }
    assert_eq!(runs[0], runs[1]);
    let arrived: std::collections::BTreeSet<_> = runs[0]
        .iter()
        .map(|it| match it {
            Incoming::Message(bytes) => bytes[0],
            Incoming::Unheard(who) => panic!("{who} is there"),
        })
        .collect();
    assert!((100..180).contains(&arrived.len()), "about 140 arrive: {}", arrived.len());
    let n_again = runs[0].len() - arrived.len();
    assert!((20..70).contains(&n_again), "about 42 of them twice: {n_again}");
}

#[tokio::test(start_paused = true)]
async fn whoever_writes_to_nobody_is_told() {
    let mut pair = pair();
    pair.one.send(Incarnation(9), vec![1]).unwrap();
    assert_eq!(all(&mut pair.at_one).await, [Incoming::Unheard(Incarnation(9))]);
    drop(pair.two);
    pair.one.send(TWO, vec![2]).unwrap();
    assert_eq!(all(&mut pair.at_one).await, [Incoming::Unheard(TWO)]);
}

#[tokio::test(start_paused = true)]
async fn an_unplugged_node_knows_and_is_not_heard() {
    let mut pair = pair();
    let connected = pair.two.is_connected();
    assert!(*connected.borrow());
    pair.two.unplug();
    assert!(!*connected.borrow());
    pair.two.send(ONE, vec![1]).unwrap();
    pair.one.send(TWO, vec![2]).unwrap();
    assert_eq!(all(&mut pair.at_one).await, [Incoming::Unheard(TWO)]);
    assert_eq!(all(&mut pair.at_two).await, []);
    pair.two.plug();
    assert!(*connected.borrow());
    pair.one.send(TWO, vec![3]).unwrap();
    assert_eq!(all(&mut pair.at_two).await, messages([3]));
}

#[tokio::test(start_paused = true)]
async fn a_link_is_full_at_some_point_and_sending_never_waits() {
    let mut pair = pair();
    pair.hub.set(ONE, TWO, Weather { delay: Duration::from_secs(1), ..Weather::default() });
    let n_taken = (0..10_000).take_while(|_| pair.one.send(TWO, vec![1]).is_ok()).count();
    assert_eq!(n_taken, WAITING_MAX);
    // And what the receiver has no room for is lost.
    assert_eq!(pair.at_two.recv().await, Some(Incoming::Message(vec![1])));
    assert!(all(&mut pair.at_two).await.len() <= WAITING_MAX);
}
