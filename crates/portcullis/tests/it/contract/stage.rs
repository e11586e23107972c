//! What a case plays on: the reference server, the gateway in front of it, and afterwards the log of what happened.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use rustls::pki_types::CertificateDer;
use serde_json::Value;

use super::bridge::Bridge;
use super::client::{Client, Era};
use crate::support::{Folder, Running, address_in, descendants, run};

/// How the gateway reaches the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Transport {
    Http,
    Stdio,
    UnixSocket,
    WebSocket,
    HttpSse,
}

impl Transport {
    /// The server has sessions of its own, with ids.
    pub(crate) fn is_http(self) -> bool {
        matches!(self, Self::Http | Self::UnixSocket)
    }
}

/// One place of the matrix.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Side {
    pub(crate) era: Era,
    pub(crate) transport: Transport,
}

/// Same era on both sides, every transport. HTTP+SSE has only one.
pub(crate) const SIDES: [Side; 9] = [
    Side { era: Era::Legacy, transport: Transport::Http },
    Side { era: Era::Legacy, transport: Transport::Stdio },
    Side { era: Era::Modern, transport: Transport::Http },
    Side { era: Era::Modern, transport: Transport::Stdio },
    Side { era: Era::Legacy, transport: Transport::UnixSocket },
    Side { era: Era::Modern, transport: Transport::UnixSocket },
    Side { era: Era::Legacy, transport: Transport::WebSocket },
    Side { era: Era::Modern, transport: Transport::WebSocket },
    Side { era: Era::Legacy, transport: Transport::HttpSse },
];

pub(crate) struct Stage {
    pub(crate) side: Side,
    pub(crate) folder: Folder,
    pub(crate) gateway: Running,
    pub(crate) address: SocketAddr,
    /// The server's own address, where it has one.
    pub(crate) server: Option<SocketAddr>,
    _server: Option<Running>,
    bridge: Bridge,
}

impl Stage {
    pub(crate) fn new(side: Side) -> Self {
        Self::with(side, &[])
    }

    /// With a policy of the case's own.
    pub(crate) fn under_policy(side: Side, policy: &str) -> Self {
        let folder = Folder::new();
        folder.write("policy.cedar", policy);
        Self::start(side, folder, &["--policy", "policy.cedar"])
    }

    pub(crate) fn with(side: Side, args: &[&str]) -> Self {
        Self::start(side, Folder::new(), args)
    }

    /// In front of a server that speaks both eras; `side` says over which transport.
    pub(crate) fn of_both_eras(side: Side) -> Self {
        Self::before("both", side, Folder::new(), &[])
    }

    /// Behind TLS; gives the certificate of the listener, too.
    pub(crate) fn secured(side: Side) -> (Self, CertificateDer<'static>) {
        let folder = Folder::new();
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        folder.write("server.pem", &made.cert.pem());
        folder.write("server.key", &made.signing_key.serialize_pem());
        folder.write("tls.yaml", "tls: { certificate: server.pem, key: server.key }\n");
        (Self::start(side, folder, &["--config", "tls.yaml"]), made.cert.der().clone())
    }

    pub(crate) fn start(side: Side, folder: Folder, args: &[&str]) -> Self {
        Self::before(side.era.word(), side, folder, args)
    }

    fn before(era: &str, side: Side, folder: Folder, args: &[&str]) -> Self {
        let program = reference_server().to_str().unwrap();
        let (server, address) = if side.transport.is_http() {
            let mut server = Running::spawn(Command::new(program).args(["http", "--era", era]));
            let address = address_in(&server.wait_for("listening on http://"));
            (Some(server), Some(address))
        } else {
            (None, None)
        };
        let url = address.map(|address| format!("http://{address}/mcp")).unwrap_or_default();
        let own = |words: &[&str]| args.iter().chain(words).map(|word| (*word).to_owned()).collect::<Vec<_>>();
        let (bridge, all) = match side.transport {
            Transport::Http => (Bridge::default(), own(&["--upstream", &url])),
            Transport::Stdio => (Bridge::default(), own(&["--", program, "stdio", "--era", era])),
            Transport::UnixSocket => {
                let bridge = Bridge::unix_socket(&folder.path().join("mcp.sock"), address.unwrap());
                (bridge, configured(&folder, args, &format!("http: {{ url: '{url}', socket: mcp.sock }}")))
            }
            Transport::WebSocket => {
                let (bridge, address) = Bridge::websocket(program, era);
                (bridge, own(&["--upstream", &format!("ws://{address}/mcp/ws")]))
            }
            Transport::HttpSse => {
                let (bridge, address) = Bridge::http_sse(program, era);
                (bridge, configured(&folder, args, &format!("http_sse: {{ url: 'http://{address}/sse' }}")))
            }
        };
        let all: Vec<&str> = all.iter().map(String::as_str).collect();
        let (gateway, listens) = Running::gateway(&folder, &all);
        Self { side, folder, gateway, address: listens, server: address, _server: server, bridge }
    }

