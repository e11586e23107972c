//! Everything a request can prove, made with keys of the test's own: an issuer, a client that holds a key, an agent, a signer, and a gateway in
//! front of this one.

use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use http::{HeaderMap, HeaderName};
use portcullis_core::clock::Timestamp;
use portcullis_core::proofs::Chain;
use portcullis_identity::Secret;
use portcullis_identity::agent::{AgentIssuerSettings, AgentSettings};
use portcullis_identity::chain::{ChainAlgorithm, ChainKey, ChainSettings, ChainSigner, Direction, NewEntry};
use portcullis_identity::dpop::{DpopMode, DpopSettings};
use portcullis_identity::issuer::{Algorithm, KeySettings};
use portcullis_identity::signature::{KeySource, SignatureSettings, Signed, Signer, SignerSettings};
use portcullis_identity::token::{OAuthIssuerSettings, OAuthSettings};
use tempfile::TempDir;

use crate::settings::ServerSettings;

pub(crate) const PUBLIC_URL: &str = "https://gateway.example/mcp";
pub(crate) const ISSUER: &str = "https://issuer.example";

/// Keys, and the files that the settings name.
pub(crate) struct World {
    folder: TempDir,
    issuer: EcdsaKeyPair,
    holder: Ed25519KeyPair,
    signer: Ed25519KeyPair,
}

impl World {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let issuer = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
        let point = issuer.public_key().as_ref();
        let (x, y) = (encode(&point[1..33]), encode(&point[33..]));
        let keys = format!(r#"{{"keys":[{{"kty":"EC","crv":"P-256","kid":"a","x":"{x}","y":"{y}"}}]}}"#);
        std::fs::write(folder.path().join("keys.json"), keys).unwrap();
        std::fs::write(folder.path().join("shared"), "a secret that two gateways share").unwrap();
        let (holder, signer) = (Ed25519KeyPair::generate().unwrap(), Ed25519KeyPair::generate().unwrap());
        Self { folder, issuer, holder, signer }
    }

    fn keys(&self) -> KeySettings {
        let file = Some(self.folder.path().join("keys.json"));
        KeySettings { file, algorithms: vec![Algorithm::Es256], ..KeySettings::default() }
    }

    /// Tokens, and nothing else that is asked for.
    pub(crate) fn tokens(&self) -> ServerSettings {
        let mut settings = ServerSettings { public_url: Some(PUBLIC_URL.to_owned()), ..ServerSettings::default() };
        let issuer = OAuthIssuerSettings {
            name: "acme".to_owned(),
            issuer: ISSUER.to_owned(),
            keys: self.keys(),
            ..OAuthIssuerSettings::default()
        };
        let oauth = OAuthSettings { issuers: vec![issuer], clock_skew_seconds: 0, ..OAuthSettings::default() };
        settings.identity.oauth = Some(oauth);
        settings
    }

