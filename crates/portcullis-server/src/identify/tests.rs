//! Who a request is from, by key, by certificate, or by nothing; tokens and the rest are tested through sockets (`pipeline/tests`).

use std::sync::Arc;

use http::{HeaderMap, Uri};
use portcullis_core::clock::Timestamp;
use portcullis_core::refusal::{Denial, DenialCode, ProofFailure};
use portcullis_identity::chain::ChainSettings;
use portcullis_identity::dpop::DpopSettings;

use super::{Asking, CertificateCaller, Directory, Expiry, Identified};
use crate::peer::{ClientCertificate, Peer};
use crate::proxies::Proxies;
use crate::settings::{ApiKey, IdentitySettings, ServerSettings};
use crate::testing::api_key;
use crate::testing::proofs::World;
use crate::tls::{ClientCertificates, TlsSettings};

fn settings(listen: &str, identity: IdentitySettings) -> ServerSettings {
    ServerSettings { listen: listen.parse().unwrap(), identity, ..ServerSettings::default() }
}

fn made(settings: &ServerSettings) -> Result<Directory, String> {
    Directory::new(settings, &settings.identity, None)
}

/// `alice-key` until the end of January 2027, at `notes`.
fn with_key(anonymous: Option<bool>) -> Directory {
    let key = ApiKey {
        name: "alice".into(),
        groups: vec!["finance".into()],
        expires: Some(Expiry::parse("2027-01-31").unwrap()),
        servers: vec!["notes".into()],
        ..api_key("alice-key")
    };
    made(&settings("127.0.0.1:0", IdentitySettings { anonymous, keys: vec![key], ..IdentitySettings::default() }))
        .unwrap()
}

struct Request<'a> {
    pairs: &'a [(&'static str, &'a str)],
    certificate: Option<&'a ClientCertificate>,
    server: &'a str,
    now: Timestamp,
}

impl<'a> Request<'a> {
    fn with(pairs: &'a [(&'static str, &'a str)]) -> Self {
        Self { pairs, certificate: None, server: "notes", now: Timestamp(0) }
    }

    fn to(&self, directory: &Directory) -> Result<Identified, Denial> {
        let mut headers = HeaderMap::new();
        headers.insert("host", "localhost".parse().unwrap());
        for (name, value) in self.pairs {
            headers.append(*name, value.parse().unwrap());
        }
        let (uri, proxies) = (Uri::from_static("/mcp"), Proxies::default());
        let peer = Peer::new(&proxies, "127.0.0.1:1".parse().unwrap(), None);
        let via = proxies.via(&peer, &uri, &headers).unwrap();
        let Self { certificate, server, now, .. } = *self;
        let asking = Asking {
            method: "POST",
            uri: &uri,
            headers: &headers,
            via: &via,
            certificate,
            servers: &[server.into()],
            now,
        };
        Arc::new(directory.clone()).at_once(&asking).map(|found| found.expect("known at once"))
    }
}

