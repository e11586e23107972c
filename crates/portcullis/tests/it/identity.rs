//! Who is calling, from the operator's side: a configuration with everything in it, what the gateway says and records of proofs, what `check` and
//! `explain` say.

use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::contract::stage::Log;
use crate::support::{Answer, Folder, HELLO, LEGACY, Running, Server, http, in_session, run};

const PUBLIC: &str = "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEAJrQLj5P/89iXES9+vFgrIy29clF9CC/oPPsw3c5D0bs=\n-----END PUBLIC KEY-----\n";
const PRIVATE: &str = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIJ+DYvh6SEqVTm50DFtMDoQikTmiCqirVv9mWG9qfSnF\n-----END PRIVATE KEY-----\n";

/// Everything about callers that a file can say.
const COMPLETE: &str = "\
public_url: https://gateway.example/mcp
policy: observe
identity:
  anonymous: false
  keys:
    - { name: ci, sha256: 5e884898da28047151d0e56f8dc6292773603d0d6aabbdd62a11ef721d1542d8, groups: [machines] }
  oauth:
    issuers:
      - name: acme
        issuer: https://issuer.example
        keys: { file: keys.json, algorithms: [ES256] }
        claims: { groups: [groups], attributes: { team: team } }
    scope_implies: { admin: [mcp, pay] }
    scopes: { '*': [mcp], 'tools/call:pay': [pay] }
  dpop: { mode: optional }
  agents:
    issuers:
      - { name: agents, issuer: 'urn:agents', keys: { file: keys.json, algorithms: [ES256] } }
  signatures:
    signers:
      - { key_id: ci, public_key: { file: ci.pub }, workload: 'spiffe://prod.example/ci' }
  chains:
    gateway: gateway
    keys:
      - { key_id: k1, gateway: edge, algorithm: hs256, direction: incoming, key: { file: shared } }
";

/// An issuer, and a folder with its public key, the others' keys and a configuration.
pub(crate) struct Issuer {
    key: EcdsaKeyPair,
    pub(crate) folder: Folder,
}