    /// Everything that can be asked for is.
    pub(crate) fn everything(&self) -> ServerSettings {
        let mut settings = self.tokens();
        settings.identity.dpop = Some(DpopSettings { mode: DpopMode::Required, ..DpopSettings::default() });
        let issuer = AgentIssuerSettings {
            name: "agents".to_owned(),
            issuer: "urn:agents".to_owned(),
            keys: self.keys(),
            ..AgentIssuerSettings::default()
        };
        settings.identity.agents = Some(AgentSettings { issuers: vec![issuer], ..AgentSettings::default() });
        let x = encode(self.signer.public_key().as_ref());
        let jwk = serde_json::from_str(&format!(r#"{{"kty":"OKP","crv":"Ed25519","x":"{x}"}}"#)).unwrap();
        let signer = SignerSettings {
            key_id: "ci".to_owned(),
            public_key: KeySource::Jwk(jwk),
            algorithm: None,
            workload: "spiffe://prod.example/ci".to_owned(),
            scope: Default::default(),
            execution: Default::default(),
        };
        settings.identity.signatures =
            SignatureSettings { required: true, signers: vec![signer], ..SignatureSettings::default() };
        settings.identity.chains = self.chains("gateway", "edge", Direction::Incoming);
        settings.identity.chains.required = true;
        settings
    }

    fn chains(&self, own: &str, other: &str, direction: Direction) -> ChainSettings {
        let key = ChainKey {
            key_id: "k1".to_owned(),
            gateway: Some(other.to_owned()),
            algorithm: ChainAlgorithm::Hs256,
            direction,
            key: Secret::File(self.folder.path().join("shared")),
            vouches: false,
        };
        ChainSettings { gateway: Some(own.to_owned()), keys: vec![key], ..ChainSettings::default() }
    }

    /// A token for `claims`, which stand behind those that every token has.
    pub(crate) fn token(&self, typ: &str, claims: &str) -> String {
        let header = format!(r#"{{"alg":"ES256","kid":"a","typ":"{typ}"}}"#);
        let signed = format!("{}.{}", encode(header.as_bytes()), encode(claims.as_bytes()));
        let signature = self.issuer.sign(&SystemRandom::new(), signed.as_bytes()).unwrap();
        format!("{signed}.{}", encode(signature.as_ref()))
    }

    /// An access token of `subject` until `expires` (seconds), with `more` members.
    pub(crate) fn access(&self, subject: &str, expires: u64, more: &str) -> String {
        let claims = format!(
            r#"{{"iss":"{ISSUER}","aud":"{PUBLIC_URL}","sub":"{subject}","client_id":"editor","iat":900,"exp":{expires}{more}}}"#
        );
        self.token("at+jwt", &claims)
    }

    /// The same, bound to the holder's key.
    pub(crate) fn bound(&self, subject: &str) -> String {
        let thumbprint = digest(&SHA256, self.holder_jwk().as_bytes());
        self.access(subject, 2000, &format!(r#","cnf":{{"jkt":"{}"}}"#, encode(thumbprint.as_ref())))
    }

    /// The members of its thumbprint, in its order (RFC 7638).
    fn holder_jwk(&self) -> String {
        format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{}"}}"#, encode(self.holder.public_key().as_ref()))
    }

    /// The holder's proof for one request with `token`.
    pub(crate) fn possession(&self, token: &str, jti: &str, nonce: Option<&str>) -> String {
        let header = format!(r#"{{"typ":"dpop+jwt","alg":"EdDSA","jwk":{}}}"#, self.holder_jwk());
        let ath = encode(digest(&SHA256, token.as_bytes()).as_ref());
        let nonce = nonce.map(|nonce| format!(r#","nonce":"{nonce}""#)).unwrap_or_default();
        let claims = format!(r#"{{"jti":"{jti}","htm":"POST","htu":"{PUBLIC_URL}","iat":1000,"ath":"{ath}"{nonce}}}"#);
        let signed = format!("{}.{}", encode(header.as_bytes()), encode(claims.as_bytes()));
        format!("{signed}.{}", encode(self.holder.sign(signed.as_bytes()).as_ref()))
    }

    pub(crate) fn agent(&self, name: &str) -> String {
        let claims = format!(r#"{{"iss":"urn:agents","aud":"{PUBLIC_URL}","sub":"{name}","iat":900,"exp":1100}}"#);
        self.token("JWT", &claims)
    }

    /// The headers of a signature over a POST of `body`.
    pub(crate) fn signature(&self, body: &str, now: Timestamp) -> Vec<(HeaderName, String)> {
        let der = self.signer.to_pkcs8v1().unwrap();
        let pem =
            format!("-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n", STANDARD.encode(der.as_ref()));
        let headers = HeaderMap::new();
        let request =
            Signed { method: "POST", target_uri: PUBLIC_URL, headers: &headers, body: body.as_bytes(), session: None };
        let signer = Signer::new("ci", pem.as_bytes()).unwrap();
        let added = signer.sign(&request, now, Duration::from_secs(60), None).unwrap();
        added.into_iter().map(|(name, value)| (name, value.to_str().unwrap().to_owned())).collect()
    }

    /// What the gateway in front says of a request with `body`.
    pub(crate) fn chain(&self, body: &str, now: Timestamp) -> String {
        let signer = ChainSigner::new(&self.chains("edge", "gateway", Direction::Outgoing)).unwrap();
        let entry =
            NewEntry { agent: "planner", target: "initialize", body: body.as_bytes(), audience: "gateway", now };
        signer.append(&Chain::default(), entry).unwrap()
    }
}

pub(crate) fn encode(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}
