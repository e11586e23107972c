//! Requests signed and spoiled. Time and stores are handed in; nothing waits.

mod flipped;
mod others;
mod sessions;
mod settings;
mod vectors;

use std::time::Duration;

use futures_util::FutureExt as _;
use http::{HeaderMap, HeaderName, HeaderValue};
use portcullis_core::clock::Timestamp;
use portcullis_core::memory::Embedded;
use portcullis_core::proofs::Signature;
use portcullis_core::refusal::ProofFailure;

use super::{Execution, KeySource, Scope, SignatureSettings, SignatureVerifier, Signed, Signer, SignerSettings, base};
use crate::keys::PrivateKey;

const NOW: Timestamp = Timestamp(1_700_000_000_000);
const BODY: &str = r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#;
// The keys of RFC 9421, B.1.4 and B.1.3.
const PRIVATE: &str = include_str!("../../../../fixtures/signing/ed25519.pem");
const PUBLIC: &str = include_str!("../../../../fixtures/signing/ed25519.pub.pem");
const PRIVATE_P256: &str = include_str!("../../../../fixtures/signing/p256.pem");
const PUBLIC_P256: &str = include_str!("../../../../fixtures/signing/p256.pub.pem");

/// A request that can be spoiled.
#[derive(Clone, Debug)]
struct Request {
    method: String,
    target: String,
    headers: HeaderMap,
    body: Vec<u8>,
    session: Option<String>,
}

impl Request {
    fn new() -> Self {
        let mut request = Self {
            method: "POST".into(),
            target: "https://gateway.example/mcp?team=a".into(),
            headers: HeaderMap::new(),
            body: BODY.into(),
            session: Some("s-1".into()),
        };
        request.set("content-type", "application/json");
        request.set("mcp-protocol-version", "2025-11-25");
        request.set("mcp-session-id", "s-1");
        request
    }

    fn set(&mut self, name: &'static str, value: &str) {
        self.headers.insert(name, HeaderValue::from_str(value).unwrap());
    }

    fn get(&self, name: &str) -> String {
        self.headers.get(name).unwrap().to_str().unwrap().to_owned()
    }

    fn signed(&self) -> Signed<'_> {
        Signed {
            method: &self.method,
            target_uri: &self.target,
            headers: &self.headers,
            body: &self.body,
            session: self.session.as_deref(),
        }
    }

    fn sign(mut self, signer: &Signer) -> Self {
        let added = signer.sign(&self.signed(), NOW, Duration::from_secs(300), Some("n-1")).unwrap();
        self.headers.extend(added);
        self
    }

    /// Signed over `components`, with whatever `parameters` say.
    fn sign_as(mut self, components: &[&str], parameters: &str) -> Self {
        if !self.headers.contains_key("content-digest") {
            let digest = super::digest::of(&self.body);
            self.set("content-digest", &digest);
        }
        let list: Vec<_> = components.iter().map(|name| format!("\"{name}\"")).collect();
        let input = format!("({}){parameters}", list.join(" "));
        let text = base::base(&self.signed(), components, &input).unwrap();
        let signature = PrivateKey::from_pem(PRIVATE.as_bytes()).unwrap().sign(text.as_bytes()).unwrap();
        self.set("signature-input", &format!("sig1={input}"));
        self.set("signature", &format!("sig1=:{}:", base64(&signature)));
        self
    }
}

const ALL: [&str; 5] = ["@method", "@target-uri", "content-digest", "mcp-protocol-version", "mcp-session-id"];
const GOOD: &str = r#";created=1700000000;expires=1700000300;nonce="n-1";keyid="ci""#;

fn base64(bytes: &[u8]) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

fn signer() -> Signer {
    Signer::new("ci", PRIVATE.as_bytes()).unwrap()
}