    /// Processes of the server that belong to connections of the gateway.
    pub(crate) fn children(&self) -> Vec<u32> {
        match self.side.transport {
            Transport::Stdio => descendants(self.gateway.pid()),
            _ => self.bridge.children(),
        }
    }

    /// A client of the server's era.
    pub(crate) fn client(&self) -> Client {
        Client::connect(self.address, self.side.era)
    }

    /// Stops the gateway as Ctrl-C does; then the log must verify, and every intent must have exactly one outcome.
    pub(crate) fn finish(self) -> Log {
        self.finish_saying().1
    }

    /// The same, with everything the gateway said.
    pub(crate) fn finish_saying(self) -> (String, Log) {
        self.gateway.signal("INT");
        self.stopped()
    }

    /// For a gateway that was asked to stop already.
    pub(crate) fn ended(self) -> Log {
        self.stopped().1
    }

    fn stopped(mut self) -> (String, Log) {
        assert!(self.gateway.end().success(), "{:#?}", self.gateway.said);
        (self.gateway.said.join("\n"), Log::of(&self.folder))
    }
}

/// The arguments with a file that has this upstream, too: for transports that the command line does not know.
fn configured(folder: &Folder, args: &[&str], upstream: &str) -> Vec<String> {
    let mut args: Vec<String> = args.iter().map(|word| (*word).to_owned()).collect();
    let file = args.iter().position(|word| word == "--config").and_then(|at| args.get(at + 1)).cloned();
    let written = file.as_ref().map(|file| std::fs::read_to_string(folder.path().join(file)).unwrap());
    let file = file.unwrap_or_else(|| {
        args.extend(["--config", "upstream.yaml"].map(str::to_owned));
        "upstream.yaml".to_owned()
    });
    folder.write(&file, &format!("{}upstream: {{ {upstream} }}\n", written.unwrap_or_default()));
    args
}

/// The audit log of a gateway that has stopped.
pub(crate) struct Log {
    pub(crate) entries: Vec<Value>,
}

impl Log {
    pub(crate) fn of(folder: &Folder) -> Self {
        let verified = run(folder, &["audit", "verify", "audit"]);
        assert_eq!(verified.code, 0, "the log does not verify: {verified:?}");
        let log = Self::read(folder);
        log.check_pairs();
        log
    }

    /// The entries as they are, of a gateway that may still run.
    pub(crate) fn read(folder: &Folder) -> Self {
        let mut segments: Vec<_> = std::fs::read_dir(folder.path().join("audit"))
            .map(|files| files.map(|file| file.unwrap().path()).collect())
            .unwrap_or_default();
        segments.retain(|path| path.extension().is_some_and(|extension| extension == "jsonl"));
        segments.sort();
        let text: String = segments.iter().map(|path| std::fs::read_to_string(path).unwrap()).collect();
        // The last line may still be under way.
        let entries = text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
        Self { entries }
    }

    fn check_pairs(&self) {
        let mut open: HashMap<&str, &Value> = HashMap::new();
        for entry in &self.entries {
            match entry["kind"].as_str() {
                Some("intent") => {
                    let earlier = open.insert(entry["call"].as_str().unwrap(), entry);
                    assert!(earlier.is_none(), "two intents with one name: {entry}");
                }
                Some("outcome") => {
                    let intent = open.remove(entry["call"].as_str().unwrap());
                    assert!(intent.is_some(), "an outcome of nothing, or a second one: {entry}");
                }
                _ => {}
            }
        }
        assert!(open.is_empty(), "intents without outcome: {:#?}", open.values());
    }

    /// Pairs of intent and outcome that fit.
    pub(crate) fn calls(&self, fits: impl Fn(&Value) -> bool) -> Vec<(&Value, &Value)> {
        let outcome =
            |call: &Value| self.entries.iter().find(|entry| entry["kind"] == "outcome" && entry["call"] == *call);
        let intents = self.entries.iter().filter(|entry| entry["kind"] == "intent" && fits(entry));
        intents.filter_map(|intent| Some((intent, outcome(&intent["call"])?))).collect()
    }

    /// Intent and outcome of the only call of a tool.
    pub(crate) fn call_of(&self, tool: &str) -> (&Value, &Value) {
        let calls = self.calls(|intent| intent["method"] == "tools/call" && intent["name"] == tool);
        assert_eq!(calls.len(), 1, "calls of `{tool}`: {calls:#?}");
        calls[0]
    }
}

/// The reference server beside the binary under test, built if it is not there.
pub(crate) fn reference_server() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        let portcullis = Path::new(env!("CARGO_BIN_EXE_portcullis"));
        let folder = portcullis.parent().unwrap();
        let program = folder.join("reference-server");
        if !program.exists() {
            let mut cargo = Command::new(env!("CARGO"));
            cargo
                .args(["build", "--quiet", "--package", "reference-server"])
                .env("CARGO_TARGET_DIR", folder.parent().unwrap());
            if folder.ends_with("release") {
                cargo.arg("--release");
            }
            assert!(cargo.status().unwrap().success(), "the reference server does not build");
        }
        program
    })
}
