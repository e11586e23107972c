//! Who is calling, and what else a request proves. Every request is proven on its own; a session id never is a proof (A26, C22b, F2, F12).
//!
//! Where nothing but keys and anonymous callers are configured, all of it is one look into a table: the rest is behind [`Directory::prove`] and
//! [`Directory::bind`], which are only entered by requests that need them.

mod accounts; // what one party holds at the moment
mod certificates; // callers by client certificate
mod contradictions; // what no single value shows
mod examined; // proofs without a gateway
mod expiry; // when a key ends
mod keys; // API keys, by digest
mod metadata; // RFC 9728
mod presented; // the one credential of a request
mod refused; // what a client reads about a proof that is not good
mod scopes; // which scopes an operation needs
#[cfg(test)]
mod tests;
mod tokens; // access tokens, and what they are bound to

use std::path::PathBuf;
use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use http::{HeaderMap, Uri};
use portcullis_core::call::Call;
use portcullis_core::caller::Caller;
use portcullis_core::clock::Timestamp;
use portcullis_core::memory::Memory;
use portcullis_core::proofs::{Proofs, Token};
use portcullis_core::refusal::{Denial, ProofFailure};
use portcullis_identity::Failed;
use portcullis_identity::agent::AgentVerifier;
use portcullis_identity::chain::{self, ChainVerifier};
use portcullis_identity::dpop::{DpopMode, Scheme};
use portcullis_identity::fetch::Fetcher;
use portcullis_identity::signature::{SignatureVerifier, Signed};

pub(crate) use self::accounts::{Account, Accounts, Permit};
pub use self::certificates::CertificateCaller;
pub use self::examined::Examined;
pub use self::expiry::Expiry;
use self::keys::KeyTable;
pub use self::keys::{KeyProblem, key_problems};
use self::presented::{Presented, presented};
use self::refused::Challenges;
use self::tokens::{Shown, Tokens};
use crate::fields::{AGENT_IDENTITY, SIGNATURE_INPUT};
use crate::peer::ClientCertificate;
use crate::proxies::Via;
use crate::settings::{IdentitySettings, ServerSettings};

pub(crate) use self::metadata::{Metadata, WELL_KNOWN};

/// A caller, and what its owner holds at the moment.
#[derive(Debug)]
pub(crate) struct Known {
    pub(crate) caller: Arc<Caller>,
    pub(crate) account: Arc<Account>,
    /// The only servers that the caller may reach, whatever policies say. Empty: all. A name that no server has opens nothing.
    servers: Arc<[String]>,
}

/// What one request proved.
#[derive(Debug)]
pub(crate) struct Identified {
    pub(crate) known: Arc<Known>,
    pub(crate) proofs: Arc<Proofs>,
    /// When what proved the caller ends. Nothing in flight ends with it, but streams that would stand for ever.
    pub(crate) until: Option<Timestamp>,
    /// For `DPoP-Nonce`, so that the next proof has a fresh one.
    pub(crate) nonce: Option<String>,
    /// By what it was found out. A reload meanwhile changes nothing for this request.
    pub(crate) directory: Arc<Directory>,
}

/// A request as far as proofs are concerned.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asking<'a> {
    pub(crate) method: &'a str,
    pub(crate) uri: &'a Uri,
    pub(crate) headers: &'a HeaderMap,
    pub(crate) via: &'a Via,
    /// Of the connection.
    pub(crate) certificate: Option<&'a ClientCertificate>,
    /// Names of the servers that are behind what is asked for.
    pub(crate) servers: &'a [Arc<str>],
    pub(crate) now: Timestamp,
}

/// Everybody who may call, and what verifies them. Immutable; a reload makes a new one.
#[derive(Clone, Debug)]
pub(crate) struct Directory {
    anonymous: Option<Arc<Known>>,
    keys: Arc<KeyTable>,
    certificates: Vec<CertificateCaller>,
    tokens: Option<Arc<Tokens>>,
    agents: Option<Arc<AgentVerifier>>,
    signatures: Option<Arc<SignatureVerifier>>,
    chains: Arc<ChainVerifier>,
    /// A request without a signature is refused.
    signature_required: bool,
    /// A request without a chain is refused.
    chain_required: bool,
    challenges: Challenges,
    /// Our URL as clients write it, where the configuration says it.
    address: Option<String>,
    /// With which certificates issuers were asked.
    ca_file: Option<PathBuf>,
    /// Outlive reloads.
    accounts: Arc<Accounts>,
}

/// Who a request says it is from.
#[derive(Debug)]
enum Claimed<'a> {
    Known(Arc<Known>, Option<Timestamp>),
    /// Nobody before the token is verified.
    Token(Scheme, &'a str),
}

