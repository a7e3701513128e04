//! Bad networks: some phones reach their node through a relay that keeps their bytes for a while, or stops for a while.
//!
//! A relay is a socket on this machine. What it delays are real bytes in both directions, in order, as a mobile network
//! does; nothing is lost, for TCP would send it again.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::{
    io,
    net::SocketAddr,
    time::{Duration, Instant},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::mpsc,
    time::sleep_until,
};
use tokio_util::sync::CancellationToken;

/// Chunks on their way in one direction; when there are more, the sender waits, as it would for a full window.
const UNDER_WAY_MAX: usize = 64;
/// Bytes of a chunk.
const CHUNK: usize = 4_096;

/// What is wrong with some phones' networks. All times are real ones.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Network {
    /// The share of phones it is wrong with, 0 to 1.
    pub share: f64,
    /// How long everything takes, in one direction.
    pub delay: Duration,
    /// How much longer it may take.
    pub jitter: Duration,
    /// How often it stops altogether; zero for never.
    pub stall_every: Duration,
    /// For how long.
    pub stall: Duration,
    /// How often a connection is lost, in the mean; zero for never. The phone comes back at once.
    pub drop_every: Duration,
    /// How many bytes a second pass in each direction; 0: as many as there are.
    pub bytes_per_s: u64,
}

impl Network {
    /// When something arrives that was sent after so long, as dice from 0 to 1 will have it.
    fn arrival(&self, sent: Duration, dice: f64) -> Duration {
        let arrival = sent + self.delay + self.jitter.mul_f64(dice);
        if self.stall_every.is_zero() {
            return arrival;
        }
        // It stops at the end of each interval.
        let into = Duration::from_nanos((sent.as_nanos() % self.stall_every.as_nanos()) as u64);
        let stall = self.stall.min(self.stall_every);
        let stops_at = self.stall_every - stall;
        if into >= stops_at { arrival + (self.stall_every - into) } else { arrival }
    }

    /// How long so many bytes take to pass.
    fn passing(&self, n_bytes: usize) -> Duration {
        match self.bytes_per_s {
            0 => Duration::ZERO,
            per_s => Duration::from_secs_f64(n_bytes as f64 / per_s as f64),
        }
    }

    /// When a phone whose connection is there now loses it, as dice from 0 to 1 will have it; none: never.
    pub(super) fn drops_after(&self, dice: f64) -> Option<Duration> {
        let is_lasting = self.drop_every.is_zero();
        (!is_lasting).then(|| self.drop_every.mul_f64(-(1.0 - dice).max(1e-9).ln()))
    }
}

/// Opens a relay to each of these nodes, until everybody goes home. Relays are in the order of the nodes.
pub(super) async fn relays(
    network: Network,
    nodes: &[SocketAddr],
    seed: u64,
    home: &CancellationToken,
) -> io::Result<Vec<SocketAddr>> {
    let mut relays = Vec::new();
    for (n, &node) in nodes.iter().enumerate() {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        relays.push(listener.local_addr()?);
        let seed = seed ^ (n as u64) << 32 ^ 0x6e7;
        tokio::spawn(accept(network, listener, node, seed, home.clone()));
    }
    Ok(relays)
}

