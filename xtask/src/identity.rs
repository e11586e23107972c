//! Who calls, from outside: clients of the official SDKs log in at a real authorization server through the gateway, its keys change meanwhile,
//! servers behind it are shown tokens of their own, and three gateways in a row pass on whose hands a request went through.

mod chain;

use std::path::Path;

use crate::clients::{Started, reference_http, told};
use crate::gateway::Gateway;
use crate::layout::Layout;
use crate::peer::{Peer, free_port};
use crate::report::Tally;
use crate::setup::{self, Python};
use crate::{Failure, process};

type Flow = fn(&Layout, &Path, &mut Tally) -> Result<(), Failure>;

const FLOWS: [(&str, Flow); 6] = [
    ("log-in", log_in),
    ("possession", possession),
    ("own-token", |layout, folder, tally| credentials(layout, folder, "client_credentials", tally)),
    ("exchange", |layout, folder, tally| credentials(layout, folder, "token_exchange", tally)),
    ("chain-ed25519", |layout, folder, tally| chain::check(layout, folder, chain::Kind::Ed25519, tally)),
    ("chain-hs256", |layout, folder, tally| chain::check(layout, folder, chain::Kind::Hs256, tally)),
];

pub(crate) fn check(layout: &Layout) -> Result<Tally, Failure> {
    let folder = layout.fresh("identity")?;
    let mut tally = Tally::default();
    for (name, flow) in FLOWS {
        let folder = folder.join(name);
        std::fs::create_dir_all(&folder)?;
        std::fs::write(folder.join("agents.cedar"), POLICY)?;
        if let Err(failure) = flow(layout, &folder, &mut tally) {
            if process::interrupted() {
                return Err(failure);
            }
            tally.fail(format!("{name}: {failure}"));
        }
    }
    Ok(tally)
}

/// A script of `fixtures/clients/identity`.
fn script(layout: &Layout, name: &str, arguments: &[&str]) -> std::process::Command {
    let mut command = layout.program(setup::node(layout), &[&format!("fixtures/clients/identity/{name}.mjs")]);
    command.args(arguments);
    command
}

/// `oidc-provider`, issuing for `resource` unless a client asks for another one.
fn authorization_server(layout: &Layout, folder: &Path, resource: &str) -> Result<Peer, Failure> {
    let port = free_port()?.to_string();
    let arguments = ["fixtures/clients/authorization-server.mjs", &port, resource];
    let mut command = layout.program(setup::node(layout), &arguments);
    let ready = |line: &str| line.strip_prefix("ready ").map(str::to_owned);
    Peer::start(&mut command, &folder.join("authorization-server.log"), ready)
}

/// Everybody may do everything, but no program that acts for somebody may count.
const POLICY: &str = r#"
@id("everything")
permit (principal, action, resource);

@id("programs-do-not-count")
forbid (principal, action == server::Action::"counter", resource) when { context has agent };
"#;

/// The configuration of a gateway at `port` that takes tokens of `issuer`; opaque ones for `RESOURCE/opaque` too. `add` needs a scope more
/// than everything else. Keys are fetched every second, so that a test of their change takes no minutes.
/// The same server speaks of agents, for want of a second one.
fn resource_server(port: u16, issuer: &str, upstream: &str) -> String {
    format!(
        "listen: 127.0.0.1:{port}
policy: agents.cedar
upstream: {{ http: {upstream} }}
identity:
  oauth:
    resource: http://127.0.0.1:{port}/mcp
    scope_implies: {{ admin: [tools:read, tools:write] }}
    scopes: {{ '*': [tools:read], 'tools/call:add': [tools:write] }}
    issuers:
      - name: login
        issuer: {issuer}
        keys: {{ refresh_seconds: 1, interval_seconds: 1 }}
        audiences: ['http://127.0.0.1:{port}/mcp/opaque']
        introspection:
          url: {issuer}/token/introspection
          client_id: gateway
          client_secret: {{ value: gateway-secret }}
          client_is_subject: true
  agents:
    issuers: [{{ name: platform, issuer: '{issuer}', types: [at+jwt] }}]
"
    )
}

/// A gateway in front of the reference server, its authorization server, and what must live as long.
fn in_front(layout: &Layout, folder: &Path, more: &str) -> Result<(Gateway, Peer, Started), Failure> {
    let port = free_port()?;
    let issuer = authorization_server(layout, folder, &format!("http://127.0.0.1:{port}/mcp"))?;
    let server = reference_http(layout, folder, "both")?;
    let upstream = server.peer.as_ref().map(|peer| format!("{{ url: '{}' }}", peer.url)).unwrap_or_default();
    let configuration = resource_server(port, &issuer.url, &upstream) + more;
    Ok((Gateway::configured(layout, folder, "resource-server", &configuration)?, issuer, server))
}

fn log_in(layout: &Layout, folder: &Path, tally: &mut Tally) -> Result<(), Failure> {
    let (gateway, issuer, _server) = in_front(layout, folder, "")?;
    for kind in ["legacy", "modern", "dpop"] {
        let mut command = script(layout, "oauth", &[kind, gateway.url()]);
        told(&format!("log-in {kind}"), &mut command, 8, &gateway, tally)?;
    }
    for (era, python) in [("legacy", Python::Legacy), ("modern", Python::Current)] {
        let arguments = ["fixtures/clients/identity/oauth.py", era, gateway.url()];
        let mut command = layout.program(python.program(layout), &arguments);
        told(&format!("log-in py-{era}"), &mut command, 5, &gateway, tally)?;
    }
    let mut command = script(layout, "tokens", &[gateway.url(), &issuer.url]);
    told("log-in tokens", &mut command, 12, &gateway, tally)?;
    gateway.stop(layout, tally)
}

/// Every token must be bound to a key, and every proof must hold a nonce of the gateway's.
fn possession(layout: &Layout, folder: &Path, tally: &mut Tally) -> Result<(), Failure> {
    let (gateway, _issuer, _server) = in_front(layout, folder, "  dpop: { mode: required, nonces: true }\n")?;
    told("possession", &mut script(layout, "oauth", &["dpop", gateway.url()]), 9, &gateway, tally)?;
    gateway.stop(layout, tally)
}

/// The server behind the gateway takes nobody's token but its own.
fn credentials(layout: &Layout, folder: &Path, grant: &str, tally: &mut Tally) -> Result<(), Failure> {
    let port = free_port()?;
    let issuer = authorization_server(layout, folder, &format!("http://127.0.0.1:{port}/mcp"))?;
    let log = folder.join("server.log");
    let server = Peer::start(&mut script(layout, "resource-server", &[&issuer.url]), &log, Peer::announced)?;
    let upstream = format!(
        "{{ url: '{}', credentials: {{ grant: {grant}, issuer: '{}', client_id: gateway, client_secret: {{ value: gateway-secret }}, scopes: [tools] }} }}",
        server.url, issuer.url
    );
    let configuration = resource_server(port, &issuer.url, &upstream);
    let gateway = Gateway::configured(layout, folder, grant, &configuration)?;
    let mut command = script(layout, "upstream", &[grant, gateway.url(), &issuer.url, &server.url]);
    told(grant, &mut command, 1, &gateway, tally)?;
    gateway.stop(layout, tally)
}
