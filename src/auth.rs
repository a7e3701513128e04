//! Who is speaking: signed tokens, and the key that signs them and the price promises.
//!
//! Only one algorithm (EdDSA), one key and one kind of each token are accepted, so there is nothing
//! for a forger to choose. Every bad token gets the same answer; one that was good, and has been revoked since,
//! is told so.

pub(crate) mod revoked;
pub(crate) mod scope;

use crate::settings::{AuthSettings, Profile};
use actors::runtime::Clock;
use aws_lc_rs::{
    digest,
    signature::{Ed25519KeyPair, KeyPair},
};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use protocol::{Code, Fare, PartnerId, Principal, Refused, Role, Timestamp, TokenId};
use revoked::Revoked;
use scope::{Asker, Scope};
use serde::{Deserialize, Deserializer, Serialize, de::DeserializeOwned};
use std::{
    fmt, fs,
    io::{self, Write},
    path::{Path, PathBuf},
    time::Duration,
};
use thiserror::Error;
use uuid::Uuid;

/// Longest token that is looked at, in bytes.
pub(crate) const TOKEN_BYTES_MAX: usize = 4 * 1024;
/// What the header of an access token says it is (RFC 9068).
const ACCESS: &str = "at+jwt";
/// What the header of a price promise says it is.
const QUOTE: &str = "quote+jwt";
/// Development's key, in the data directory.
const DEVELOPMENT_KEY: &str = "development-key.pem";
/// What keys are called in PEM files.
const PEM_TAG: &str = "PRIVATE KEY";

/// Signs and verifies.
pub(crate) struct Keys {
    signing: EncodingKey,
    verifying: DecodingKey,
    validation: Validation,
    issuer: String,
    audience: String,
    quote_ttl: Duration,
    token_ttl_max: Duration,
    fingerprint: String,
    revoked: Revoked,
}

/// A key does not show.
impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keys").field("issuer", &self.issuer).finish_non_exhaustive()
    }
}

/// A key that cannot be used.
#[derive(Debug, Error)]
pub(crate) enum KeyError {
    /// The file cannot be read or written.
    #[error("key file {path}: {error}")]
    File { path: PathBuf, error: io::Error },
    /// It holds something else.
    #[error("key file {path}: not an Ed25519 private key in PKCS#8 PEM")]
    NoKey { path: PathBuf },
    /// The operating system gave no randomness.
    #[error("no key could be made")]
    NotMade,
    /// It is the development key.
    #[error("production needs a signing key of its own: set auth.key_file")]
    DevelopmentKey,
    /// What should be signed cannot be written.
    #[error("cannot sign: {0}")]
    Sign(#[from] jsonwebtoken::errors::Error),
    /// Nobody would remember for so long that it was revoked.
    #[error("a token is good for {0:?} at most (auth.token_ttl_max)")]
    TooLong(Duration),
}

/// A token that was believed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Identity {
    /// Who.
    pub(crate) principal: Principal,
    /// Of which part of the map it is told.
    pub(crate) scope: Scope,
    /// Whose drivers it may have asked before others. In a box: few have one, and a session has room for little.
    pub(crate) fleet: Option<Box<PartnerId>>,
    /// Until when.
    pub(crate) expires_at: Timestamp,
    /// Its own name; those of old, and of others who sign, may have none.
    pub(crate) token: Option<TokenId>,
    /// Since when, to the second.
    pub(crate) issued_at: Timestamp,
    /// By what the same token is recognised.
    pub(crate) print: Print,
}

impl Identity {
    /// Who asks with it, and where.
    pub(crate) fn asker(&self) -> Asker {
        Asker { who: self.principal, scope: self.scope.clone(), fleet: self.fleet.clone() }
    }
}

/// The first half of a token's SHA-256: nobody can make another token that has it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Print([u8; 16]);

impl Print {
    fn of(token: &str) -> Self {
        let digest = digest::digest(&digest::SHA256, token.as_bytes());
        Self(digest.as_ref().first_chunk().copied().unwrap_or_default())
    }
}

/// What an access token says. Times in seconds since the Unix epoch.
#[derive(Debug, Serialize, Deserialize)]
struct Claims {
    iss: String,
    aud: String,
    sub: String,
    role: Role,
    iat: u64,
    nbf: u64,
    exp: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    jti: Option<String>,
    /// Of which part of the map a dispatcher is told. As it is, to say what is wrong with it.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    regions: Option<serde_json::Value>,
    /// Whose drivers a rider's or a merchant's orders may be offered to before others. As it is, too.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    fleet: Option<serde_json::Value>,
}

