//! One issuer: its identifier, and the keys it signs with. Keys are fetched by one task at a time and seldom, whatever tokens arrive; a key
//! that was good stays good while the issuer cannot be reached, for a bounded time.

mod discovery;
mod key;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use aws_lc_rs::digest::{SHA256, digest};
use bytes::Bytes;
use portcullis_core::clock::Timestamp;
use portcullis_core::refusal::ProofFailure;
use quick_cache::sync::Cache;
use schemars::JsonSchema;
use serde::Deserialize;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use url::Url;

pub(crate) use self::discovery::metadata;
pub use self::key::{Algorithm, Key};
use crate::Failed;
use crate::fetch::{Fetcher, may_be_asked};

/// Unknown key ids that are remembered. 1,024 of 40 bytes: a flood pushes out its own entries, and the interval holds without them.
const UNKNOWN: usize = 1024;

/// How long an unknown key id is not looked for again. 120 s: a stray client with an old key costs one fetch in that time, and a key that was
/// used before it was published is accepted that much late at worst.
const UNKNOWN_FOR: Duration = Duration::from_secs(120);

/// After a fetch that failed. 5 s: an issuer that restarts is believed again within seconds, and one that is down is not hammered.
const RETRY: Duration = Duration::from_secs(5);

/// Where an issuer's keys come from and how they may be used.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct KeySettings {
    /// Address of the JWK set; https, or http on loopback. Default: found by discovery (RFC 8414, then OpenID Connect), which is right for every
    /// issuer that publishes metadata.
    pub url: Option<String>,
    /// File with the JWK set, read when the configuration is loaded; for issuers that publish nothing. Not together with `url`.
    pub file: Option<PathBuf>,
    /// Algorithms that this issuer's tokens may be signed with; never taken from a token. Default RS256 and ES256: the two that providers
    /// use; naming fewer is safer. `none` and shared secrets (HS256 …) do not exist here.
    pub algorithms: Vec<Algorithm>,
    /// Seconds after which keys are fetched again although nothing asked for it. Default 600: the time that a withdrawn key stays good.
    pub refresh_seconds: u64,
    /// Least seconds between two fetches, however many unknown keys tokens name. Default 30: the time that a new key may have to wait, and two
    /// fetches a minute harm no issuer.
    pub interval_seconds: u64,
    /// Seconds for which fetched keys are used while the issuer cannot be reached. Default 86,400, one day: longer than most outages; not for
    /// ever, since a withdrawn key must end.
    pub stale_seconds: u64,
}

impl Default for KeySettings {
    fn default() -> Self {
        Self {
            url: None,
            file: None,
            algorithms: vec![Algorithm::Rs256, Algorithm::Es256],
            refresh_seconds: 600,
            interval_seconds: 30,
            stale_seconds: 86_400,
        }
    }
}

impl KeySettings {
    /// A relative file is one beside the configuration.
    pub fn relative_to(&mut self, folder: &Path) {
        if let Some(file) = &mut self.file {
            *file = folder.join(&*file);
        }
    }
}

/// An issuer and its keys. Cheap to clone; clones share the keys.
#[derive(Clone, Debug)]
pub struct Issuer {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    issuer: String,
    source: Source,
    algorithms: Vec<Algorithm>,
    refresh: Duration,
    interval: Duration,
    stale: Duration,
    fetcher: Fetcher,
    keys: ArcSwapOption<Keys>,
    /// When a fetch last began, and whether it brought keys. Taken at the start, so that nobody begins a second one.
    last: Mutex<Option<Attempt>>,
    /// Whether somebody is fetching.
    fetching: watch::Sender<bool>,
    /// Digests of key ids, with the version of the keys that lacked them.
    unknown: Cache<[u8; 32], (u64, Timestamp)>,
}

#[derive(Debug, PartialEq, Eq)]
enum Source {
    File,
    Url(Url),
    Discovery,
}

#[derive(Clone, Copy, Debug)]
struct Attempt {
    at: Timestamp,
    succeeded: bool,
}

/// An immutable key set.
#[derive(Debug)]
struct Keys {
    /// Grows by one whenever the set's text changes; from 1.
    version: u64,
    text: Bytes,
    fetched: Timestamp,
    keys: Vec<Arc<Key>>,
}

