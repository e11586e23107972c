//! Three gateways in a row, `edge`, `hub` and `inner`, in front of one server: with keys that everybody verifies, and with secrets between
//! neighbours.

use std::path::Path;
use std::time::Duration;

use crate::Failure;
use crate::clients::{reference_http, told};
use crate::gateway::Gateway;
use crate::identity::script;
use crate::layout::Layout;
use crate::process;
use crate::report::Tally;
use crate::setup;

const TOOL: Duration = Duration::from_secs(60);
const NAMES: [&str; 3] = ["edge", "hub", "inner"];

/// Of the last gateway, which only the two in front may ask something for themselves. An agent of the chain is a principal of its own, so what
/// guests may not do is not done for them either.
const POLICY: &str = r#"
@id("own-questions")
permit (principal, action in [Mcp::Action::"protocol", Mcp::Action::"read"], resource)
when { context.chain.length == 1 && context.chain.verified };

@id("known-hands")
permit (principal, action, resource) when { context.chain.length == 2 && context.chain.verified };

@id("guests-delete-nothing")
forbid (principal in Mcp::Group::"guests", action == server::Action::"delete_note", resource);
"#;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Ed25519,
    Hs256,
}

pub(super) fn check(layout: &Layout, folder: &Path, kind: Kind, tally: &mut Tally) -> Result<(), Failure> {
    std::fs::write(folder.join("inner.cedar"), POLICY)?;
    let callers = [("edge", "ana"), ("hub", "edge"), ("inner", "hub")];
    let hashes: Vec<String> =
        callers.iter().map(|(gateway, caller)| api_key(layout, folder, gateway, caller)).collect::<Result<_, _>>()?;
    make_keys(layout, folder, kind)?;
    let server = reference_http(layout, folder, "both")?;
    let mut next = server.peer.as_ref().map(|peer| peer.url.clone()).unwrap_or_default();
    let mut gateways = Vec::new();
    for (place, ((name, caller), hash)) in callers.iter().zip(&hashes).enumerate().rev() {
        let configuration = configuration(place, name, caller, hash, &next, kind);
        let gateway = Gateway::configured(layout, folder, name, &configuration)?;
        next = gateway.url().to_owned();
        gateways.push(gateway);
    }
    gateways.reverse();
    let [edge, hub, inner] = gateways.as_slice() else { return Err("three gateways were to be started".into()) };
    let arguments = [&folder.display().to_string(), edge.url(), hub.url(), inner.url()];
    told(&format!("{kind:?} chain"), &mut script(layout, "chain", &arguments), 5, edge, tally)?;
    let header = format!("x-api-key={}", std::fs::read_to_string(folder.join("edge.key"))?);
    for era in ["legacy", "modern"] {
        let mut command = layout.program(setup::node(layout), &[&format!("fixtures/clients/ts/{era}.mjs"), edge.url()]);
        command.args(["--profile", "reference", "--header", &header]);
        told(&format!("{kind:?} {era}"), &mut command, 10, edge, tally)?;
    }
    for gateway in gateways {
        gateway.stop(layout, tally)?;
    }
    let log = std::fs::read_to_string(folder.join("inner-audit/audit-00000001.jsonl"))?;
    tally.check(log.contains("\"chain_denied\",\"detail\":\"entry 0, `agent:ana`"), || {
        format!("{kind:?} chain: the last gateway's log does not name who may not: {}", folder.display())
    });
    Ok(())
}

/// A key for `caller` at `gateway`, in `GATEWAY.key`; its hash.
fn api_key(layout: &Layout, folder: &Path, gateway: &str, caller: &str) -> Result<String, Failure> {
    let lines = process::must(&mut layout.program(layout.built("portcullis"), &["keys", "new", caller]), TOOL)?;
    let key = lines.iter().find_map(|line| line.strip_prefix("# key: ")).ok_or("`keys new` printed no key")?;
    std::fs::write(folder.join(format!("{gateway}.key")), key)?;
    let hash = lines.iter().find_map(|line| line.split_once("sha256: ")).ok_or("`keys new` printed no hash")?.1;
    Ok(hash.chars().take_while(char::is_ascii_hexdigit).collect())
}

/// `NAME.pem` and `NAME-1.pub.pem` of each gateway, or `NAME-1.secret` of each and the next.
fn make_keys(layout: &Layout, folder: &Path, kind: Kind) -> Result<(), Failure> {
    for name in NAMES {
        let path = |ending: &str| folder.join(format!("{name}{ending}")).display().to_string();
        let (private, public, secret) = (path(".pem"), path("-1.pub.pem"), path("-1.secret"));
        let commands: &[&[&str]] = match kind {
            Kind::Ed25519 => &[
                &["genpkey", "-algorithm", "ed25519", "-out", &private],
                &["pkey", "-in", &private, "-pubout", "-out", &public],
            ],
            Kind::Hs256 => &[&["rand", "-hex", "-out", &secret, "32"]],
        };
        for arguments in commands {
            process::must(&mut layout.program("openssl", arguments), TOOL)?;
        }
    }
    Ok(())
}

/// The gateway at `place` of the three, which `caller` calls, and which asks `next`.
fn configuration(place: usize, name: &str, caller: &str, hash: &str, next: &str, kind: Kind) -> String {
    let before = place.checked_sub(1).and_then(|place| NAMES.get(place));
    let behind = NAMES.get(place + 1);
    let to = behind.unwrap_or(&"server");
    let headers = behind.map(|behind| format!(", headers: {{ x-api-key: {{ file: {behind}.key }} }}"));
    let policy = if behind.is_some() { "observe" } else { "inner.cedar" };
    let mut text = format!(
        "listen: 127.0.0.1:0
policy: {policy}
upstream: {{ http: {{ url: '{next}', next_gateway: {to}{} }} }}
identity:
  keys: [{{ name: {caller}, sha256: {hash} }}]
  chains:
    gateway: {name}
    required: {}
    agents: [{{ name: ana, groups: [guests] }}]
    keys:
",
        headers.unwrap_or_default(),
        before.is_some(),
    );
    match kind {
        Kind::Ed25519 => {
            for from in NAMES.iter().take(place) {
                text.push_str(&format!(
                    "      - {{ key_id: {from}-1, gateway: {from}, algorithm: ed25519, direction: incoming, key: {{ file: {from}-1.pub.pem }} }}\n"
                ));
            }
            text.push_str(&format!(
                "      - {{ key_id: {name}-1, algorithm: ed25519, direction: outgoing, key: {{ file: {name}.pem }} }}\n"
            ));
        }
        Kind::Hs256 => {
            if let Some(from) = before {
                text.push_str(&format!(
                    "      - {{ key_id: {from}-1, gateway: {from}, algorithm: hs256, direction: incoming, vouches: true, key: {{ file: {from}-1.secret }} }}\n"
                ));
            }
            text.push_str(&format!(
                "      - {{ key_id: {name}-1, gateway: {to}, algorithm: hs256, direction: outgoing, key: {{ file: {name}-1.secret }} }}\n"
            ));
        }
    }
    text
}