/// Whatever is there, `null` too: only what is absent says nothing.
fn present<'de, D: Deserializer<'de>>(from: D) -> Result<Option<serde_json::Value>, D::Error> {
    serde_json::Value::deserialize(from).map(Some)
}

/// What a price promise says.
#[derive(Debug, Serialize, Deserialize)]
struct QuoteClaims {
    iss: String,
    aud: String,
    sub: String,
    nbf: u64,
    exp: u64,
    trip: String,
    fare: Fare,
}

impl Keys {
    /// The key that `settings` name, or else development's own in `dir`, made when there is none.
    pub(crate) fn open(
        settings: &AuthSettings,
        profile: Profile,
        dir: &Path,
    ) -> Result<Self, KeyError> {
        let has_file = !settings.key_file.as_os_str().is_empty();
        let path = if has_file { settings.key_file.clone() } else { dir.join(DEVELOPMENT_KEY) };
        let is_development_key = path.file_name().is_some_and(|name| name == DEVELOPMENT_KEY);
        if is_development_key && profile == Profile::Production {
            return Err(KeyError::DevelopmentKey);
        }
        if !has_file && !path.exists() {
            make_key(dir, &path)?;
        }
        let text = fs::read(&path).map_err(|error| KeyError::File { path: path.clone(), error })?;
        let key = pem::parse(text)
            .ok()
            .filter(|pem| pem.tag() == PEM_TAG)
            .and_then(|pem| Self::of(settings, pem.contents()));
        key.ok_or(KeyError::NoKey { path })
    }

    fn of(settings: &AuthSettings, pkcs8: &[u8]) -> Option<Self> {
        let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(pkcs8).ok()?;
        let mut validation = Validation::new(Algorithm::EdDSA);
        validation.set_issuer(&[&settings.issuer]);
        validation.set_audience(&[&settings.audience]);
        validation.set_required_spec_claims(&["exp", "nbf", "iss", "aud", "sub"]);
        validation.validate_nbf = true;
        validation.leeway = settings.leeway.as_secs();
        // The signer wants a document that also holds the public half.
        let document = pair.to_pkcs8().ok()?;
        Some(Self {
            signing: EncodingKey::from_ed_der(document.as_ref()),
            verifying: DecodingKey::from_ed_der(pair.public_key().as_ref()),
            validation,
            issuer: settings.issuer.clone(),
            audience: settings.audience.clone(),
            quote_ttl: settings.quote_ttl,
            token_ttl_max: settings.token_ttl_max,
            fingerprint: fingerprint(pair.public_key().as_ref()),
            revoked: Revoked::new(settings.revocations_max),
        })
    }

    /// By what another key is told apart, and nothing else can be told.
    pub(crate) fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// A token for `principal` that is good for `ttl`, everywhere.
    pub(crate) fn mint(
        &self,
        principal: Principal,
        ttl: Duration,
        now: Timestamp,
    ) -> Result<String, KeyError> {
        self.mint_for(&Asker::everywhere(principal), ttl, now)
    }

    /// The same for somebody who may be told of some regions only, or has a fleet.
    pub(crate) fn mint_for(
        &self,
        asker: &Asker,
        ttl: Duration,
        now: Timestamp,
    ) -> Result<String, KeyError> {
        let Asker { who: principal, scope, fleet } = asker;
        if ttl > self.token_ttl_max {
            return Err(KeyError::TooLong(self.token_ttl_max));
        }
        let now_s = now.0 / 1_000;
        let claims = Claims {
            iss: self.issuer.clone(),
            aud: self.audience.clone(),
            sub: principal.to_string(),
            role: principal.role(),
            iat: now_s,
            nbf: now_s,
            exp: now_s + ttl.as_secs(),
            jti: Some(TokenId(Uuid::now_v7()).to_string()),
            regions: (!scope.is_everywhere()).then(|| serde_json::json!(scope)),
            fleet: fleet.as_deref().map(|fleet| serde_json::json!(fleet)),
        };
        self.sign(ACCESS, &claims)
    }