impl Issuer {
    /// `place` is where the settings stand, for errors: `identity.oauth.issuers[0]`.
    ///
    /// # Errors
    /// The settings contradict each other, or the file of keys cannot be used.
    pub fn new(issuer: &str, settings: &KeySettings, fetcher: Fetcher, place: &str) -> Result<Self, String> {
        let url = Url::parse(issuer).map_err(|error| format!("{place}.issuer: `{issuer}`: {error}"))?;
        let (source, keys) = match (&settings.url, &settings.file) {
            (Some(_), Some(_)) => return Err(format!("{place}.keys: `url` and `file` exclude each other")),
            (Some(text), None) => {
                let url = Url::parse(text).ok().filter(may_be_asked);
                (Source::Url(url.ok_or_else(|| format!("{place}.keys.url: `{text}` is not an https URL"))?), None)
            }
            (None, Some(path)) => {
                let failed = |reason: String| format!("{place}.keys.file: `{}`: {reason}", path.display());
                let text = std::fs::read(path).map_err(|error| failed(error.to_string()))?;
                let keys = key::read_set(&text).map_err(|error| failed(error.detail))?;
                (Source::File, Some(Arc::new(Keys::new(1, text.into(), Timestamp(0), keys))))
            }
            (None, None) if may_be_asked(&url) && url.query().is_none() && url.fragment().is_none() => {
                (Source::Discovery, None)
            }
            (None, None) => {
                return Err(format!(
                    "{place}.issuer: `{issuer}` is not an https URL, and without `keys` there is discovery"
                ));
            }
        };
        if settings.algorithms.is_empty() {
            return Err(format!("{place}.keys.algorithms: without an algorithm no token can be accepted"));
        }
        if settings.interval_seconds == 0 || settings.interval_seconds > settings.refresh_seconds {
            return Err(format!("{place}.keys.interval_seconds: must be from 1 to `refresh_seconds`"));
        }
        if settings.stale_seconds < settings.refresh_seconds {
            return Err(format!("{place}.keys.stale_seconds: must not be less than `refresh_seconds`"));
        }
        Ok(Self {
            shared: Arc::new(Shared {
                issuer: issuer.to_owned(),
                source,
                algorithms: settings.algorithms.clone(),
                refresh: Duration::from_secs(settings.refresh_seconds),
                interval: Duration::from_secs(settings.interval_seconds),
                stale: Duration::from_secs(settings.stale_seconds),
                fetcher,
                keys: ArcSwapOption::new(keys),
                last: Mutex::default(),
                fetching: watch::Sender::new(false),
                unknown: Cache::new(UNKNOWN),
            }),
        })
    }

    /// Takes over the keys of the one before a reload, if it is the same issuer and its keys are had in the same way. Those in a file were just
    /// read.
    pub(crate) fn inherit(&mut self, before: &Self) {
        let (own, old) = (&self.shared, &before.shared);
        let same = (&own.issuer, &own.source, &own.algorithms) == (&old.issuer, &old.source, &old.algorithms)
            && (own.refresh, own.interval, own.stale) == (old.refresh, old.interval, old.stale);
        if same && own.source != Source::File {
            self.shared = Arc::clone(old);
        }
    }

    /// `iss`, byte for byte.
    #[must_use]
    pub fn identifier(&self) -> &str {
        &self.shared.issuer
    }

    /// Whether the configuration allows this algorithm.
    #[must_use]
    pub fn allows(&self, algorithm: Algorithm) -> bool {
        self.shared.algorithms.contains(&algorithm)
    }

    /// The version of the keys that may be used now, and a refresh under way if it is time for one. Nothing without usable keys.
    /// What was verified under another version must be verified again. Within a tokio runtime only, where the refresh goes on.
    #[must_use]
    pub fn version(&self, now: Timestamp) -> Option<u64> {
        let keys = self.shared.usable(now)?;
        if self.shared.is_old(&keys, now)
            && let Some(flight) = self.shared.begin(now)
        {
            flight.launch(now);
        }
        Some(keys.version)
    }

    /// The key that a token names, and the version of the set it is in. Without a `kid`, the only key that fits the algorithm.
    ///
    /// # Errors
    /// `TokenKey`: the issuer has no such key. `IssuerUnavailable`: its keys cannot be had.
    pub async fn key(
        &self,
        kid: Option<&str>,
        algorithm: Algorithm,
        now: Timestamp,
    ) -> Result<(Arc<Key>, u64), Failed> {
        let shared = &self.shared;
        if self.version(now).is_some()
            && let Some(found) = shared.find(kid, algorithm, now)
        {
            return found;
        }
        let named = kid.map(|kid| sha256(kid.as_bytes()));
        let known_unknown = named.is_some_and(|named| shared.is_known_unknown(&named, now));
        let looked = !known_unknown && self.look(now).await;
        if looked && let Some(found) = shared.find(kid, algorithm, now) {
            return found;
        }
        let Some(keys) = shared.usable(now).filter(|_| known_unknown || !shared.has_just_failed()) else {
            return Err(Failed::new(
                ProofFailure::IssuerUnavailable,
                format!("no current keys of `{}`", shared.issuer),
            ));
        };
        if looked && let Some(named) = named {
            shared.unknown.insert(named, (keys.version, now));
        }
        Err(Failed::new(ProofFailure::TokenKey, format!("`{}` has no key for this token", shared.issuer)))
    }