fn trusted(key_id: &str, pem: &str) -> SignerSettings {
    SignerSettings {
        key_id: key_id.into(),
        public_key: KeySource::Pem(pem.into()),
        algorithm: None,
        workload: "build".into(),
        scope: Scope::Persistent,
        execution: Execution::LongLived,
    }
}

fn settings() -> SignatureSettings {
    SignatureSettings {
        signers: vec![trusted("ci", PUBLIC), trusted("cd", PUBLIC_P256)],
        ..SignatureSettings::default()
    }
}

fn verifier() -> SignatureVerifier {
    SignatureVerifier::new(&settings()).unwrap()
}

fn verify_at(
    verifier: &SignatureVerifier,
    request: &Request,
    now: Timestamp,
    memory: &Embedded,
) -> Result<Option<Signature>, ProofFailure> {
    let outcome = verifier.verify(&request.signed(), now, memory).now_or_never().unwrap();
    outcome.map_err(|failed| failed.failure)
}

fn verify(request: &Request) -> Result<Option<Signature>, ProofFailure> {
    verify_at(&verifier(), request, NOW, &Embedded::new(10))
}

#[test]
fn a_signed_request_says_who_signed_it() {
    let signature = verify(&Request::new().sign(&signer())).unwrap().unwrap();
    assert_eq!((&*signature.key_id, &*signature.workload), ("ci", "build"));
    assert_eq!((signature.session_scoped, signature.ephemeral, signature.created), (false, false, NOW));
    let p256 = Signer::new("cd", PRIVATE_P256.as_bytes()).unwrap();
    assert_eq!(&*verify(&Request::new().sign(&p256)).unwrap().unwrap().key_id, "cd");
}

#[test]
fn a_request_without_body_session_or_revision_needs_no_more_than_it_has() {
    let mut request = Request { method: "GET".into(), body: Vec::new(), session: None, ..Request::new() };
    request.headers.clear();
    let signed = request.sign(&signer());
    assert!(!signed.headers.contains_key("content-digest"));
    assert!(verify(&signed).unwrap().is_some());
}

#[test]
fn an_unsigned_request_is_refused_exactly_where_signatures_are_required() {
    assert_eq!(verify(&Request::new()), Ok(None));
    let required = SignatureVerifier::new(&SignatureSettings { required: true, ..settings() }).unwrap();
    let outcome = verify_at(&required, &Request::new(), NOW, &Embedded::new(10));
    assert_eq!(outcome, Err(ProofFailure::SignatureRequired));
}

#[test]
fn without_signers_signatures_are_not_looked_at() {
    let nobody = SignatureVerifier::new(&SignatureSettings::default()).unwrap();
    let mut request = Request::new();
    request.set("signature", "nonsense");
    assert_eq!(verify_at(&nobody, &request, NOW, &Embedded::new(10)), Ok(None));
}

#[test]
fn each_header_without_the_other_is_malformed() {
    for name in ["signature", "signature-input"] {
        let mut request = Request::new().sign(&signer());
        request.headers.remove(name);
        assert_eq!(verify(&request), Err(ProofFailure::SignatureMalformed), "{name}");
    }
}

#[test]
fn what_must_be_covered_cannot_be_left_out() {
    for missing in ALL {
        let components: Vec<_> = ALL.into_iter().filter(|name| *name != missing).collect();
        let request = Request::new().sign_as(&components, GOOD);
        assert_eq!(verify(&request), Err(ProofFailure::SignatureMalformed), "{missing}");
    }
    assert!(verify(&Request::new().sign_as(&ALL, GOOD)).unwrap().is_some(), "and with all of it is good");
}

#[test]
fn a_header_added_after_signing_must_have_been_covered() {
    for name in ["mcp-session-id", "mcp-protocol-version"] {
        let mut request = Request { session: None, ..Request::new() };
        request.headers.remove(name);
        let mut request = request.sign(&signer());
        request.set(name, "2025-11-25");
        assert_eq!(verify(&request), Err(ProofFailure::SignatureMalformed), "{name}");
    }
}

