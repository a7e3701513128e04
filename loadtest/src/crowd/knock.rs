//! Before a crowd sets out: does anybody answer there, and let somebody in who shows our tokens?
//!
//! A crowd itself never gives up, for it tests nodes that fall. Whoever has named the wrong port would find out only
//! after minutes.

use super::{Node, Target};
use crate::NoToken;
use futures_util::{FutureExt, future::join_all};
use outrider_client::{Address, Event, Habits, Link, State, Why};
use protocol::{Principal, RiderId};
use std::{
    io,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use thiserror::Error;
use tokio::{net::TcpStream, time::timeout};

/// How long a node may take to let somebody in.
const LET_IN_MAX: Duration = Duration::from_secs(if cfg!(test) { 2 } else { 5 });

/// Nobody of a crowd would be let in.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum NoEntry {
    /// Nobody is there.
    #[error(
        "no node answers at {at} ({why}): start one with `outrider serve`, or say with --url where it is"
    )]
    Absent {
        /// Where.
        at: String,
        /// Why.
        why: String,
    },
    /// Somebody is there, and lets nobody in.
    #[error(
        "{at} answers, and lets nobody in within {LET_IN_MAX:?}: is it an Outrider node, and ready (GET /health/ready)?"
    )]
    Shut {
        /// Where.
        at: String,
    },
    /// It does not believe who we say we are.
    #[error(
        "the node at {at} does not believe our tokens ({why}): sign them with its key (--dev-key), or get them where it gets its own (--tokens-from)"
    )]
    Disbelieved {
        /// Where.
        at: String,
        /// Why.
        why: String,
    },
    /// There is nothing to show.
    #[error(transparent)]
    Token(#[from] NoToken),
}

/// The last thing that went wrong on the way in.
#[derive(Debug, Clone, Default)]
struct Trouble(Arc<Mutex<Option<Wrong>>>);

#[derive(Debug, Clone)]
enum Wrong {
    Way(String),
    Token(NoToken),
}

impl Trouble {
    fn note(&self, wrong: Wrong) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(wrong);
    }

    fn forget(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    fn last(&self) -> Option<Wrong> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Target {
    /// Knocks at all nodes, as a rider who wants nothing. Those who did not let it in are named if another did, for then
    /// a crowd may go.
    ///
    /// # Errors
    /// If none did: why the first did not.
    pub async fn knock(&self) -> Result<Vec<NoEntry>, NoEntry> {
        let answers = join_all(self.nodes.iter().map(|node| self.knock_at(node))).await;
        let is_open = answers.iter().any(Result::is_ok);
        let mut shut: Vec<NoEntry> = answers.into_iter().filter_map(Result::err).collect();
        if is_open || shut.is_empty() { Ok(shut) } else { Err(shut.swap_remove(0)) }
    }

    async fn knock_at(&self, node: &Node) -> Result<(), NoEntry> {
        let trouble = Trouble::default();
        let at = format!("{}:{}", node.url.host(), node.url.port());
        let mut link = Link::new(
            self.way_in(node, &trouble),
            Habits {
                disbelieved_max: 1,
                pause_max: Duration::from_millis(500),
                ..Habits::default()
            },
        );
        let entering = async {
            loop {
                match link.next().await {
                    Some(Event::Welcome { .. }) => return Ok(()),
                    Some(Event::State(State::Closed(Why::Disbelieved(why)))) => {
                        return Err(NoEntry::Disbelieved { at: at.clone(), why: why.to_string() });
                    }
                    // Without a token there is nothing to wait for.
                    Some(_) => {
                        if let Some(Wrong::Token(why)) = trouble.last() {
                            return Err(NoEntry::Token(why));
                        }
                    }
                    None => return Err(NoEntry::Shut { at: at.clone() }),
                }
            }
        };
        match timeout(LET_IN_MAX, entering).await {
            Ok(entered) => {
                link.leave().await;
                entered
            }
            Err(_) => Err(match trouble.last() {
                Some(Wrong::Way(why)) => NoEntry::Absent { at, why },
                Some(Wrong::Token(_)) | None => NoEntry::Shut { at },
            }),
        }
    }

    /// The way to this node, and whatever goes wrong on it.
    fn way_in(&self, node: &Node, trouble: &Trouble) -> outrider_client::Target {
        let source = Arc::clone(&self.tokens);
        let noting = trouble.clone();
        let tokens = move || {
            let (source, noting) = (Arc::clone(&source), noting.clone());
            async move {
                let token = source.token(Principal::Rider(RiderId::nth(u64::MAX))).await;
                token.map_err(|why| {
                    noting.note(Wrong::Token(why.clone()));
                    outrider_client::NoToken(why.0)
                })
            }
        };
        let mut target = outrider_client::Target::new(vec![node.url.clone()], tokens);
        let (to, noting) = (node.at, trouble.clone());
        target.dial = Arc::new(move |_: &Address| {
            let noting = noting.clone();
            let dialling = async move {
                let dialled: io::Result<TcpStream> = TcpStream::connect(to).await;
                match &dialled {
                    Ok(_) => noting.forget(),
                    Err(error) => noting.note(Wrong::Way(error.to_string())),
                }
                dialled
            };
            dialling.boxed()
        });
        target
    }
}
