//! `portcullis sign`: what it prints is a signature that a gateway accepts, over what it was given and nothing else.

use std::io::Write as _;
use std::process::{Command, Stdio};
use std::time::SystemTime;

use http::{HeaderMap, HeaderName, HeaderValue};
use portcullis_core::clock::Timestamp;
use portcullis_core::memory::Embedded;
use portcullis_core::refusal::ProofFailure;
use portcullis_identity::signature::{KeySource, SignatureSettings, SignatureVerifier, Signed, SignerSettings};

use crate::support::{Ended, Folder, portcullis, run};

// The keys of RFC 9421, B.1.4 and B.1.3.
const PRIVATE: &str = include_str!("../../../../fixtures/signing/ed25519.pem");
const PUBLIC: &str = include_str!("../../../../fixtures/signing/ed25519.pub.pem");
const PRIVATE_P256: &str = include_str!("../../../../fixtures/signing/p256.pem");
const PUBLIC_P256: &str = include_str!("../../../../fixtures/signing/p256.pub.pem");

const BODY: &str = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"it's"}}"#;
const URL: &str = "https://gateway.example/mcp?team=a";

/// A folder with keys and a body.
fn folder() -> Folder {
    let folder = Folder::new();
    for (name, text) in [("ci.pem", PRIVATE), ("cd.pem", PRIVATE_P256), ("call.json", BODY)] {
        folder.write(name, text);
    }
    folder
}

fn headers<'a>(lines: impl Iterator<Item = &'a str>) -> HeaderMap {
    let pairs = lines.map(|line| line.split_once(": ").unwrap());
    pairs.map(|(name, value)| (name.parse::<HeaderName>().unwrap(), HeaderValue::from_str(value).unwrap())).collect()
}

/// Whose signature a gateway finds on the request.
fn verify(method: &str, url: &str, headers: &HeaderMap, body: &str) -> Result<String, ProofFailure> {
    let signers = [("ci", PUBLIC), ("cd", PUBLIC_P256)].map(|(key_id, pem)| SignerSettings {
        key_id: key_id.to_owned(),
        public_key: KeySource::Pem(pem.to_owned()),
        algorithm: None,
        workload: "build".to_owned(),
        scope: Default::default(),
        execution: Default::default(),
    });
    let settings = SignatureSettings { required: true, signers: signers.into(), ..SignatureSettings::default() };
    let verifier = SignatureVerifier::new(&settings).unwrap();
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_millis();
    let now = Timestamp(u64::try_from(now).unwrap());
    let signed = Signed { method, target_uri: url, headers, body: body.as_bytes(), session: None };
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let found = runtime.block_on(verifier.verify(&signed, now, &Embedded::new(10)));
    found.map(|signature| signature.unwrap().key_id.to_string()).map_err(|failed| failed.failure)
}

#[test]
fn both_kinds_of_key_sign_what_a_gateway_verifies_and_nothing_else() {
    let folder = folder();
    for key_id in ["ci", "cd"] {
        let key = format!("{key_id}.pem");
        let mut args = vec!["sign", "--key-id", key_id, "--key", &key, "--url", URL];
        args.extend(["-H", "Mcp-Session-Id: s-1", "--header", "MCP-Protocol-Version:2025-11-25", "call.json"]);
        let ended = run(&folder, &args);
        assert_eq!((ended.code, &*ended.err), (0, ""), "{}", ended.out);
        let mut whole = headers(ended.out.lines());
        assert_eq!(whole.keys().collect::<Vec<_>>(), ["content-digest", "signature-input", "signature"]);
        whole.insert("mcp-session-id", HeaderValue::from_static("s-1"));
        whole.insert("mcp-protocol-version", HeaderValue::from_static("2025-11-25"));
        assert_eq!(verify("POST", URL, &whole, BODY).as_deref(), Ok(key_id));
        assert_eq!(verify("PUT", URL, &whole, BODY), Err(ProofFailure::SignatureInvalid));
        assert_eq!(verify("POST", "https://gateway.example/mcp", &whole, BODY), Err(ProofFailure::SignatureInvalid));
        assert_eq!(verify("POST", URL, &whole, "{}"), Err(ProofFailure::DigestMismatch));
        whole.insert("mcp-session-id", HeaderValue::from_static("s-2"));
        assert_eq!(verify("POST", URL, &whole, BODY), Err(ProofFailure::SignatureInvalid));
    }
}