async fn accept(
    network: Network,
    listener: TcpListener,
    node: SocketAddr,
    seed: u64,
    home: CancellationToken,
) {
    let mut dice = ChaCha8Rng::seed_from_u64(seed);
    loop {
        let phone = tokio::select! {
            accepted = listener.accept() => accepted,
            () = home.cancelled() => return,
        };
        // Too many open files, perhaps: whoever was not accepted comes again.
        let Ok((phone, _)) = phone else {
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        let (seeds, home): ([u64; 2], _) = (dice.random(), home.clone());
        // Where in its interval this phone's network begins.
        let phase = network.stall_every.mul_f64(dice.random());
        tokio::spawn(async move {
            let Ok(node) = TcpStream::connect(node).await else { return };
            phone.set_nodelay(true).ok();
            node.set_nodelay(true).ok();
            let (from_phone, to_phone) = phone.into_split();
            let (from_node, to_node) = node.into_split();
            let carry = async {
                tokio::join!(
                    carry(network, phase, from_phone, to_node, seeds[0]),
                    carry(network, phase, from_node, to_phone, seeds[1]),
                )
            };
            tokio::select! {
                _ = carry => {}
                () = home.cancelled() => {}
            }
        });
    }
}

/// Carries bytes from here to there, late.
async fn carry(
    network: Network,
    phase: Duration,
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    seed: u64,
) {
    let began = Instant::now();
    let (into, mut out) = mpsc::channel::<(Instant, Vec<u8>)>(UNDER_WAY_MAX);
    let take = async move {
        let mut dice = ChaCha8Rng::seed_from_u64(seed);
        let (mut last, mut free_at) = (began, began);
        loop {
            let mut bytes = vec![0; CHUNK];
            match from.read(&mut bytes).await {
                Ok(n) if n > 0 => bytes.truncate(n),
                Ok(_) | Err(_) => return,
            }
            // Its turn comes when what was before it has passed.
            free_at = free_at.max(Instant::now()) + network.passing(bytes.len());
            let sent = phase + free_at.saturating_duration_since(began);
            let arrival = began + (network.arrival(sent, dice.random()) - phase);
            // Nothing overtakes what was sent before it.
            last = last.max(arrival);
            if into.send((last, bytes)).await.is_err() {
                return;
            }
        }
    };
    let give = async move {
        while let Some((at, bytes)) = out.recv().await {
            sleep_until(at.into()).await;
            if to.write_all(&bytes).await.is_err() {
                return;
            }
        }
        to.shutdown().await.ok();
    };
    tokio::join!(take, give);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const fn ms(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    const BAD: Network = Network {
        share: 1.0,
        delay: ms(80),
        jitter: ms(40),
        stall_every: ms(1_000),
        stall: ms(300),
        drop_every: Duration::ZERO,
        bytes_per_s: 0,
    };

    #[test]
    fn what_is_sent_while_it_stands_still_waits_for_its_end() {
        assert_eq!(BAD.arrival(ms(100), 0.0), ms(180));
        assert_eq!(BAD.arrival(ms(100), 1.0), ms(220));
        assert_eq!(BAD.arrival(ms(2_700), 0.0), ms(3_080));
        assert_eq!(BAD.arrival(ms(2_999), 0.5), ms(3_100));
        assert_eq!(BAD.drops_after(0.5), None);
        let steady = Network { stall_every: Duration::ZERO, drop_every: ms(1_000), ..BAD };
        assert!(steady.drops_after(0.5).is_some_and(|it| (ms(690)..ms(700)).contains(&it)));
        assert_eq!(steady.arrival(ms(2_999), 0.0), ms(3_079));
    }

    proptest! {
        #[test]
        fn nothing_arrives_before_its_delay_or_later_than_a_stall_allows(sent in 0..100_000_u64, dice in 0.0..1.0_f64) {
            let took = BAD.arrival(ms(sent), dice) - ms(sent);
            prop_assert!((ms(80)..=ms(80 + 40 + 300)).contains(&took), "{took:?}");
        }
    }

    #[tokio::test]
    async fn bytes_come_whole_in_order_and_late() {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let node = listener.local_addr().unwrap();
        let home = CancellationToken::new();
        let network = Network { stall_every: Duration::ZERO, ..BAD };
        let relay = relays(network, &[node], 1, &home).await.unwrap()[0];
        let echo = tokio::spawn(async move {
            let (mut phone, _) = listener.accept().await.unwrap();
            let mut all = Vec::new();
            phone.read_to_end(&mut all).await.unwrap();
            phone.write_all(&all).await.unwrap();
        });
        let said: Vec<u8> = (0..20_000_u32).map(|n| n as u8).collect();
        let began = Instant::now();
        let mut phone = TcpStream::connect(relay).await.unwrap();
        phone.write_all(&said).await.unwrap();
        phone.shutdown().await.unwrap();
        let mut heard = Vec::new();
        phone.read_to_end(&mut heard).await.unwrap();
        assert!(heard == said, "{} bytes of {}", heard.len(), said.len());
        assert!(began.elapsed() >= ms(160), "there and back: {:?}", began.elapsed());
        echo.await.unwrap();
    }

    #[tokio::test]
    async fn a_narrow_way_takes_its_time() {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let node = listener.local_addr().unwrap();
        let home = CancellationToken::new();
        let network = Network {
            delay: Duration::ZERO,
            jitter: Duration::ZERO,
            stall_every: Duration::ZERO,
            bytes_per_s: 40_000,
            ..BAD
        };
        let relay = relays(network, &[node], 1, &home).await.unwrap()[0];
        let take = tokio::spawn(async move {
            let (mut phone, _) = listener.accept().await.unwrap();
            let mut all = Vec::new();
            phone.read_to_end(&mut all).await.unwrap();
            all.len()
        });
        let began = Instant::now();
        let mut phone = TcpStream::connect(relay).await.unwrap();
        phone.write_all(&[7; 8_000]).await.unwrap();
        phone.shutdown().await.unwrap();
        assert_eq!(take.await.unwrap(), 8_000);
        assert!(began.elapsed() >= ms(200), "{:?}", began.elapsed());
    }
}