    /// Whom a token speaks for, if it is believed.
    pub(crate) fn verify(&self, token: &str) -> Result<Identity, Refused> {
        let now = Clock::Machine.now();
        let identity = self.read_access(token, now)?;
        self.revoked.check(&identity, now)?;
        Ok(identity)
    }

    /// The same, of somebody who may come back with the token by which they are `known` here. To see that it is the same takes a
    /// hundredth of what a signature takes, and thousands come back at once.
    pub(crate) fn recognise(
        &self,
        token: &str,
        known: Option<Identity>,
    ) -> Result<Identity, Refused> {
        let now = Clock::Machine.now();
        let is_good = |it: &Identity| it.expires_at + self.leeway() > now;
        match known.filter(|it| is_good(it) && it.print == Print::of(token)) {
            Some(identity) => {
                self.revoked.check(&identity, now)?;
                Ok(identity)
            }
            None => self.verify(token),
        }
    }

    /// What a token says that this key has signed and that has not expired, whether it was revoked or not.
    pub(crate) fn signed(&self, token: &str, now: Timestamp) -> Option<Identity> {
        self.read_access(token, now).ok()
    }

    /// The same, or why it is not believed.
    fn read_access(&self, token: &str, now: Timestamp) -> Result<Identity, Refused> {
        let claims: Claims = self.read(ACCESS, token).ok_or_else(unauthenticated)?;
        let print = Print::of(token);
        let principal = principal_of(claims.role, &claims.sub).ok_or_else(unauthenticated)?;
        let ms = |seconds: u64| Timestamp(seconds.saturating_mul(1_000));
        // Not after it began to be good, and that was checked: whoever signs with a fast clock issues nothing
        // that outlives a revocation.
        let issued_at = ms(claims.iat.min(claims.nbf));
        let expires_at = ms(claims.exp).min(issued_at + self.token_ttl_max);
        let has_expired = expires_at + self.leeway() <= now;
        if has_expired {
            return Err(unauthenticated());
        }
        let scope = match &claims.regions {
            // Whose regions cannot be told apart is not let in: everywhere would be too much.
            Some(claim) if principal == Principal::Dispatcher => Scope::claimed(claim)
                .map_err(|error| Refused::new(Code::Unauthenticated, error.to_string()))?,
            Some(_) | None => Scope::default(),
        };
        let fleet = match &claims.fleet {
            // Whoever made it meant somebody's: without it, it would be another order that is placed.
            Some(claim) if may_have_fleet(principal.role()) => Some(fleet_claimed(claim)?),
            Some(_) | None => None,
        };
        let token = claims.jti.as_deref().and_then(token_id);
        Ok(Identity { principal, scope, fleet, expires_at, token, issued_at, print })
    }

    /// Which tokens are good no longer.
    pub(crate) fn revoked(&self) -> &Revoked {
        &self.revoked
    }

    /// How much longer than it says it is believed, for clocks differ.
    pub(crate) fn leeway(&self) -> Duration {
        Duration::from_secs(self.validation.leeway)
    }

    /// Longest a token is good for, from when it was issued.
    pub(crate) fn token_ttl_max(&self) -> Duration {
        self.token_ttl_max
    }

    /// Promises `fare` for a trip, described by a digest, to `principal`; also says until when.
    pub(crate) fn promise(
        &self,
        fare: &Fare,
        trip: String,
        principal: Principal,
        now: Timestamp,
    ) -> Result<(String, Timestamp), KeyError> {
        let now_s = now.0 / 1_000;
        let exp = now_s + self.quote_ttl.as_secs();
        let claims = QuoteClaims {
            iss: self.issuer.clone(),
            aud: self.audience.clone(),
            sub: principal.to_string(),
            nbf: now_s,
            exp,
            trip,
            fare: fare.clone(),
        };
        Ok((self.sign(QUOTE, &claims)?, Timestamp(exp * 1_000)))
    }

    /// The fare that was promised to `principal` for this trip.
    pub(crate) fn promised(
        &self,
        quote: &str,
        trip: &str,
        principal: Principal,
    ) -> Result<Fare, Refused> {
        let invalid = |message| Refused::new(Code::QuoteInvalid, message);
        let claims: QuoteClaims =
            self.read(QUOTE, quote).ok_or_else(|| invalid("the quote is no longer valid"))?;
        let is_theirs = claims.sub == principal.to_string();
        if is_theirs && claims.trip == trip {
            Ok(claims.fare)
        } else {
            Err(invalid("the quote was for something else"))
        }
    }