fn identify(directory: &Directory, pairs: &[(&'static str, &str)]) -> Result<Identified, Denial> {
    Request::with(pairs).to(directory)
}

#[test]
fn a_key_names_its_caller_by_either_header() {
    for header in [("authorization", "Bearer alice-key"), ("x-api-key", "alice-key")] {
        let identified = identify(&with_key(None), &[header]).unwrap();
        assert_eq!(identified.known.caller.name, "alice");
        assert_eq!(identified.known.account.owner, "api_key:alice");
        assert_eq!(identified.until, Some(Expiry::parse("2027-01-31").unwrap().at()), "streams end with it");
    }
}

#[test]
fn a_wrong_key_is_refused_even_where_anonymous_callers_are_let_in() {
    let directory = with_key(Some(true));
    assert_eq!(identify(&directory, &[]).unwrap().known.caller.name, "anonymous");
    for bad in [
        &[("authorization", "Bearer wrong")][..],
        &[("authorization", "Basic YTpi")],
        &[("authorization", "Bearer")],
        &[("authorization", "DPoP alice-key")],
        &[("authorization", "Bearer alice-key"), ("x-api-key", "alice-key")],
        &[("x-api-key", "alice-key"), ("x-api-key", "alice-key")],
    ] {
        assert!(identify(&directory, bad).is_err(), "{bad:?}");
    }
}

#[test]
fn with_keys_configured_nobody_is_anonymous_unless_the_operator_says_so() {
    assert!(identify(&with_key(None), &[]).is_err());
    let open = made(&settings("0.0.0.0:0", IdentitySettings::default()));
    assert!(open.unwrap_err().starts_with("identity: nobody may call"), "an open port asks for proof");
}

#[test]
fn a_key_that_is_over_or_for_another_server_says_so_and_lets_nobody_in_as_anonymous() {
    let directory = with_key(Some(true));
    let pairs = [("x-api-key", "alice-key")];
    let code = |server, now| Request { server, now, ..Request::with(&pairs) }.to(&directory).unwrap_err().code;
    let end = Expiry::parse("2027-01-31").unwrap().at();
    assert_eq!(code("notes", end), DenialCode::Proof(ProofFailure::KeyExpired));
    assert_eq!(code("mail", Timestamp(0)), DenialCode::Proof(ProofFailure::KeyElsewhere));
}

/// Taking back the last key must not open the door to everybody.
#[test]
fn an_empty_key_file_lets_nobody_in() {
    let identity = IdentitySettings { key_file: Some("keys.yaml".into()), ..IdentitySettings::default() };
    let directory = made(&settings("127.0.0.1:0", identity.clone())).unwrap();
    assert!(identify(&directory, &[]).is_err());
    assert!(made(&settings("0.0.0.0:0", identity)).is_ok());
}

fn certificate() -> ClientCertificate {
    ClientCertificate {
        subject: "CN=mail".into(),
        dns: Vec::new(),
        uris: Vec::new(),
        emails: Vec::new(),
        spiffe: None,
        thumbprint: [0; 32],
        expires: Timestamp(1000),
    }
}

/// mTLS, one rule.
fn by_certificate(subject: &str) -> ServerSettings {
    let rule = CertificateCaller { subject: Some(subject.into()), ..CertificateCaller::default() };
    let identity = IdentitySettings { certificates: vec![rule], ..IdentitySettings::default() };
    let tls = TlsSettings {
        certificate: "c".into(),
        key: "k".into(),
        client_ca: Some("a".into()),
        client_certificates: ClientCertificates::Optional,
    };
    ServerSettings { tls: Some(tls), ..settings("0.0.0.0:0", identity) }
}

#[test]
fn a_certificate_is_its_caller_unless_the_request_shows_more_and_a_strangers_is_nobody() {
    let known = made(&by_certificate("CN=mail")).unwrap();
    let certificate = certificate();
    let shown = Request { certificate: Some(&certificate), ..Request::with(&[]) };
    let identified = shown.to(&known).unwrap();
    assert_eq!(identified.known.caller.name, "cert:CN=mail");
    assert_eq!(identified.until, Some(Timestamp(1000)));
    let required = DenialCode::Proof(ProofFailure::CertificateRequired);
    assert_eq!(identify(&known, &[]).unwrap_err().code, required);
    let wrong_key = [("x-api-key", "wrong")];
    assert!(
        Request { pairs: &wrong_key, ..shown }.to(&known).is_err(),
        "the wrong key counts, not the right certificate"
    );
    let mut open = by_certificate("CN=other");
    open.identity.anonymous = Some(true);
    let open = made(&open).unwrap();
    assert_eq!(shown.to(&open).unwrap_err().code, required, "a stranger's certificate is not none");
    assert_eq!(identify(&open, &[]).unwrap().known.caller.name, "anonymous");
}

#[test]
fn a_caller_keeps_its_account_over_a_reload() {
    let mut written = settings("127.0.0.1:0", IdentitySettings { keys: vec![api_key("ana")], ..Default::default() });
    let before = made(&written).unwrap();
    written.identity.keys[0].groups = vec!["finance".into()];
    let after = Directory::new(&written, &written.identity, Some(&before)).unwrap();
    let account = |directory| Arc::clone(&identify(directory, &[("x-api-key", "ana")]).unwrap().known.account);
    assert!(Arc::ptr_eq(&account(&before), &account(&after)));
}

/// Makes settings wrong.
type Change = fn(&mut ServerSettings);

#[test]
fn settings_that_contradict_each_other_are_named_by_their_key() {
    let world = World::new();
    let everything = world.everything();
    assert!(made(&everything).is_ok());
    let cases: [(&str, Change); 8] = [
        ("public_url: ", |settings| settings.public_url = Some("gateway.example/mcp".into())),
        ("public_url: ", |settings| settings.public_url = Some("https://gateway.example/mcp?team=a".into())),
        ("identity.dpop: ", |settings| settings.identity.oauth = None),
        ("identity.oauth.resource: ", |settings| settings.public_url = None),
        ("identity.oauth.issuers[0].keys.file: ", |settings| {
            settings.identity.oauth.as_mut().unwrap().issuers[0].keys.file = Some("/nowhere".into());
        }),
        ("identity.signatures.required: ", |settings| settings.identity.signatures.signers.clear()),
        ("identity.chains.gateway: ", |settings| settings.identity.chains.gateway = None),
        ("identity.certificates: ", |settings| {
            settings.identity.certificates = vec![CertificateCaller { dns: Some("a".into()), ..Default::default() }];
        }),
    ];
    for (key, change) in cases {
        let mut changed = everything.clone();
        change(&mut changed);
        let error = made(&changed).unwrap_err();
        assert!(error.starts_with(key), "{key} {error}");
    }
    let mut agents = everything.clone();
    (agents.identity.oauth, agents.identity.dpop, agents.public_url) = (None, None, None);
    assert!(made(&agents).unwrap_err().starts_with("identity.agents: "));
    agents.identity.agents = None;
    agents.listen = "0.0.0.0:0".parse().unwrap();
    agents.identity.anonymous = Some(true);
    assert!(made(&agents).unwrap_err().starts_with("identity.signatures: "), "whose URL is signed must be known");
    agents.allowed_hosts = Some(vec!["gateway.example".into()]);
    agents.identity.chains = ChainSettings::default();
    assert!(made(&agents).is_ok());
    agents.identity.dpop = Some(DpopSettings::default());
    assert!(made(&agents).unwrap_err().starts_with("identity.dpop: "));
}
