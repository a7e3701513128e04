//! Where a crowd gets tokens from: a development key, or an endpoint that issues them.

use crate::{NoToken, TokenSource};
use aws_lc_rs::signature::Ed25519KeyPair;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use protocol::{Principal, Role};
use serde::{Deserialize, Serialize};
use std::{
    future::Future,
    path::Path,
    pin::Pin,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

/// How long a token is good for.
const TTL: Duration = Duration::from_secs(12 * 3_600);

/// Signs tokens with a node's development key.
#[derive(Debug)]
pub struct DevelopmentKey {
    key: EncodingKey,
}

#[derive(Serialize)]
struct Claims {
    iss: &'static str,
    aud: &'static str,
    sub: String,
    role: Role,
    iat: u64,
    nbf: u64,
    exp: u64,
}

impl DevelopmentKey {
    /// Reads an Ed25519 private key in PKCS#8 PEM.
    pub fn read(path: &Path) -> Result<Self, NoToken> {
        let wrong = |reason: String| NoToken(format!("{}: {reason}", path.display()));
        let text = std::fs::read(path).map_err(|error| wrong(error.to_string()))?;
        let pem = pem::parse(text).map_err(|error| wrong(error.to_string()))?;
        let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(pem.contents())
            .map_err(|error| wrong(error.to_string()))?;
        // The signer wants a document that also holds the public half.
        let document = pair.to_pkcs8().map_err(|error| wrong(error.to_string()))?;
        Ok(Self { key: EncodingKey::from_ed_der(document.as_ref()) })
    }

    /// A token for this principal.
    pub(crate) fn sign(&self, principal: Principal) -> Result<String, NoToken> {
        #[expect(clippy::disallowed_methods, reason = "a token says when it ends")]
        let now_s = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let claims = Claims {
            iss: "outrider",
            aud: "outrider",
            sub: principal.to_string(),
            role: principal.role(),
            iat: now_s,
            nbf: now_s,
            exp: now_s + TTL.as_secs(),
        };
        let header = Header { typ: Some("at+jwt".to_owned()), ..Header::new(Algorithm::EdDSA) };
        jsonwebtoken::encode(&header, &claims, &self.key)
            .map_err(|error| NoToken(error.to_string()))
    }
}

impl TokenSource for DevelopmentKey {
    fn token(
        &self,
        principal: Principal,
    ) -> Pin<Box<dyn Future<Output = Result<String, NoToken>> + Send + '_>> {
        let token = self.sign(principal);
        Box::pin(async move { token })
    }
}

/// Asks an endpoint: `POST {"role": "driver", "id": "driver-…"}` is answered by `{"token": "…"}`.
#[derive(Debug)]
pub struct Endpoint {
    url: String,
    client: reqwest::Client,
}

#[derive(Deserialize)]
struct Issued {
    token: String,
}

impl Endpoint {
    /// The endpoint at `url`.
    pub fn new(url: String) -> Self {
        Self { url, client: reqwest::Client::new() }
    }
}

impl TokenSource for Endpoint {
    fn token(
        &self,
        principal: Principal,
    ) -> Pin<Box<dyn Future<Output = Result<String, NoToken>> + Send + '_>> {
        Box::pin(async move {
            let wanted = serde_json::json!({
                "role": principal.role(),
                "id": principal.to_string(),
            });
            let asking = async {
                let answer = self.client.post(&self.url).json(&wanted).send().await?;
                answer.error_for_status()?.json::<Issued>().await
            };
            let issued = asking.await.map_err(|error| NoToken(error.to_string()))?;
            Ok(issued.token)
        })
    }
}
