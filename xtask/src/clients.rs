//! Real clients of three SDKs, through the gateway, to real servers: which pairs there are, and what each step of each says.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::gateway::{Gateway, Guarded};
use crate::layout::Layout;
use crate::peer::{Peer, free_port};
use crate::process::{self, Echo};
use crate::report::Tally;
use crate::setup::{self, Python};
use crate::{Failure, say};

/// Thirteen steps of at most thirty seconds cannot take this long unless something hangs.
const CLIENT: Duration = Duration::from_secs(300);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Era {
    Legacy,
    Modern,
}

impl Era {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Legacy => "legacy",
            Self::Modern => "modern",
        }
    }
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Sdk {
    TypeScript,
    Python,
    Rust,
}

impl Sdk {
    pub(crate) const ALL: [Self; 3] = [Self::TypeScript, Self::Python, Self::Rust];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::TypeScript => "ts",
            Self::Python => "py",
            Self::Rust => "rust",
        }
    }

    pub(crate) fn command(self, layout: &Layout, era: Era) -> Command {
        match self {
            Self::TypeScript => {
                layout.program(setup::node(layout), &[&format!("fixtures/clients/ts/{}.mjs", era.name())])
            }
            Self::Python => {
                let environment = if era == Era::Legacy { Python::Legacy } else { Python::Current };
                layout.program(environment.program(layout), &[&format!("fixtures/clients/py/{}.py", era.name())])
            }
            Self::Rust => layout.program(layout.built("rmcp-client"), &["--era", era.name()]),
        }
    }
}

/// A server and how it is reached.
struct Server {
    name: &'static str,
    /// What it offers, in `fixtures/clients/profiles.json`.
    profile: &'static str,
    eras: &'static [Era],
    start: fn(&Layout, &Path) -> Result<Started, Failure>,
}

/// What the gateway is put in front of.
pub(crate) struct Started {
    /// A server that runs by itself; a stdio server is the gateway's child.
    pub(crate) peer: Option<Peer>,
    pub(crate) guarded: Guarded,
}

impl Started {
    pub(crate) fn over_http(peer: Peer) -> Self {
        Self { guarded: Guarded::Url(peer.url.clone()), peer: Some(peer) }
    }

    fn over_stdio(command: &[&str]) -> Self {
        Self { guarded: Guarded::Command(command.iter().map(|word| (*word).to_owned()).collect()), peer: None }
    }
}

pub(crate) const BOTH: &[Era] = &[Era::Legacy, Era::Modern];

const SERVERS: &[Server] = &[
    Server {
        name: "reference-http",
        profile: "reference",
        eras: BOTH,
        start: |layout, folder| reference_http(layout, folder, "both"),
    },
    Server {
        name: "reference-http-legacy",
        profile: "reference",
        eras: &[Era::Legacy],
        start: |layout, folder| reference_http(layout, folder, "legacy"),
    },
    Server {
        name: "reference-http-modern",
        profile: "reference",
        eras: &[Era::Modern],
        start: |layout, folder| reference_http(layout, folder, "modern"),
    },
    Server { name: "reference-stdio", profile: "reference", eras: BOTH, start: reference_stdio },
    Server { name: "everything-http", profile: "everything", eras: &[Era::Legacy], start: everything_http },
    Server { name: "everything-stdio", profile: "everything", eras: &[Era::Legacy], start: everything_stdio },
    Server { name: "filesystem-stdio", profile: "filesystem", eras: &[Era::Legacy], start: filesystem_stdio },
    Server { name: "fastmcp-http", profile: "fastmcp", eras: BOTH, start: fastmcp_http },
    Server { name: "fastmcp-stdio", profile: "fastmcp", eras: BOTH, start: fastmcp_stdio },
];

pub(crate) fn check(layout: &Layout) -> Result<Tally, Failure> {
    let folder = layout.fresh("clients")?;
    let mut tally = Tally::default();
    for server in SERVERS {
        match with_server(layout, &folder, server) {
            Ok(found) => tally.add(found),
            Err(failure) if process::interrupted() => return Err(failure),
            Err(failure) => tally.fail(format!("{}: {failure}", server.name)),
        }
    }
    if let Err(failure) = lines(layout, &folder, &mut tally) {
        tally.fail(format!("lines: {failure}"));
    }
    Ok(tally)
}

/// The transports of the SDKs that are no HTTP: a WebSocket, and a gateway that the client starts itself.
fn lines(layout: &Layout, folder: &Path, tally: &mut Tally) -> Result<(), Failure> {
    let server = layout.built("reference-server").display().to_string();
    let configuration = format!(
        "listen: 127.0.0.1:0\npolicy: observe\nwebsocket: {{ enabled: true }}\nupstream: {{ stdio: {{ command: {server}, args: [stdio, --era, legacy] }} }}\n"
    );
    let gateway = Gateway::configured(layout, folder, "lines", &configuration)?;
    let script = "fixtures/clients/ts/lines.mjs";
    let mut socket = layout.program(setup::node(layout), &[script]);
    socket.arg(format!("{}/ws", gateway.url().replacen("http", "ws", 1)));
    told("websocket ts-legacy", &mut socket, 8, &gateway, tally)?;
    let typescript = layout.program(setup::node(layout), &[script]);
    let python = layout.program(Python::Legacy.program(layout), &["fixtures/clients/py/lines.py"]);
    for (name, mut command, least) in [("wrap ts-legacy", typescript, 8), ("wrap py-legacy", python, 6)] {
        command.arg(layout.built("portcullis")).args(["wrap", "--policy", "observe", "--audit-log"]);
        command.arg(folder.join("wrap-audit")).args(["--", &server, "stdio", "--era", "legacy"]);
        told(name, &mut command, least, &gateway, tally)?;
    }
    gateway.stop(layout, tally)
}

