//! From what is written to what is meant: defaults filled in, paths resolved, and everything that is wrong found at once.

mod endpoints;
mod servers;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use portcullis_ledger::AuditError;
use portcullis_server::ServerSettings;

use self::endpoints::Parts;
use super::{
    COMMAND_LINE, Config, File, GatewaySettings, Origin, Overrides, PolicyPath, default_audit_folder, key_file, yaml,
};
use crate::finding::Finding;

/// Collects what is wrong; each complaint finds its own place in the file.
struct Complaints<'a> {
    origin: Option<&'a Origin>,
    findings: Vec<Finding>,
}

impl Complaints<'_> {
    fn add(&mut self, key: &str, text: impl Into<String>, help: impl Into<String>) {
        let (file, place) =
            self.origin.map_or((COMMAND_LINE, None), |origin| (origin.name.as_str(), yaml::locate(&origin.text, key)));
        self.findings.push(Finding::error(file, key, text).at(place).help(help));
    }

    /// Whether this was said already.
    fn has(&self, text: &str) -> bool {
        self.findings.iter().any(|finding| finding.text == text)
    }
}

/// Checks a file together with what the command line says.
pub(super) fn check(file: File, origin: Option<Origin>, overrides: &Overrides) -> Result<Config, Vec<Finding>> {
    let mut complaints = Complaints { origin: origin.as_ref(), findings: Vec::new() };
    let folder = origin.as_ref().map_or(Path::new(""), |origin| origin.folder.as_path());

    let mut server = file.server();
    server.listen = overrides.listen.unwrap_or(server.listen);
    if overrides.stdio {
        server = off_network(server);
    }
    if let Some(tls) = &mut server.tls {
        tls.relative_to(folder);
    }
    listener(&server, &mut complaints);
    times(&server, &mut complaints);
    identity(&mut server, folder, &mut complaints);

    let policy: Vec<_> = if overrides.policy.is_empty() {
        file.policy.0.iter().map(|text| PolicyPath::new(text, folder)).collect()
    } else {
        overrides.policy.iter().map(|text| PolicyPath::new(text, Path::new(""))).collect()
    };
    let (server_name, servers) = servers::servers(file.upstream, file.upstreams, folder, overrides, &mut complaints);
    gateway(&file.gateway, &mut complaints);
    let websocket = server.websocket.enabled.then_some(server.websocket.path.as_str());
    let parts = Parts { path: &server.path, websocket, gateway: &file.gateway, servers: &servers, folder };
    // Endpoints of servers that are wrong would be called wrong for that alone.
    let mut endpoints = if complaints.findings.is_empty() {
        endpoints::endpoints(&parts, &file.endpoints, &mut complaints)
    } else {
        Vec::new()
    };
    if !overrides.policy.is_empty() {
        // Whoever gives policies on the command line means everything that is served.
        endpoints.iter_mut().for_each(|endpoint| endpoint.policy.clear());
    }
    // Every client that starts us would want the same port.
    let admin = overrides.admin.or(file.admin.listen).filter(|_| !overrides.stdio);
    loopback_admin(admin, &mut complaints);
    let mut audit = file.audit;
    audit.path = audit_folder(audit.path.as_deref(), folder, overrides);
    if let Err(AuditError::Setting { key, why }) = audit.validate() {
        complaints.add(&format!("audit.{key}"), why, "remove the key to get its default");
    }

    if !complaints.findings.is_empty() {
        return Err(complaints.findings);
    }
    Ok(Config {
        server,
        stdio: overrides.stdio,
        refusals: file.refusals,
        server_name,
        servers,
        gateway: file.gateway,
        endpoints,
        policy,
        guards: file.guards,
        audit,
        admin,
        origin,
    })
}

/// What is left of a listener whose one client has started us. Its limits and times hold for that client, too.
fn off_network(server: ServerSettings) -> ServerSettings {
    let ServerSettings { sessions, limits, timeouts, .. } = server;
    ServerSettings { sessions, limits, timeouts, ..ServerSettings::default() }
}