#[test]
fn further_components_count_as_long_as_they_are_known_and_there() {
    let more = |name| Request::new().sign_as(&[&ALL[..], &[name]].concat(), GOOD);
    for name in ["@authority", "@scheme", "@path", "@query", "content-type"] {
        assert!(verify(&more(name)).unwrap().is_some(), "{name}");
    }
    let mut gone = more("content-type");
    gone.headers.remove("content-type");
    assert_eq!(verify(&gone), Err(ProofFailure::SignatureMalformed));
    for name in ["@status", "@nonsense", "@method", "Content-Type", "x-absent", "not a name"] {
        let mut request = Request::new().sign_as(&ALL, GOOD);
        let input = request.get("signature-input").replace(");", &format!(" \"{name}\");"));
        request.set("signature-input", &input);
        assert_eq!(verify(&request), Err(ProofFailure::SignatureMalformed), "{name}");
    }
}

#[test]
fn components_with_parameters_are_refused() {
    for parameter in [";req", ";sf", ";bs", ";tr", ";key=\"a\""] {
        let mut request = Request::new().sign_as(&ALL, GOOD);
        let input = request.get("signature-input").replace("\"@method\"", &format!("\"@method\"{parameter}"));
        request.set("signature-input", &input);
        assert_eq!(verify(&request), Err(ProofFailure::SignatureMalformed), "{parameter}");
    }
}