impl Issuer {
    pub(crate) fn new() -> Self {
        let (key, folder) = (EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap(), Folder::new());
        let point = key.public_key().as_ref();
        let (x, y) = (encode(&point[1..33]), encode(&point[33..]));
        folder
            .write("keys.json", &format!(r#"{{"keys":[{{"kty":"EC","crv":"P-256","kid":"a","x":"{x}","y":"{y}"}}]}}"#));
        folder.write("shared", "a secret that two gateways share");
        folder.write("ci.pub", PUBLIC);
        folder.write("ci.pem", PRIVATE);
        folder.write("p.yaml", COMPLETE);
        Self { key, folder }
    }

    fn sign(&self, typ: &str, claims: &str) -> String {
        let header = format!(r#"{{"alg":"ES256","kid":"a","typ":"{typ}"}}"#);
        let signed = format!("{}.{}", encode(header.as_bytes()), encode(claims.as_bytes()));
        let signature = self.key.sign(&SystemRandom::new(), signed.as_bytes()).unwrap();
        format!("{signed}.{}", encode(signature.as_ref()))
    }

    /// A token of `ana`, over in so many seconds.
    pub(crate) fn token(&self, seconds: i64, scope: &str) -> String {
        let now = i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()).unwrap();
        let expires = now + seconds;
        self.sign(
            "at+jwt",
            &format!(
                r#"{{"iss":"https://issuer.example","aud":"https://gateway.example/mcp","sub":"ana","client_id":"editor","exp":{expires},"scope":"{scope}","groups":["finance"],"team":"blue"}}"#
            ),
        )
    }

    fn agent(&self) -> String {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        let claims = format!(
            r#"{{"iss":"urn:agents","aud":"https://gateway.example/mcp","sub":"mail","iat":{now},"exp":{}}}"#,
            now + 60
        );
        self.sign("JWT", &claims)
    }
}

fn encode(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

fn code(answer: &Answer) -> String {
    let body: serde_json::Value = serde_json::from_str(&answer.body).unwrap_or_default();
    body["error"]["data"]["code"].as_str().unwrap_or_default().to_owned()
}

#[test]
fn a_complete_configuration_is_right_and_its_gateway_asks_for_what_it_says() {
    let issuer = Issuer::new();
    let checked = run(&issuer.folder, &["check", "--config", "p.yaml"]);
    assert_eq!(checked.code, 0, "{checked:?}");
    let server = Server::start();
    let (mut gateway, address) = Running::gateway(&issuer.folder, &["--config", "p.yaml", "--upstream", &server.url()]);
    gateway.wait_for("callers  1 key, tokens of acme");
    let ask = |headers: &[(&str, &str)]| http(address, "POST", "/mcp", &[&LEGACY, headers].concat(), HELLO);
    let nothing = ask(&[]);
    assert_eq!(nothing.status, 401);
    let metadata = "https://gateway.example/.well-known/oauth-protected-resource/mcp";
    assert_eq!(
        nothing.header("www-authenticate").unwrap(),
        format!(r#"Bearer scope="mcp",resource_metadata="{metadata}""#)
    );
    let document = http(address, "GET", "/.well-known/oauth-protected-resource/mcp", &[], "");
    assert!(document.body.contains(r#""authorization_servers":["https://issuer.example"]"#), "{document:?}");
    let bearer = |token: &str| format!("Bearer {token}");
    let good = bearer(&issuer.token(600, "mcp"));
    for (headers, status, expected) in [
        (vec![("authorization", good.clone())], 200, ""),
        (vec![("authorization", bearer("password"))], 200, ""),
        (vec![("authorization", bearer(&issuer.token(-120, "mcp")))], 401, "token_expired"),
        (vec![("authorization", bearer(&issuer.token(600, "other")))], 403, "insufficient_scope"),
        (vec![("authorization", good.clone()), ("x-agent-identity", issuer.agent())], 200, ""),
        (vec![("authorization", good.clone()), ("x-agent-identity", "mail".into())], 401, "agent_invalid"),
        (vec![("authorization", good.clone()), ("x-upstream-agents", "[\"x\"]".into())], 400, "chain_malformed"),
        (vec![("authorization", good.clone()), ("signature-input", "sig1=()".into())], 400, "signature_malformed"),
    ] {
        let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let answer = ask(&headers);
        assert_eq!((answer.status, code(&answer).as_str()), (status, expected), "{answer:?}");
    }
    // A call, with a scope that a challenge asks for.
    let opened = ask(&[("authorization", &good)]);
    let session = opened.header("mcp-session-id").unwrap();
    let call = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"pay","arguments":{"amount":1}}}"#;
    let pay = |token: &str| {
        let more = [("mcp-session-id", session), ("authorization", token)];
        http(address, "POST", "/mcp", &[&LEGACY[..], &more].concat(), call)
    };
    let short = pay(&good);
    assert_eq!(short.status, 403);
    assert!(short.header("www-authenticate").unwrap().contains(r#"scope="mcp pay""#), "{short:?}");
    assert_eq!(pay(&bearer(&issuer.token(600, "admin"))).status, 200, "which implies both");
    assert_eq!(in_session(address, session, call).status, 401, "a session proves nothing");
    gateway.signal("INT");
    assert!(gateway.end().success());
    let log = Log::of(&issuer.folder);
    for expected in ["token_expired", "agent_invalid", "chain_malformed", "signature_malformed", "insufficient_scope"] {
        assert!(log.entries.iter().any(|entry| entry["code"] == expected), "{expected} is in the log");
    }
}

#[test]
fn check_names_the_key_and_the_line_of_what_contradicts_itself() {
    let issuer = Issuer::new();
    for (from, to, key, line) in [
        ("public_url: https://gateway.example/mcp\n", "", "identity.oauth.resource", ":"),
        ("public_url: https://gateway.example/mcp", "public_url: gateway", "public_url", ":1:"),
        (
            "algorithms: [ES256] }\n        claims",
            "algorithms: [] }\n        claims",
            "identity.oauth.issuers.0.keys.algorithms",
            ":11:",
        ),
        (
            "keys: { file: keys.json, algorithms: [ES256] }\n",
            "keys: { file: none.json }\n",
            "identity.oauth.issuers.0.keys.file",
            ":11:",
        ),
        ("    gateway: gateway\n", "", "identity.chains.gateway", ":"),
        ("  signatures:\n", "  signatures:\n    max_age_seconds: 0\n", "identity.signatures.max_age_seconds", ":20:"),
        ("  dpop: {", "  certificates: [{ dns: a.example }]\n  dpop: {", "identity.certificates", ":15:"),
    ] {
        assert!(COMPLETE.contains(from), "{from}");
        issuer.folder.write("p.yaml", &COMPLETE.replacen(from, to, 1));
        let ended = run(&issuer.folder, &["check", "--config", "p.yaml"]);
        assert_eq!(ended.code, 1, "{ended:?}");
        let found = ended
            .out
            .lines()
            .any(|text| text.contains(&format!("error[{key}]")) && text.contains(&format!("p.yaml{line}")));
        assert!(found, "{key} {line} {ended:?}");
    }
}

#[test]
fn explain_shows_what_each_proof_yields() {
    let issuer = Issuer::new();
    let call = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"pay","arguments":{"amount":1}}}"#;
    issuer.folder.write("call.json", call);
    let signed = run(
        &issuer.folder,
        &["sign", "call.json", "--key-id", "ci", "--key", "ci.pem", "--url", "https://gateway.example/mcp"],
    );
    assert_eq!(signed.code, 0, "{signed:?}");
    let token = format!("authorization: Bearer {}", issuer.token(600, "admin"));
    let agent = format!("x-agent-identity: {}", issuer.agent());
    let mut args = vec!["explain", "call.json", "--config", "p.yaml", "--header", &token, "--header", &agent];
    for line in signed.out.lines() {
        args.extend(["--header", line]);
    }
    let ended = run(&issuer.folder, &args);
    assert_eq!(ended.code, 0, "{ended:?}");
    for text in [
        "caller `acme:ana` (token), groups: finance, until ",
        "issuer https://issuer.example, client editor, scopes: admin, mcp, pay",
        "team: blue",
        "`agents:mail`",
        "`spiffe://prod.example/ci` with key `ci`",
    ] {
        assert!(ended.out.contains(text), "{text}: {}", ended.out);
    }
    let short = format!("authorization: Bearer {}", issuer.token(600, "mcp"));
    let lacking = run(&issuer.folder, &["explain", "call.json", "--config", "p.yaml", "--header", &short]);
    assert_eq!(lacking.code, 1);
    assert!(lacking.out.contains("insufficient_scope: needs the scopes mcp pay"), "{lacking:?}");
    let expired = format!("authorization: Bearer {}", issuer.token(-600, "mcp"));
    let refused = run(&issuer.folder, &["explain", "call.json", "--config", "p.yaml", "--header", &expired]);
    assert_eq!(refused.code, 1);
    assert!(refused.out.contains("token_expired: "), "{refused:?}");
}