    fn sign(&self, typ: &str, claims: &impl Serialize) -> Result<String, KeyError> {
        let header = Header { typ: Some(typ.to_owned()), ..Header::new(Algorithm::EdDSA) };
        Ok(jsonwebtoken::encode(&header, claims, &self.signing)?)
    }

    fn read<T: DeserializeOwned>(&self, typ: &str, token: &str) -> Option<T> {
        if token.len() > TOKEN_BYTES_MAX {
            return None;
        }
        let token = jsonwebtoken::decode::<T>(token, &self.verifying, &self.validation).ok()?;
        (token.header.typ.as_deref() == Some(typ)).then_some(token.claims)
    }
}

/// The one answer to every token that is not believed.
pub(crate) fn unauthenticated() -> Refused {
    Refused::new(Code::Unauthenticated, "a valid bearer token is needed")
}

/// May a token of this role say whose drivers come first? Staff may name any fleet, and drivers order nothing.
pub(crate) fn may_have_fleet(role: Role) -> bool {
    match role {
        Role::Rider | Role::Merchant => true,
        Role::Driver | Role::Dispatcher | Role::Admin | Role::System => false,
    }
}

/// The fleet that a token claims.
fn fleet_claimed(claim: &serde_json::Value) -> Result<Box<PartnerId>, Refused> {
    let fleet = claim.as_str().and_then(|name| name.parse().ok()).map(Box::new);
    fleet.ok_or_else(|| Refused::new(Code::Unauthenticated, "fleet: a partner-…, and nothing else"))
}

/// Who a role and an id in display form name. Nobody may speak as the platform itself.
pub(crate) fn principal_of(role: Role, subject: &str) -> Option<Principal> {
    match role {
        Role::Rider => subject.parse().ok().map(Principal::Rider),
        Role::Driver => subject.parse().ok().map(Principal::Driver),
        Role::Merchant => subject.parse().ok().map(Principal::Merchant),
        Role::Dispatcher => Some(Principal::Dispatcher),
        Role::Admin => Some(Principal::Admin),
        Role::System => None,
    }
}

/// Who is named in display form: `rider-…`, `dispatcher`.
pub(crate) fn principal_named(name: &str) -> Option<Principal> {
    let (role, _) = name.split_once('-').unwrap_or((name, ""));
    let principal = principal_of(role.parse().ok()?, name)?;
    // Roles without an id are called by nothing else.
    (principal.to_string() == name || !principal.is_staff()).then_some(principal)
}

/// A token's name: `token-…`, or a bare UUID.
pub(crate) fn token_id(name: &str) -> Option<TokenId> {
    name.parse().ok().or_else(|| Uuid::try_parse(name).ok().map(TokenId))
}

/// The first half of the SHA-256 of a public key, in hexadecimal.
fn fingerprint(public: &[u8]) -> String {
    let digest = digest::digest(&digest::SHA256, public);
    digest.as_ref().iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}

/// Writes a new key that only its owner can read.
fn make_key(dir: &Path, path: &Path) -> Result<(), KeyError> {
    let pair = Ed25519KeyPair::generate().map_err(|_unspecified| KeyError::NotMade)?;
    let document = pair.to_pkcs8v1().map_err(|_unspecified| KeyError::NotMade)?;
    let text = pem::encode(&pem::Pem::new(PEM_TAG, document.as_ref()));
    let write = || {
        fs::create_dir_all(dir)?;
        write_new_private(path, text.as_bytes())
    };
    match write() {
        // Someone was faster, and theirs is as good.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(KeyError::File { path: path.to_owned(), error }),
        Ok(()) => {
            // Standard error may be closed, and then nobody is listening.
            drop(writeln!(io::stderr(), "outrider: made a new key: {}", path.display()));
            Ok(())
        }
    }
}

/// All of the file or none of it: a reader must never see half a key.
fn write_new_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    use std::os::unix::fs::OpenOptionsExt;
    let unfinished = path.with_extension(format!("{}.new", std::process::id()));
    let mut file =
        fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&unfinished)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    let linked = fs::hard_link(&unfinished, path);
    fs::remove_file(&unfinished)?;
    linked
}

#[cfg(test)]
mod tests;