#[test]
fn every_parameter_must_be_there_once_and_of_its_type() {
    let long = format!(r#";created=1700000000;expires=1700000300;nonce="{}";keyid="ci""#, "n".repeat(257));
    for parameters in [
        r#";expires=1700000300;nonce="n";keyid="ci""#,
        r#";created=1700000000;nonce="n";keyid="ci""#,
        r#";created=1700000000;expires=1700000300;keyid="ci""#,
        r#";created=1700000000;expires=1700000300;nonce="";keyid="ci""#,
        r#";created=1700000000;expires=1700000300;nonce=n;keyid="ci""#,
        r#";created="1700000000";expires=1700000300;nonce="n";keyid="ci""#,
        r#";created=-1700000000;expires=1700000300;nonce="n";keyid="ci""#,
        r#";created=1700000000.5;expires=1700000300;nonce="n";keyid="ci""#,
        r#";created=1700000000;expires=1699999999;nonce="n";keyid="ci""#,
        r#";created=1700000000;expires=1700000300;nonce="n";nonce="m";keyid="ci""#,
        r#";created=1700000000;expires=1700000300;nonce="n";keyid="ci";strange=1"#,
        &long,
    ] {
        let request = Request::new().sign_as(&ALL, parameters);
        assert_eq!(verify(&request), Err(ProofFailure::SignatureMalformed), "{parameters}");
    }
    let tagged = Request::new().sign_as(&ALL, &format!("{GOOD};tag=\"app\""));
    assert!(verify(&tagged).unwrap().is_some(), "a tag is a parameter of the RFC");
}

#[test]
fn keys_that_nobody_configured_and_algorithms_of_other_keys_are_refused() {
    let stranger = Request::new().sign_as(&ALL, &GOOD.replace("\"ci\"", "\"stranger\""));
    assert_eq!(verify(&stranger), Err(ProofFailure::SignatureKey));
    let unnamed = Request::new().sign_as(&ALL, &GOOD.replace(";keyid=\"ci\"", ""));
    assert_eq!(verify(&unnamed), Err(ProofFailure::SignatureKey));
    for algorithm in ["ecdsa-p256-sha256", "hmac-sha256", "ED25519", ""] {
        let request = Request::new().sign_as(&ALL, &format!("{GOOD};alg=\"{algorithm}\""));
        assert_eq!(verify(&request), Err(ProofFailure::SignatureKey), "{algorithm}");
    }
    let other = Request::new().sign_as(&ALL, &GOOD.replace("\"ci\"", "\"cd\""));
    assert_eq!(verify(&other), Err(ProofFailure::SignatureInvalid), "the right name, the wrong key");
}

#[test]
fn of_several_signatures_the_known_one_counts_and_two_known_ones_are_refused() {
    let mut request = Request::new().sign(&signer());
    let (input, signature) = (request.get("signature-input"), request.get("signature"));
    request.set("signature-input", &format!("proxy=(\"@authority\");keyid=\"edge\", {input}"));
    request.set("signature", &format!("proxy=:AAAA:, {signature}"));
    assert_eq!(&*verify(&request).unwrap().unwrap().key_id, "ci");
    request.set("signature-input", &format!("{input}, {}", input.replacen("sig1", "sig2", 1)));
    request.set("signature", &format!("{signature}, {}", signature.replacen("sig1", "sig2", 1)));
    assert_eq!(verify(&request), Err(ProofFailure::SignatureMalformed));
}

#[test]
fn two_lines_of_one_header_are_one_value() {
    let mut request = Request::new().sign(&signer());
    request.headers.append("signature-input", HeaderValue::from_static("proxy=(\"@authority\");keyid=\"edge\""));
    request.headers.append("signature", HeaderValue::from_static("proxy=:AAAA:"));
    assert!(verify(&request).unwrap().is_some());
    let mut combined = Request::new();
    combined.headers.append("accept", HeaderValue::from_static("  application/json"));
    combined.headers.append("accept", HeaderValue::from_static("text/event-stream "));
    let text = base::base(&combined.signed(), &["accept"], "()").unwrap();
    assert_eq!(text, "\"accept\": application/json, text/event-stream\n\"@signature-params\": ()");
}

#[test]
fn a_header_that_means_one_thing_may_not_be_there_twice() {
    for name in ["mcp-session-id", "mcp-protocol-version"] {
        let mut request = Request::new().sign(&signer());
        let again = request.headers.get(name).unwrap().clone();
        request.headers.append(name, again);
        assert_eq!(verify(&request), Err(ProofFailure::SignatureMalformed), "{name}");
    }
}

#[test]
fn a_label_given_twice_is_refused() {
    let mut request = Request::new().sign(&signer());
    for name in ["signature-input", "signature"] {
        let again = request.headers.get(name).unwrap().clone();
        request.headers.append(name, again);
    }
    assert_eq!(verify(&request), Err(ProofFailure::SignatureMalformed));
}

#[test]
fn what_is_too_large_or_too_much_is_refused() {
    let spoil = |input: String, signature: String| {
        let mut request = Request::new();
        request.set("signature-input", &input);
        request.set("signature", &signature);
        verify(&request)
    };
    let many = |count: usize, with: &str| (0..count).map(|at| format!("s{at}={with}")).collect::<Vec<_>>().join(", ");
    assert_eq!(spoil(many(5, "();keyid=\"x\""), many(5, ":AA==:")), Err(ProofFailure::SignatureMalformed));
    assert_eq!(spoil(many(4, "();keyid=\"x\""), many(4, ":AA==:")), Err(ProofFailure::SignatureKey));
    let wide: Vec<_> = (0..33).map(|at| format!("\"x-{at}\"")).collect();
    let wide = format!("s=({});created=1;expires=2;nonce=\"n\";keyid=\"ci\"", wide.join(" "));
    assert_eq!(spoil(wide, "s=:AA==:".into()), Err(ProofFailure::SignatureMalformed));
    let large = format!("s=();keyid=\"{}\"", "x".repeat(9000));
    assert_eq!(spoil(large, "s=:AA==:".into()), Err(ProofFailure::SignatureMalformed));
    assert_eq!(spoil(String::new(), String::new()), Err(ProofFailure::SignatureMalformed), "no signature at all");
    assert_eq!(spoil("s=1".into(), "s=:AA==:".into()), Err(ProofFailure::SignatureKey), "no list");
    assert_eq!(spoil("s=();keyid=\"ci\"".into(), "s=()".into()), Err(ProofFailure::SignatureMalformed));
    assert_eq!(spoil("s=();keyid=\"ci\"".into(), "s=\"AA\"".into()), Err(ProofFailure::SignatureMalformed));
}

#[test]
fn freshness_is_judged_in_both_directions_and_before_the_nonce_is_taken() {
    let (verifier, request, memory) =
        (verifier(), Request::new().sign_as(&ALL, &GOOD.replace("300;", "900;")), Embedded::new(10));
    let at = |now| verify_at(&verifier, &request, Timestamp(NOW.0 + now), &memory);
    let early = verify_at(&verifier, &request, Timestamp(NOW.0 - 300_001), &memory);
    assert_eq!(early, Err(ProofFailure::SignatureStale), "further in the future than clocks are off by");
    assert_eq!(at(600_001), Err(ProofFailure::SignatureStale), "too old");
    assert!(at(600_000).unwrap().is_some(), "the last moment, and nobody has taken the nonce yet");
    assert_eq!(at(600_000), Err(ProofFailure::SignatureReplayed));
    assert_eq!(at(600_001), Err(ProofFailure::SignatureStale), "stale goes before replayed");
    let brief = Request::new().sign_as(&ALL, &GOOD.replace("1700000300", "1700000010"));
    let memory = Embedded::new(10);
    let expired = verify_at(&verifier, &brief, Timestamp(NOW.0 + 10_001), &memory);
    assert_eq!(expired, Err(ProofFailure::SignatureStale), "`expires` counts even within the maximum age");
    assert!(verify_at(&verifier, &brief, Timestamp(NOW.0 - 300_000), &memory).unwrap().is_some());
}

#[test]
fn a_clock_that_is_set_back_brings_no_nonce_back() {
    let (verifier, request, memory) = (verifier(), Request::new().sign(&signer()), Embedded::new(10));
    let mut other = Request::new();
    other.set("mcp-session-id", "s-2");
    let other = other.sign_as(&ALL, &GOOD.replace("n-1", "n-2").replace("1700000300", "1700000900"));
    assert!(verify_at(&verifier, &request, NOW, &memory).unwrap().is_some());
    // The other request makes the store forget what is over; ten minutes later the clock is five minutes wrong.
    assert!(verify_at(&verifier, &other, Timestamp(NOW.0 + 600_000), &memory).unwrap().is_some());
    for back in [300_000, 0] {
        let again = verify_at(&verifier, &request, Timestamp(NOW.0 + back), &memory);
        assert_eq!(again, Err(ProofFailure::SignatureReplayed), "{back}");
    }
}

#[test]
fn a_nonce_counts_once_per_key_and_of_many_at_once_exactly_one() {
    let (verifier, memory) = (verifier(), Embedded::new(10));
    let p256 = Signer::new("cd", PRIVATE_P256.as_bytes()).unwrap();
    let (request, other) = (Request::new().sign(&signer()), Request::new().sign(&p256));
    let good = std::thread::scope(|scope| {
        let threads: Vec<_> =
            (0..16).map(|_| scope.spawn(|| verify_at(&verifier, &request, NOW, &memory).is_ok())).collect();
        threads.into_iter().map(|thread| usize::from(thread.join().unwrap())).sum::<usize>()
    });
    assert_eq!(good, 1);
    assert!(verify_at(&verifier, &other, NOW, &memory).unwrap().is_some(), "the same nonce under another key");
}

#[test]
fn a_full_store_refuses_and_forgeries_do_not_fill_it() {
    let (verifier, memory) = (verifier(), Embedded::new(1));
    let mut forged = Request::new().sign(&signer());
    forged.body.push(b' ');
    assert_eq!(verify_at(&verifier, &forged, NOW, &memory), Err(ProofFailure::DigestMismatch));
    let first = Request::new().sign(&signer());
    assert!(verify_at(&verifier, &first, NOW, &memory).unwrap().is_some());
    let second = Request::new().sign_as(&ALL, &GOOD.replace("n-1", "n-2"));
    assert_eq!(verify_at(&verifier, &second, NOW, &memory), Err(ProofFailure::ReplayUnknown));
}

#[test]
fn every_digest_that_is_known_must_be_the_bodys_and_one_must_be_known() {
    use aws_lc_rs::digest::{SHA512, digest};
    let sha256 = super::digest::of(BODY.as_bytes());
    let sha512 = format!("sha-512=:{}:", base64(digest(&SHA512, BODY.as_bytes()).as_ref()));
    let with = |value: &str| {
        let mut request = Request::new();
        request.set("content-digest", value);
        verify(&request.sign_as(&ALL, GOOD)).map(|signature| signature.is_some())
    };
    for good in [&sha256, &sha512, &format!("{sha256}, {sha512}"), &format!("md5=:AAAA:, {sha512}")] {
        assert_eq!(with(good), Ok(true), "{good}");
    }
    for bad in ["md5=:AAAA:", "sha-256=:AAAA:", "sha-256=::", &format!("{sha256}, sha-512=:AAAA:"), ""] {
        assert_eq!(with(bad), Err(ProofFailure::DigestMismatch), "{bad}");
    }
    for bad in
        ["sha-256=\"AAAA\"", "sha-256=(:AAAA:)", "sha-256", &format!("sha-256=:AAAA:, {sha256}"), "=", "SHA-256=:AA==:"]
    {
        assert_eq!(with(bad), Err(ProofFailure::SignatureMalformed), "{bad}");
    }
}

#[test]
fn a_digest_of_no_body_is_still_checked() {
    let mut request = Request { body: Vec::new(), ..Request::new() };
    request.set("content-digest", &super::digest::of(b"other"));
    assert_eq!(verify(&request.sign_as(&ALL, GOOD)), Err(ProofFailure::DigestMismatch));
}

#[test]
fn what_is_not_ascii_is_refused() {
    let mut request = Request::new().sign(&signer());
    request.headers.insert("mcp-session-id", HeaderValue::from_bytes(b"s\xff").unwrap());
    assert_eq!(verify(&request), Err(ProofFailure::SignatureMalformed));
    let mut request = Request::new().sign(&signer());
    request.target = "https://gateway.example/mcp\n\"@method\": GET".into();
    assert_eq!(verify(&request), Err(ProofFailure::SignatureMalformed));
    request.target = "/mcp".into();
    assert_eq!(verify(&request), Err(ProofFailure::SignatureMalformed), "no absolute URI");
}

#[test]
fn nonces_made_here_differ_and_are_long_enough() {
    let request = Request::new();
    let nonce = || {
        let added = signer().sign(&request.signed(), NOW, Duration::from_secs(1), None).unwrap();
        let input = added.iter().find(|(name, _)| name == HeaderName::from_static("signature-input")).unwrap();
        let text = input.1.to_str().unwrap();
        text.split("nonce=\"").nth(1).unwrap().split('"').next().unwrap().to_owned()
    };
    let (one, other) = (nonce(), nonce());
    assert_ne!(one, other);
    assert_eq!(one.len(), 24);
}

#[test]
fn what_cannot_stand_in_a_header_is_not_signed() {
    assert!(Signer::new("", PRIVATE.as_bytes()).is_err());
    assert!(Signer::new("a\"b", PRIVATE.as_bytes()).is_err());
    assert!(Signer::new("ci", PUBLIC.as_bytes()).is_err(), "a public key signs nothing");
    let request = Request::new();
    assert!(signer().sign(&request.signed(), NOW, Duration::from_secs(1), Some("a\"b")).is_err());
}