impl Directory {
    /// `identity` in place of that in `settings`, for a reload.
    ///
    /// # Errors
    /// What contradicts itself or cannot be read, and that nobody could ever call; each text begins with its key and a colon.
    pub(crate) fn new(
        settings: &ServerSettings,
        identity: &IdentitySettings,
        earlier: Option<&Self>,
    ) -> Result<Self, String> {
        let accounts = earlier.map_or_else(Arc::default, |earlier| Arc::clone(&earlier.accounts));
        let keys = key_table(identity, &accounts)?;
        let anonymous = identity.lets_anonymous_in(settings.listen.ip().is_loopback());
        contradictions::first(settings, identity)?;
        // The same certificates, or keys that were fetched with others would count.
        let earlier = earlier.filter(|earlier| earlier.ca_file == identity.ca_file);
        let fetcher = || Fetcher::new(identity.ca_file.as_deref()).map_err(|why| format!("identity.ca_file: {why}"));
        let asks = identity.oauth.is_some() || identity.agents.is_some();
        let fetcher = asks.then(fetcher).transpose()?;
        let address = settings.public_url.clone().or_else(|| identity.resource(None));
        let resource = identity.resource(settings.public_url.as_deref());
        let mut tokens = None;
        if let (Some(oauth), Some(fetcher)) = (&identity.oauth, &fetcher) {
            let mut oauth = oauth.clone();
            oauth.resource = resource.clone().unwrap_or_default();
            let dpop = identity.dpop.clone().unwrap_or_default();
            let (before, address) = (earlier.and_then(|earlier| earlier.tokens.as_deref()), address.as_deref());
            let address = address.unwrap_or(&oauth.resource);
            tokens = Some(Arc::new(Tokens::new(&oauth, &dpop, address, &settings.path, fetcher.clone(), before)?));
        }
        let mut agents = None;
        if let (Some(written), Some(fetcher)) = (&identity.agents, &fetcher) {
            let mut verifier = AgentVerifier::new(written, resource.as_deref().unwrap_or_default(), fetcher)?;
            earlier.and_then(|earlier| earlier.agents.as_ref()).into_iter().for_each(|old| verifier.inherit(old));
            agents = Some(Arc::new(verifier));
        }
        let signed = !identity.signatures.signers.is_empty() || identity.signatures.required;
        let signatures = SignatureVerifier::new(&identity.signatures)?;
        let challenges = Challenges {
            metadata: tokens.as_ref().map(|tokens| Arc::clone(&tokens.metadata.address)),
            scopes: tokens.as_ref().map(|tokens| tokens.scopes.everything().to_vec()).unwrap_or_default(),
            dpop: tokens.as_ref().is_some_and(|tokens| tokens.mode == DpopMode::Required),
            certificates_only: tokens.is_none()
                && !identity.certificates.is_empty()
                && identity.keys.is_empty()
                && identity.key_file.is_none(),
        };
        Ok(Self {
            anonymous: anonymous.then(|| accounts.known(Arc::new(Caller::anonymous()), &[])),
            keys,
            certificates: identity.certificates.clone(),
            tokens,
            agents,
            signatures: signed.then(|| Arc::new(signatures)),
            chains: Arc::new(ChainVerifier::new(&identity.chains)?),
            signature_required: identity.signatures.required,
            chain_required: identity.chains.required,
            challenges,
            address,
            ca_file: identity.ca_file.clone(),
            accounts,
        })
    }

    /// With other keys and everything else as it is: a key that was taken back must not wait until all other files are right.
    ///
    /// # Errors
    /// What is wrong with the keys.
    pub(crate) fn with_keys(&self, identity: &IdentitySettings) -> Result<Self, String> {
        Ok(Self { keys: key_table(identity, &self.accounts)?, ..self.clone() })
    }

    /// The caller of a request that needs nothing but a look into a table; `None` for one that has to [`Directory::prove`] more.
    ///
    /// # Errors
    /// A credential that is wrong, over or unreadable, which is never taken for none, or none where one is needed.
    pub(crate) fn at_once(self: &Arc<Self>, asking: &Asking<'_>) -> Result<Option<Identified>, Denial> {
        if self.agents.is_some() && asking.headers.contains_key(&AGENT_IDENTITY) {
            return Ok(None);
        }
        match self.claimed(asking)? {
            Claimed::Known(known, until) => {
                let (proofs, directory) = (Arc::clone(asking.via.proofs()), Arc::clone(self));
                Ok(Some(Identified { known, proofs, until, nonce: None, directory }))
            }
            Claimed::Token(..) => Ok(None),
        }
    }