fn listener(server: &ServerSettings, complaints: &mut Complaints<'_>) {
    if let Err(why) = check_path(&server.path) {
        complaints.add("path", why, "write something like `/mcp`");
    }
    for contradiction in server.contradictions() {
        // They begin with the name of their key.
        let (key, text) = contradiction.split_once(": ").unwrap_or(("listen", &contradiction));
        complaints.add(key, text, "`portcullis config reference` explains each key");
    }
    let zeros = [
        ("limits.message_bytes", server.limits.message_bytes),
        ("limits.header_bytes", server.limits.header_bytes),
        ("limits.depth", server.limits.depth),
        ("limits.keys", server.limits.keys),
        ("limits.values", server.limits.values),
        ("limits.id_bytes", server.limits.id_bytes),
        ("limits.name_bytes", server.limits.name_bytes),
        ("limits.batch", server.limits.batch),
        ("limits.connections", server.limits.connections),
        ("limits.requests_per_caller", server.limits.requests_per_caller),
        ("limits.bytes_per_caller", server.limits.bytes_per_caller),
        ("limits.bytes_in_flight", server.limits.bytes_in_flight),
        ("limits.used_proofs", server.limits.used_proofs),
        ("sessions.total", server.sessions.total),
        ("sessions.per_caller", server.sessions.per_caller),
    ];
    for (key, _) in zeros.iter().filter(|(_, value)| *value == 0) {
        complaints.add(key, "zero would let nothing through", "remove the key to get its default");
    }
    let limits = &server.limits;
    for (key, bytes) in
        [("limits.bytes_per_caller", limits.bytes_per_caller), ("limits.bytes_in_flight", limits.bytes_in_flight)]
    {
        if bytes != 0 && bytes < limits.message_bytes {
            complaints.add(
                key,
                format!("a message of {} bytes (`limits.message_bytes`) would never fit", limits.message_bytes),
                "raise it, or lower `limits.message_bytes`",
            );
        }
    }
}

/// Whether clients can ask for this path and get MCP.
fn check_path(path: &str) -> Result<(), String> {
    if !path.starts_with('/') || path.contains(['?', '#']) || path.chars().any(char::is_whitespace) {
        return Err(format!("`{path}` is not a path"));
    }
    if path.starts_with("/.well-known") {
        return Err(format!("`{path}` is where clients look for metadata"));
    }
    Ok(())
}

fn gateway(gateway: &GatewaySettings, complaints: &mut Complaints<'_>) {
    if gateway.deadline_ms == 0 || gateway.deadline_ms > LONGEST_SECONDS * 1000 {
        complaints.add(
            "gateway.deadline_ms",
            format!("`{}` is not between 1 and {} milliseconds (a year)", gateway.deadline_ms, LONGEST_SECONDS * 1000),
            "remove the key to get its default",
        );
    }
}

/// A year. What is meant to be longer is meant to be never, and no clock overflows by it.
const LONGEST_SECONDS: u64 = 365 * 24 * 3600;

/// Zero seconds would refuse everything, end every session, or fill streams with comments; only the last waits may be none at all.
fn times(server: &ServerSettings, complaints: &mut Complaints<'_>) {
    let (timeouts, sessions) = (&server.timeouts, &server.sessions);
    let times = [
        ("timeouts.header_seconds", timeouts.header_seconds, 1),
        ("timeouts.handshake_seconds", timeouts.handshake_seconds, 1),
        ("timeouts.body_seconds", timeouts.body_seconds, 1),
        ("timeouts.keep_alive_seconds", timeouts.keep_alive_seconds, 1),
        ("timeouts.orphan_seconds", timeouts.orphan_seconds, 0),
        ("timeouts.drain_seconds", timeouts.drain_seconds, 0),
        ("sessions.idle_seconds", sessions.idle_seconds, 1),
    ];
    for (key, seconds, least) in times {
        if !(least..=LONGEST_SECONDS).contains(&seconds) {
            let text = format!("`{seconds}` is not between {least} and {LONGEST_SECONDS} seconds (a year)");
            complaints.add(key, text, "remove the key to get its default");
        }
    }
}

fn identity(server: &mut ServerSettings, folder: &Path, complaints: &mut Complaints<'_>) {
    let identity = &mut server.identity;
    identity.relative_to(folder);
    match key_file::managed(identity, complaints.origin) {
        Ok(keys) => identity.managed = keys,
        Err(findings) => complaints.findings.extend(findings),
    }
    if !identity.knows_callers() && !identity.lets_anonymous_in(server.listen.ip().is_loopback()) {
        complaints.add(
            "identity",
            format!("nobody may call: `{}` is reachable from the network and no callers are configured", server.listen),
            "add `identity.keys` (see `portcullis keys new`) or `identity.oauth`, or set `identity.anonymous: true`, or listen on 127.0.0.1",
        );
    }
    // What stands alone is said first: a key that is missing would be said twice.
    if complaints.findings.is_empty()
        && let Err(why) = server.check_callers()
    {
        let (key, text) = why.split_once(": ").unwrap_or(("identity", &why));
        complaints.add(
            &key.replace('[', ".").replace(']', ""),
            text,
            "`portcullis config reference` explains each key",
        );
    }
}

fn loopback_admin(admin: Option<SocketAddr>, complaints: &mut Complaints<'_>) {
    if let Some(address) = admin.filter(|address| !address.ip().is_loopback()) {
        complaints.add(
            "admin.listen",
            format!("`{address}` is reachable from the network, and the admin listener asks nobody who they are"),
            "use a loopback address such as `127.0.0.1:8701`",
        );
    }
}

/// `None` without a home: only commands that write a log need one, and they say so.
fn audit_folder(written: Option<&Path>, folder: &Path, overrides: &Overrides) -> Option<PathBuf> {
    overrides.audit_log.clone().or_else(|| written.map(|path| folder.join(path))).or_else(default_audit_folder)
}