fn with_server(layout: &Layout, folder: &Path, server: &Server) -> Result<Tally, Failure> {
    let mut tally = Tally::default();
    // Held until the gateway is gone.
    let started = (server.start)(layout, folder)?;
    let gateway = Gateway::start(layout, folder, server.name, &started.guarded)?;
    for era in server.eras {
        for sdk in Sdk::ALL {
            let mut command = sdk.command(layout, *era);
            command.args([gateway.url(), "--profile", server.profile]);
            let name = format!("{} {}-{}", server.name, sdk.name(), era.name());
            told(&name, &mut command, 3, &gateway, &mut tally)?;
        }
    }
    gateway.stop(layout, &mut tally)?;
    Ok(tally)
}

/// Runs a client that tells its steps, one `ok` line each; fewer than `least` is a client that did not do its work.
pub(crate) fn told(
    name: &str,
    command: &mut Command,
    least: usize,
    gateway: &Gateway,
    tally: &mut Tally,
) -> Result<(), Failure> {
    let ended = process::run(command, CLIENT, Echo::Kept)?;
    let passed = ended.lines.iter().filter(|line| line.starts_with("ok ")).count();
    say(format_args!("{name}: {passed} steps"));
    tally.passed += u64::try_from(passed)?;
    tally.check(ended.ok() && passed >= least, || {
        let said = ended.lines.iter().find(|line| line.starts_with("fail "));
        let why = said.or(ended.failure.as_ref()).map_or("too few steps", String::as_str);
        format!("{name}: {why}\n{}\n(the gateway: {})", ended.tail(40), gateway.log())
    });
    Ok(())
}

pub(crate) fn reference_http(layout: &Layout, folder: &Path, era: &str) -> Result<Started, Failure> {
    let mut command = layout.program(layout.built("reference-server"), &["http", "--era", era]);
    let peer = Peer::start(&mut command, &folder.join(format!("reference-{era}.log")), Peer::announced)?;
    Ok(Started::over_http(peer))
}

pub(crate) fn reference_stdio(layout: &Layout, _: &Path) -> Result<Started, Failure> {
    Ok(Started::over_stdio(&[&layout.built("reference-server").display().to_string(), "stdio"]))
}

pub(crate) fn everything_http(layout: &Layout, folder: &Path) -> Result<Started, Failure> {
    let port = free_port()?;
    let script = setup::module(layout, EVERYTHING);
    let mut command = layout.program(setup::node(layout), &[&script, "streamableHttp"]);
    command.env("PORT", port.to_string());
    let url = format!("http://127.0.0.1:{port}/mcp");
    let ready = |line: &str| line.contains("listening on port").then(|| url.clone());
    Ok(Started::over_http(Peer::start(&mut command, &folder.join("everything-http.log"), ready)?))
}

const EVERYTHING: &str = "@modelcontextprotocol/server-everything/dist/index.js";

pub(crate) fn everything_stdio(layout: &Layout, _: &Path) -> Result<Started, Failure> {
    Ok(node_command(layout, EVERYTHING, "stdio"))
}

pub(crate) fn filesystem_stdio(layout: &Layout, folder: &Path) -> Result<Started, Failure> {
    let shown = folder.join("shown");
    std::fs::create_dir_all(&shown)?;
    std::fs::write(shown.join("note.txt"), "a note\n")?;
    let script = "@modelcontextprotocol/server-filesystem/dist/index.js";
    Ok(node_command(layout, script, &shown.display().to_string()))
}

pub(crate) fn fastmcp_http(layout: &Layout, folder: &Path) -> Result<Started, Failure> {
    let python = Python::Current.program(layout);
    let mut command = layout.program(python, &["fixtures/servers/fastmcp_server.py", "--http", "0"]);
    let peer = Peer::start(&mut command, &folder.join("fastmcp-http.log"), Peer::announced)?;
    Ok(Started::over_http(peer))
}

pub(crate) fn fastmcp_stdio(layout: &Layout, _: &Path) -> Result<Started, Failure> {
    let python = Python::Current.program(layout).display().to_string();
    Ok(Started::over_stdio(&[&python, "fixtures/servers/fastmcp_server.py", "--stdio"]))
}

fn node_command(layout: &Layout, script: &str, argument: &str) -> Started {
    let node = setup::node(layout).display().to_string();
    Started::over_stdio(&[&node, &setup::module(layout, script), argument])
}