#[test]
fn without_a_body_a_get_is_signed_and_no_path_is_the_root() {
    let args = ["sign", "--key-id", "ci", "--key", "ci.pem", "--url", "https://gateway.example", "--expires-in", "2m"];
    let ended = run(&folder(), &args);
    let signed = headers(ended.out.lines());
    assert_eq!(verify("GET", "https://gateway.example/", &signed, "").as_deref(), Ok("ci"), "{}", ended.err);
    let number = |name: &str| {
        let (_, rest) = ended.out.split_once(&format!(";{name}=")).unwrap();
        rest.split(';').next().unwrap().parse::<u64>().unwrap()
    };
    assert_eq!(number("expires") - number("created"), 120);
}

/// What the printed command would give to `curl`, by a shell's own reading.
fn words(command: &str) -> Vec<String> {
    let script = format!("curl() {{ printf '%s\\0' \"$@\"; }}\n{command}");
    let output = Command::new("sh").args(["-c", &script]).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    text.trim_end_matches('\0').split('\0').map(str::to_owned).collect()
}

fn after(words: &[String], option: &str) -> Vec<String> {
    let pairs = words.windows(2).filter(|pair| pair[0] == option);
    pairs.map(|pair| pair[1].clone()).collect()
}

#[test]
fn the_printed_command_sends_what_was_signed() {
    let folder = folder();
    let sign = ["sign", "--key-id", "ci", "--key", "ci.pem", "--url", URL, "--curl", "-H", "X-Team: it's a"];
    let from_file = words(&run(&folder, &[&sign[..], &["call.json"]].concat()).out);
    assert_eq!(after(&from_file, "--data-binary"), ["@call.json"]);

    let mut child =
        portcullis(folder.path()).args(sign).arg("-").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(BODY.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let from_input = words(std::str::from_utf8(&output.stdout).unwrap());
    assert_eq!(after(&from_input, "--data-raw"), [BODY]);

    for words in [from_file, from_input] {
        assert_eq!(after(&words, "-X"), ["POST"]);
        assert!(words.contains(&URL.to_owned()), "{words:?}");
        let sent = after(&words, "-H");
        let sent = headers(sent.iter().map(String::as_str));
        assert_eq!(verify("POST", URL, &sent, BODY).as_deref(), Ok("ci"));
        assert_eq!(sent["x-team"], "it's a");
        assert_eq!(sent["accept"], "application/json, text/event-stream");
    }
}

#[test]
fn what_cannot_be_signed_says_why_and_what_to_do() {
    let folder = folder();
    folder.write("public.pem", PUBLIC);
    let refused = |more: &[&str], texts: &[&str]| {
        let Ended { code, out, err } = run(&folder, &[&["sign"], more].concat());
        assert_eq!((code, &*out), (2, ""), "{more:?}");
        assert!(texts.iter().all(|text| err.contains(text)), "{more:?}: {err}");
    };
    let good = ["--key-id", "ci", "--key", "ci.pem"];
    let with = |more: &'static [&'static str]| [&good[..], more].concat();
    refused(&["--key-id", "ci", "--key", "none.pem"], &["none.pem", "openssl genpkey"]);
    refused(&["--key-id", "ci", "--key", "public.pem"], &["public.pem", "private key"]);
    refused(&["--key-id", "a\"b", "--key", "ci.pem"], &["key id", "quotes"]);
    refused(&with(&["none.json"]), &["cannot read `none.json`"]);
    refused(&with(&["--url", "gateway.example/mcp"]), &["https://gateway.example/mcp"]);
    refused(&with(&["--url", "https://gateway.example/mcp#top"]), &["fragment"]);
    refused(&with(&["--url", "https://me@gateway.example/mcp"]), &["user"]);
    refused(&with(&["--method", "P OST"]), &["no HTTP method"]);
    refused(&with(&["-H", "no colon"]), &["name: value"]);
    refused(&with(&["-H", "Signature: sig1=:AA:"]), &["leave it out"]);
    refused(&with(&["-H", "Mcp-Session-Id: a", "-H", "Mcp-Session-Id: b"]), &["cannot be signed"]);
    for time in ["0s", "1h", "", "1441m", "-5s"] {
        refused(&[&good[..], &[&format!("--expires-in={time}")]].concat(), &["--expires-in"]);
    }
}