    /// Who a request is from, by whatever it shows, and which agent acts for the caller.
    ///
    /// # Errors
    /// Each proof that is not good.
    pub(crate) async fn prove(
        self: &Arc<Self>,
        asking: &Asking<'_>,
        memory: &dyn Memory,
    ) -> Result<Identified, Denial> {
        let proofs = Arc::clone(asking.via.proofs());
        let mut identified = match self.claimed(asking)? {
            Claimed::Known(known, until) => {
                Identified { known, proofs, until, nonce: None, directory: Arc::clone(self) }
            }
            Claimed::Token(scheme, token) => self.holder(asking, scheme, token, proofs, memory).await?,
        };
        if let Some(agents) = &self.agents {
            let mut lines = asking.headers.get_all(&AGENT_IDENTITY).iter();
            let invalid = |detail: &str| self.denied(Failed::new(ProofFailure::AgentInvalid, detail));
            if let Some(line) = lines.next() {
                if lines.next().is_some() {
                    return Err(invalid("the header comes twice"));
                }
                let token = line.to_str().map_err(|_| invalid("not ASCII"))?;
                let agent = agents.verify(token, &identified.known.caller, asking.now).await;
                let agent = agent.map_err(|failed| self.denied(failed))?;
                Arc::make_mut(&mut identified.proofs).agent = Some(agent);
            }
        }
        Ok(identified)
    }

    /// Whether a request has to be looked at together with its body.
    pub(crate) fn binds_body(&self, headers: &HeaderMap) -> bool {
        self.signatures.is_some() || self.chain_required || headers.contains_key(&chain::HEADER)
    }

    /// Signatures and chains are about the body of one request. The messages of a connection have none: where each of them must be proven so,
    /// and where a handshake says it is, there are no such connections.
    ///
    /// # Errors
    /// One of both.
    pub(crate) fn proves_connections(&self, headers: &HeaderMap) -> Result<(), Denial> {
        let detail = "it would be about the handshake, and say nothing of the messages";
        let failure = match () {
            () if self.signature_required => ProofFailure::SignatureRequired,
            () if self.signatures.is_some() && headers.contains_key(&SIGNATURE_INPUT) => {
                ProofFailure::SignatureMalformed
            }
            () if self.chain_required || headers.contains_key(&chain::HEADER) => ProofFailure::ChainMalformed,
            () => return Ok(()),
        };
        Err(self.denied(Failed::new(failure, detail)))
    }

    /// Who signed the request, and through whose hands it came. `session` is the id of the session that it belongs to.
    ///
    /// # Errors
    /// A signature or a chain that is not good, whatever else the request proves.
    pub(crate) async fn bind(
        &self,
        asking: &Asking<'_>,
        body: &[u8],
        session: Option<&str>,
        memory: &dyn Memory,
        identified: &mut Identified,
    ) -> Result<(), Denial> {
        let Asking { method, headers, now, .. } = *asking;
        if let Some(signatures) = &self.signatures {
            let target_uri = &self.target(asking);
            let signed = Signed { method, target_uri, headers, body, session };
            let signature = signatures.verify(&signed, now, memory).await.map_err(|failed| self.denied(failed))?;
            if signature.is_some() {
                Arc::make_mut(&mut identified.proofs).signature = signature;
            }
        }
        if self.chain_required || headers.contains_key(&chain::HEADER) {
            let mut request = [0; 32];
            request.copy_from_slice(digest(&SHA256, body).as_ref());
            let chain = self.chains.verify(headers, request, now).map_err(|failed| self.denied(failed))?;
            Arc::make_mut(&mut identified.proofs).chain = chain;
        }
        Ok(())
    }

    /// The refusal of a call whose caller's token has not all scopes that it needs.
    pub(crate) fn lacks_scope(&self, call: &Call) -> Option<Denial> {
        let lacking = self.tokens.as_ref()?.scopes.lacking(call)?;
        Some(self.challenges.insufficient(lacking))
    }

    /// For everybody; `None` where no tokens are taken.
    pub(crate) fn metadata(&self) -> Option<&Metadata> {
        self.tokens.as_ref().map(|tokens| &tokens.metadata)
    }