    /// Fetches, or waits for who does. Whether either happened: not within the interval.
    async fn look(&self, now: Timestamp) -> bool {
        if let Some(flight) = self.shared.begin(now) {
            // A task that died leaves no keys behind, which the caller sees.
            let _ = flight.launch(now).await;
            return true;
        }
        let mut fetching = self.shared.fetching.subscribe();
        let under_way = *fetching.borrow();
        under_way && fetching.wait_for(|fetching| !fetching).await.is_ok()
    }
}

/// The right to fetch; one exists at a time.
struct Flight(Arc<Shared>);

impl Flight {
    /// In a task of its own: a caller that hangs up must not end what others wait for.
    fn launch(self, now: Timestamp) -> JoinHandle<()> {
        tokio::spawn(async move { self.0.fetch(now).await })
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        self.0.fetching.send_replace(false);
    }
}

impl Shared {
    /// The right to fetch, if it is due and nobody does. At most once per interval; a clock that stepped by more than that, either way,
    /// starts anew.
    fn begin(self: &Arc<Self>, now: Timestamp) -> Option<Flight> {
        if matches!(self.source, Source::File) {
            return None;
        }
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let due = last.is_none_or(|last| {
            let wait = if last.succeeded { self.interval } else { RETRY.min(self.interval) };
            apart(last.at, now) >= wait
        });
        if !due || self.fetching.send_replace(true) {
            return None;
        }
        // Counts as a success until it fails, so that the longer interval holds while it is under way.
        *last = Some(Attempt { at: now, succeeded: true });
        Some(Flight(Arc::clone(self)))
    }

    fn has_just_failed(&self) -> bool {
        self.last.lock().unwrap_or_else(PoisonError::into_inner).is_some_and(|last| !last.succeeded)
    }

    async fn fetch(&self, now: Timestamp) {
        match self.fetched().await {
            Ok((text, keys)) => {
                let old = self.keys.load_full();
                let version = match &old {
                    Some(old) if old.text == text => old.version,
                    Some(old) => old.version + 1,
                    None => 1,
                };
                self.keys.store(Some(Arc::new(Keys::new(version, text, now, keys))));
            }
            Err(failed) => {
                tracing::warn!(issuer = %self.issuer, reason = %failed.detail, "keys could not be fetched");
                let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
                *last = Some(Attempt { at: now, succeeded: false });
            }
        }
    }

    async fn fetched(&self) -> Result<(Bytes, Vec<Key>), Failed> {
        let address = match &self.source {
            Source::Url(url) => url.clone(),
            Source::Discovery | Source::File => discovery::keys_address(&self.fetcher, &self.issuer).await?,
        };
        let text = self
            .fetcher
            .get(&address)
            .await
            .map_err(|error| Failed::new(ProofFailure::IssuerUnavailable, format!("keys at {address}: {error}")))?;
        let keys = key::read_set(&text)?;
        Ok((text, keys))
    }

    fn usable(&self, now: Timestamp) -> Option<Arc<Keys>> {
        let keys = self.keys.load_full()?;
        (matches!(self.source, Source::File) || apart(keys.fetched, now) <= self.stale).then_some(keys)
    }

    fn is_old(&self, keys: &Keys, now: Timestamp) -> bool {
        apart(keys.fetched, now) >= self.refresh
    }

    /// Nothing: no such key. Two keys that answer to the same name are an error: which of them is meant cannot be told.
    fn find(&self, kid: Option<&str>, algorithm: Algorithm, now: Timestamp) -> Option<Result<(Arc<Key>, u64), Failed>> {
        let keys = self.usable(now)?;
        let mut fitting =
            keys.keys.iter().filter(|key| key.fits(algorithm) && (kid.is_none() || key.id.as_deref() == kid));
        let found = fitting.next()?;
        Some(match fitting.next() {
            None => Ok((Arc::clone(found), keys.version)),
            Some(_) => Err(Failed::new(ProofFailure::TokenKey, "several keys fit this token")),
        })
    }

    fn is_known_unknown(&self, named: &[u8; 32], now: Timestamp) -> bool {
        let version = self.keys.load().as_ref().map(|keys| keys.version);
        self.unknown
            .get(named)
            .is_some_and(|(missing_in, since)| Some(missing_in) == version && apart(since, now) < UNKNOWN_FOR)
    }
}

impl Keys {
    fn new(version: u64, text: Bytes, fetched: Timestamp, keys: Vec<Key>) -> Self {
        Self { version, text, fetched, keys: keys.into_iter().map(Arc::new).collect() }
    }
}

/// Distance in either direction: a clock that was set back must not keep anything for longer.
fn apart(one: Timestamp, other: Timestamp) -> Duration {
    Duration::from_millis(one.0.abs_diff(other.0))
}

/// Of what a peer chose the length.
pub(crate) fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut out = [0; 32];
    out.copy_from_slice(digest(&SHA256, bytes).as_ref());
    out
}
