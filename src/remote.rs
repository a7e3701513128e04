//! A running node, as an operator's commands speak to it: over REST, with a token of a moment.

use crate::{auth::Keys, node::now, settings::Settings};
use comfy_table::{Table, presets::NOTHING};
use protocol::{Principal, Refused};
use reqwest::{Client, Method, RequestBuilder, Response, StatusCode};
use serde::Serialize;
use std::{
    error::Error,
    io::{self, Write},
    time::Duration,
};

/// How long the token of one command is good for. What is followed for longer ends with it.
const TOKEN_TTL: Duration = Duration::from_secs(20 * 60);
/// How long a node may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// A node, and the right to tell it what to do.
pub(crate) struct Remote {
    client: Client,
    at: String,
    token: String,
}

impl Remote {
    /// The node there, or the one the settings are of.
    pub(crate) fn new(settings: &Settings, at: Option<&str>) -> Result<Self, Box<dyn Error>> {
        let keys = Keys::open(&settings.auth, settings.profile, &settings.journal.dir)?;
        let at = at.map_or_else(|| format!("http://{}", settings.gateway.listen), str::to_owned);
        let ttl = TOKEN_TTL.min(keys.token_ttl_max());
        Ok(Self {
            client: Client::builder().connect_timeout(PATIENCE).build()?,
            at: match at.contains("://") {
                true => at.trim_end_matches('/').to_owned(),
                false => format!("http://{}", at.trim_end_matches('/')),
            },
            token: keys.mint(Principal::Admin, ttl, now())?,
        })
    }

    /// Where it is.
    pub(crate) fn at(&self) -> &str {
        &self.at
    }

    /// Does anything answer there?
    pub(crate) async fn is_there(&self) -> bool {
        let asked = self.client.get(format!("{}/health/live", self.at));
        asked.timeout(PATIENCE).send().await.is_ok()
    }

    /// Asks for something.
    pub(crate) async fn ask(&self, method: Method, path: &str) -> Result<Response, Box<dyn Error>> {
        let asked = self.client.request(method, format!("{}{path}", self.at));
        self.send(asked.timeout(PATIENCE)).await
    }

    /// Tells it something.
    pub(crate) async fn post(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<Response, Box<dyn Error>> {
        self.post_within(path, body, PATIENCE).await
    }

    /// The same, if it may take longer.
    pub(crate) async fn post_within(
        &self,
        path: &str,
        body: &impl Serialize,
        patience: Duration,
    ) -> Result<Response, Box<dyn Error>> {
        let told = self.client.post(format!("{}{path}", self.at)).json(body);
        self.send(told.timeout(patience)).await
    }

    /// Asks for something that does not end by itself soon.
    pub(crate) async fn follow(&self, path: &str) -> Result<Response, Box<dyn Error>> {
        self.send(self.client.get(format!("{}{path}", self.at))).await
    }

    async fn send(&self, request: RequestBuilder) -> Result<Response, Box<dyn Error>> {
        let sent = request.bearer_auth(&self.token).send().await;
        refused(sent.map_err(|error| match error.is_connect() {
            true => format!("nothing answers at {}: is the node running there? (--at)", self.at),
            false => error.to_string(),
        })?)
        .await
    }
}

/// What the node said, if it said yes.
async fn refused(response: Response) -> Result<Response, Box<dyn Error>> {
    let status = response.status();
    if status.is_success() {
        return Ok(response);
    }
    match response.json::<Refused>().await {
        Ok(refused) if status == StatusCode::UNAUTHORIZED => {
            let hint = "use the settings the node was started with";
            Err(format!("the node does not believe this key ({}): {hint}", refused.message).into())
        }
        Ok(refused) => Err(refused.message.into()),
        Err(_) => Err(format!("the node answers {status}").into()),
    }
}

/// A table with a header and no lines.
pub(crate) fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(NOTHING).set_header(header);
    table
}

/// Prints for whoever started the process.
pub(crate) fn say(text: &str) -> Result<(), Box<dyn Error>> {
    Ok(writeln!(io::stdout().lock(), "{text}")?)
}