    fn claimed<'a>(&self, asking: &Asking<'a>) -> Result<Claimed<'a>, Denial> {
        match presented(asking.uri, asking.headers).map_err(|failed| self.denied(failed))? {
            Presented::Nothing => self.unshown(asking),
            Presented::Key(key) => self.key(key, asking)?.ok_or_else(|| self.challenges.unknown("unknown API key")),
            Presented::Token(scheme, token) => {
                // Keys and tokens look alike; a key is known by its digest.
                let key = if scheme == Scheme::Bearer { self.key(token, asking)? } else { None };
                match key {
                    Some(key) => Ok(key),
                    None if self.tokens.is_some() => Ok(Claimed::Token(scheme, token)),
                    None if scheme == Scheme::Bearer => Err(self.challenges.unknown("unknown API key")),
                    None => Err(self.challenges.unauthenticated("a token, and no issuer is configured")),
                }
            }
            Presented::Foreign => Err(self.challenges.unauthenticated("neither `Bearer` nor `DPoP`")),
        }
    }

    fn key<'a>(&self, key: &str, asking: &Asking<'_>) -> Result<Option<Claimed<'a>>, Denial> {
        let found = self.keys.find(key, asking.servers, asking.now);
        let found = found.map_err(|(failure, detail)| self.denied(Failed::new(failure, detail)))?;
        Ok(found.map(|key| Claimed::Known(Arc::clone(&key.known), key.expires)))
    }

    /// A request that shows nothing itself: the connection may, and else it is anybody's.
    fn unshown<'a>(&self, asking: &Asking<'_>) -> Result<Claimed<'a>, Denial> {
        if let Some(certificate) = asking.certificate.filter(|_| !self.certificates.is_empty()) {
            let caller = certificates::caller(&self.certificates, certificate);
            // A certificate that is nobody's is a wrong credential and not none.
            let nobody = || {
                let detail = format!("no rule is about the certificate of `{}`", certificate.subject);
                self.denied(Failed::new(ProofFailure::CertificateRequired, detail))
            };
            let known = self.accounts.known(caller.ok_or_else(nobody)?, &[]);
            return Ok(Claimed::Known(known, Some(certificate.expires)));
        }
        let anonymous = self.anonymous.clone().ok_or_else(|| self.challenges.unauthenticated("nothing presented"))?;
        Ok(Claimed::Known(anonymous, None))
    }

    async fn holder(
        self: &Arc<Self>,
        asking: &Asking<'_>,
        scheme: Scheme,
        token: &str,
        mut proofs: Arc<Proofs>,
        memory: &dyn Memory,
    ) -> Result<Identified, Denial> {
        let tokens = self.tokens.as_ref().ok_or_else(|| self.challenges.unknown("no issuer is configured"))?;
        let Asking { method, headers, certificate, now, .. } = *asking;
        let shown = Shown { token, scheme, method, headers, certificate };
        let verified = tokens.verify(shown, now, memory).await;
        let verified = verified.map_err(|failed| self.challenges.failed(failed, tokens.nonce(now)))?;
        let known = self.accounts.known(Arc::clone(&verified.caller), &[]);
        Arc::make_mut(&mut proofs).token = Some(Token { secret: token.into(), expires: verified.expires });
        let until = Timestamp(verified.expires.0.saturating_add(tokens.grace));
        Ok(Identified { known, proofs, until: Some(until), nonce: tokens.nonce(now), directory: Arc::clone(self) })
    }

    fn denied(&self, failed: Failed) -> Denial {
        self.challenges.failed(failed, None)
    }

    /// The URL that the client asked for. From the configuration where it says so: whoever relays a request to another gateway must not be
    /// the one who says which.
    fn target(&self, asking: &Asking<'_>) -> String {
        match (&self.address, asking.uri.query()) {
            (Some(address), Some(query)) => format!("{address}?{query}"),
            (Some(address), None) => address.clone(),
            (None, _) => asking.via.url(asking.uri),
        }
    }
}

fn key_table(identity: &IdentitySettings, accounts: &Accounts) -> Result<Arc<KeyTable>, String> {
    let known = |caller: Caller, servers: &[String]| accounts.known(Arc::new(caller), servers);
    let table = KeyTable::new(identity.all_keys(), known).map_err(|problem| format!("identity.keys: {problem}"))?;
    Ok(Arc::new(table))
}

impl Known {
    pub(crate) fn reaches(&self, server: &str) -> bool {
        self.servers.is_empty() || self.servers.iter().any(|allowed| allowed == server)
    }

    /// A caller with an account that nobody else finds.
    #[cfg(test)]
    pub(crate) fn new(caller: Caller) -> Arc<Self> {
        Accounts::default().known(Arc::new(caller), &[])
    }
}

impl Accounts {
    pub(crate) fn known(&self, caller: Arc<Caller>, servers: &[String]) -> Arc<Known> {
        Arc::new(Known { account: self.of(&caller), caller, servers: servers.into() })
    }
}
