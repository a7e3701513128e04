//! Networks that can be cut: each node in a namespace of its own, all of them on one bridge.
//!
//! ```text
//!  node-0      node-1      node-2         10.n.1.1   10.n.1.2   10.n.1.3
//!     └───────────┼───────────┘
//!              bridge                     10.n.0.1 Postgres, 10.n.0.2 NATS, 10.n.0.3 everybody else
//! ```
//!
//! Cuts are packet filters in the namespace of a node. What is dropped is dropped silently: nobody is
//! told that a connection is gone.

use crate::Outcome;
use std::{net::Ipv4Addr, process::Command};
use tokio::{io::AsyncWriteExt, process};

/// Whom a node is cut from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Far {
    /// The database.
    Database,
    /// The broker, and with it the other nodes.
    Broker,
}

/// What a cut lets through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cut {
    /// Nothing.
    Both,
    /// The node is heard, and hears nothing.
    Deaf,
    /// The node hears, and is not heard.
    Mute,
    /// All but so many of a hundred packets, either way.
    Lossy(u8),
}

/// The bridge and the namespaces; gone when it is dropped.
#[derive(Debug)]
pub(crate) struct Network {
    /// Tells networks of several processes apart, also in addresses.
    id: u8,
    n_nodes: usize,
}

impl Network {
    /// Makes one for so many nodes. Needs root and iproute2.
    pub(crate) async fn make(n_nodes: usize) -> Outcome<Self> {
        let id = 100 + (std::process::id() % 100) as u8;
        let network = Self { id, n_nodes };
        // What a killed predecessor with our number left.
        network.remove();
        let bridge = network.bridge();
        ip(&["link", "add", "name", &bridge, "type", "bridge"]).await?;
        for host in 1..=3 {
            ip(&["addr", "add", &format!("10.{id}.0.{host}/16"), "dev", &bridge]).await?;
        }
        ip(&["link", "set", &bridge, "up"]).await?;
        for n in 0..n_nodes {
            let (namespace, outer) = (network.namespace(n), format!("cv{id}-{n}"));
            ip(&["netns", "add", &namespace]).await?;
            let inner = ["peer", "name", "eth0", "netns", &namespace];
            ip(&[["link", "add", &outer, "type", "veth"].as_slice(), &inner].concat()).await?;
            ip(&["link", "set", &outer, "master", &bridge, "up"]).await?;
            let address = format!("{}/16", network.node(n));
            ip(&["-n", &namespace, "addr", "add", &address, "dev", "eth0"]).await?;
            ip(&["-n", &namespace, "link", "set", "eth0", "up"]).await?;
            ip(&["-n", &namespace, "link", "set", "lo", "up"]).await?;
        }
        Ok(network)
    }

    fn bridge(&self) -> String {
        format!("chaos{}", self.id)
    }

    /// What a node's namespace is called.
    pub(crate) fn namespace(&self, n: usize) -> String {
        format!("chaos{}-{n}", self.id)
    }

    /// Where the database listens.
    pub(crate) fn database(&self) -> Ipv4Addr {
        Ipv4Addr::new(10, self.id, 0, 1)
    }

    /// Where the broker listens.
    pub(crate) fn broker(&self) -> Ipv4Addr {
        Ipv4Addr::new(10, self.id, 0, 2)
    }

    /// Where a node is.
    pub(crate) fn node(&self, n: usize) -> Ipv4Addr {
        Ipv4Addr::new(10, self.id, 1, n as u8 + 1)
    }

    /// All of it, as Postgres writes networks.
    pub(crate) fn everybody(&self) -> String {
        format!("10.{}.0.0/16", self.id)
    }

    /// Cuts a node from somebody, until [`Network::heal`].
    pub(crate) async fn cut(&self, n: usize, far: Far, how: Cut) -> Outcome {
        let far = match far {
            Far::Database => self.database(),
            Far::Broker => self.broker(),
        };
        let (hears, is_heard) = (format!("ip saddr {far} "), format!("ip daddr {far} "));
        let (input, output) = match how {
            Cut::Both => (format!("{hears} drop"), format!("{is_heard} drop")),
            Cut::Deaf => (format!("{hears} drop"), String::new()),
            Cut::Mute => (String::new(), format!("{is_heard} drop")),
            Cut::Lossy(percent) => {
                let dice = format!("numgen random mod 100 < {percent} drop");
                (format!("{hears} {dice}"), format!("{is_heard} {dice}"))
            }
        };
        self.filter(n, &input, &output).await
    }

    /// Drops what one connection of a node to the database carries; `port` is the node's.
    pub(crate) async fn cut_connection(&self, n: usize, port: i64) -> Outcome {
        self.filter(n, &format!("tcp dport {port} drop"), &format!("tcp sport {port} drop")).await
    }

    /// Lets everything through again.
    pub(crate) async fn heal(&self, n: usize) -> Outcome {
        self.nft(n, "flush ruleset\n").await
    }

    async fn filter(&self, n: usize, input: &str, output: &str) -> Outcome {
        let chain = |hook: &str, rule: &str| {
            format!("  chain {hook} {{\n    type filter hook {hook} priority 0\n    {rule}\n  }}\n")
        };
        let (input, output) = (chain("input", input), chain("output", output));
        self.nft(n, &format!("flush ruleset\ntable inet chaos {{\n{input}{output}}}\n")).await
    }

    async fn nft(&self, n: usize, rules: &str) -> Outcome {
        let mut nft = process::Command::new("ip");
        nft.args(["netns", "exec", &self.namespace(n), "nft", "-f", "-"]);
        nft.stdin(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
        let mut nft = nft.spawn()?;
        let mut stdin = nft.stdin.take().expect("it was asked for");
        stdin.write_all(rules.as_bytes()).await?;
        drop(stdin);
        let output = nft.wait_with_output().await?;
        match output.status.success() {
            true => Ok(()),
            false => Err(format!("nft: {}", String::from_utf8_lossy(&output.stderr)).into()),
        }
    }

    /// Removes all of it; what is not there is removed already.
    fn remove(&self) {
        for n in 0..self.n_nodes {
            // Its end of the pair, and with it ours, would live on as long as the last socket in it.
            drop(Command::new("ip").args(["link", "del", &format!("cv{}-{n}", self.id)]).output());
            drop(Command::new("ip").args(["netns", "del", &self.namespace(n)]).output());
        }
        drop(Command::new("ip").args(["link", "del", &self.bridge()]).output());
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        self.remove();
    }
}

async fn ip(arguments: &[&str]) -> Outcome {
    let output = process::Command::new("ip").args(arguments).output().await?;
    match output.status.success() {
        true => Ok(()),
        false => {
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            Err(format!("ip {}: {said}", arguments.join(" ")).into())
        }
    }
}
