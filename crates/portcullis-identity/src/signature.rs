//! Signed requests (HTTP Message Signatures, RFC 9421): whether a request is signed by somebody the operator trusts, over all that matters,
//! just now, and for the first time. Decides nothing about what the signer may do.

mod base; // the text that is signed
mod digest; // Content-Digest
mod fields; // the headers, strictly read
mod settings; // whose signatures count
mod sign; // the other side
#[cfg(test)]
mod tests;

use aws_lc_rs::digest::{Context, SHA256};
use http::HeaderMap;
use portcullis_core::clock::Timestamp;
use portcullis_core::memory::{Bound, Memory, Taken};
use portcullis_core::proofs::Signature;
use portcullis_core::refusal::ProofFailure;

use crate::Failed;

use self::fields::{Fields, Given, malformed};
use self::settings::Trusted;
pub use self::settings::{Execution, KeySource, Scope, SignatureSettings, SignerSettings};
pub use self::sign::Signer;
pub use crate::keys::Algorithm;

/// How long a key stays bound to its session. A year: a key that is still in the configuration after that is no key of one session, and a
/// binding that never ended would outlive the key in a shared store.
const BOUND_FOR: u64 = 365 * 86_400_000;

/// What a signature is about.
#[derive(Clone, Copy, Debug)]
pub struct Signed<'a> {
    pub method: &'a str,
    /// The absolute URL that the client asked for, query included: our public origin and what stood in the request line.
    pub target_uri: &'a str,
    pub headers: &'a HeaderMap,
    pub body: &'a [u8],
    /// Id of the session that the request belongs to. `None`: before there is one, or where the protocol has none.
    pub session: Option<&'a str>,
}

/// Knows the signers.
#[derive(Debug)]
pub struct SignatureVerifier {
    required: bool,
    /// Milliseconds.
    max_age: u64,
    /// Milliseconds.
    max_skew: u64,
    trusted: Vec<Trusted>,
}

impl SignatureVerifier {
    /// # Errors
    /// Settings that contradict themselves, or a key that cannot be read; names the place.
    pub fn new(settings: &SignatureSettings) -> Result<Self, String> {
        Ok(Self {
            required: settings.required,
            max_age: settings.max_age_seconds.saturating_mul(1000),
            max_skew: settings.max_skew_seconds.saturating_mul(1000),
            trusted: settings.trusted()?,
        })
    }

    /// `None`: not signed, and need not be. Freshness is checked before the nonce is taken, and the signature before both, so that what is
    /// stale or forged fills no store. A session-scoped key is bound last, by what nobody replayed.
    ///
    /// # Errors
    /// Anything wrong with a signature that is there, or none where one is required.
    pub async fn verify(
        &self,
        request: &Signed<'_>,
        now: Timestamp,
        memory: &dyn Memory,
    ) -> Result<Option<Signature>, Failed> {
        if self.trusted.is_empty() {
            return Ok(None);
        }
        let Some(fields) = Fields::of(request.headers)? else {
            if self.required {
                return Err(Failed::new(ProofFailure::SignatureRequired, "not signed"));
            }
            return Ok(None);
        };
        let (signer, given) = self.choose(&fields)?;
        covers(request, &given, signer)?;
        let created = self.fresh(&given, now)?;
        let base = base::base(request, &given.components, &given.parameters)?;
        if !signer.key.verifies(base.as_bytes(), &given.signature) {
            return Err(Failed::new(ProofFailure::SignatureInvalid, format!("not signed by `{}`", signer.key_id)));
        }
        digest::matches(request.headers, request.body)?;
        self.once(signer, &given, created, now, memory).await?;
        if signer.session_scoped {
            bind(signer, request.session, now, memory).await?;
        }
        Ok(Some(Signature {
            key_id: signer.key_id.clone(),
            workload: signer.workload.clone(),
            session_scoped: signer.session_scoped,
            ephemeral: signer.ephemeral,
            created,
        }))
    }

    /// The one signature by a key we know. Others may be there, made by and for somebody else.
    fn choose(&self, fields: &Fields) -> Result<(&Trusted, Given), Failed> {
        let mut known = fields
            .keys()
            .filter_map(|(label, key)| Some((label, self.trusted.iter().find(|signer| &*signer.key_id == key)?)));
        let Some((label, signer)) = known.next() else {
            return Err(Failed::new(ProofFailure::SignatureKey, "no signature names a key of a signer"));
        };
        if known.next().is_some() {
            return Err(malformed("signatures of several signers"));
        }
        let given = fields.signature(label)?;
        if given.algorithm.as_deref().is_some_and(|algorithm| algorithm != signer.key.algorithm.as_str()) {
            return Err(Failed::new(ProofFailure::SignatureKey, "`alg` is not the key's"));
        }
        Ok((signer, given))
    }

    /// When it was made.
    fn fresh(&self, given: &Given, now: Timestamp) -> Result<Timestamp, Failed> {
        let stale = |detail: &str| Err(Failed::new(ProofFailure::SignatureStale, detail));
        if given.expires < given.created {
            return Err(malformed("`expires` is before `created`"));
        }
        // At most fifteen digits each, so milliseconds fit.
        let (created, expires) = (given.created.saturating_mul(1000), given.expires.saturating_mul(1000));
        if created > now.0.saturating_add(self.max_skew) {
            return stale("created in the future");
        }
        if now.0 > created.saturating_add(self.max_age) {
            return stale("created too long ago");
        }
        if now.0 > expires {
            return stale("expired");
        }
        Ok(Timestamp(created))
    }

    /// Kept for `max_skew` longer than it could be good, so that a clock set back by as much does not bring it back.
    async fn once(
        &self,
        signer: &Trusted,
        given: &Given,
        created: Timestamp,
        now: Timestamp,
        memory: &dyn Memory,
    ) -> Result<(), Failed> {
        let until = Timestamp(created.0.saturating_add(self.max_age).saturating_add(self.max_skew));
        let key = hash(&[&signer.key_id, &given.nonce]);
        match memory.take("signature_nonces", key, until, now).await {
            Taken::First => Ok(()),
            Taken::Again => Err(Failed::new(ProofFailure::SignatureReplayed, "the nonce was used before")),
            Taken::Full => Err(Failed::new(ProofFailure::ReplayUnknown, "the store of nonces is full")),
        }
    }
}

/// What a signature must cover: what the request is, where it goes, what it says, and the session and revision it is said in.
fn needed(request: &Signed<'_>) -> Vec<&'static str> {
    let mut needed = vec!["@method", "@target-uri"];
    if !request.body.is_empty() {
        needed.push(digest::CONTENT_DIGEST);
    }
    needed.extend(
        ["mcp-protocol-version", "mcp-session-id"].into_iter().filter(|name| request.headers.contains_key(*name)),
    );
    needed
}

fn covers(request: &Signed<'_>, given: &Given, signer: &Trusted) -> Result<(), Failed> {
    if let Some(missing) = needed(request).into_iter().find(|name| !given.components.iter().any(|there| there == name))
    {
        return Err(malformed(format!("`{missing}` is not covered")));
    }
    let named = fields::value(request.headers, "mcp-session-id")?;
    if signer.session_scoped && request.session.is_some() && named.as_deref() != request.session {
        return Err(malformed("a key of one session does not cover the session's id"));
    }
    Ok(())
}

/// The first session that a session-scoped key signs for is its only one: with another session, or with none once it has one, it is not the key
/// it was configured as. While it has none it may sign requests without a session, for that is how sessions are opened.
async fn bind(signer: &Trusted, session: Option<&str>, now: Timestamp, memory: &dyn Memory) -> Result<(), Failed> {
    let key = hash(&[&signer.key_id]);
    let to = session.map(|session| hash(&[session]));
    let until = Timestamp(now.0.saturating_add(BOUND_FOR));
    match memory.bind("signature_sessions", key, to, until, now).await {
        Bound::Here | Bound::Free => Ok(()),
        Bound::Elsewhere => {
            Err(Failed::new(ProofFailure::SignatureKey, format!("`{}` is the key of another session", signer.key_id)))
        }
        Bound::Full => Err(Failed::new(ProofFailure::ReplayUnknown, "the store of sessions is full")),
    }
}

/// Lengths in front, so that no two lists of parts look alike.
fn hash(parts: &[&str]) -> [u8; 32] {
    let mut context = Context::new(&SHA256);
    for part in parts {
        context.update(&(part.len() as u64).to_be_bytes());
        context.update(part.as_bytes());
    }
    let mut key = [0; 32];
    key.copy_from_slice(context.finish().as_ref());
    key
}
