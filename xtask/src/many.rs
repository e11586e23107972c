//! Real servers from npm and PyPI behind one gateway at once, over every transport; real clients of three SDKs at the path where all of them are
//! merged, and at paths where each is alone.

use std::fmt::Write as _;
use std::path::Path;

use crate::Failure;
use crate::clients::{
    BOTH, Era, Sdk, Started, everything_http, everything_stdio, fastmcp_http, fastmcp_stdio, filesystem_stdio,
    reference_http, told,
};
use crate::gateway::{Gateway, Guarded};
use crate::layout::Layout;
use crate::peer::Peer;
use crate::report::Tally;
use crate::setup::Python;

/// A server with its name in the configuration.
struct Server {
    name: &'static str,
    /// What it offers, in `fixtures/clients/profiles.json`, for clients at its own path; `None` where the merged path says enough.
    alone: Option<(&'static str, &'static [Era])>,
    start: fn(&Layout, &Path) -> Result<Started, Failure>,
}

const OLDER: Option<(&str, &[Era])> = Some(("older", &[Era::Legacy]));

const SERVERS: &[Server] = &[
    Server { name: "reference", alone: None, start: |layout, folder| reference_http(layout, folder, "both") },
    Server { name: "everything", alone: Some(("everything", &[Era::Legacy])), start: everything_http },
    Server { name: "fastmcp", alone: Some(("fastmcp", BOTH)), start: fastmcp_stdio },
    Server { name: "files", alone: Some(("filesystem", &[Era::Legacy])), start: filesystem_stdio },
    Server { name: "everything2", alone: None, start: everything_stdio },
    Server { name: "fastmcp2", alone: None, start: fastmcp_http },
    Server { name: "socket", alone: OLDER, start: older_websocket },
    Server { name: "events", alone: OLDER, start: older_sse },
    Server { name: "unix", alone: OLDER, start: older_unix },
];

pub(crate) fn check(layout: &Layout) -> Result<Tally, Failure> {
    let folder = layout.fresh("many")?;
    let mut tally = Tally::default();
    // Held until the gateway is gone.
    let started: Vec<(&Server, Started)> =
        SERVERS.iter().map(|server| Ok((server, (server.start)(layout, &folder)?))).collect::<Result<_, Failure>>()?;
    let gateway = Gateway::configured(layout, &folder, "many", &configuration(&started)?)?;
    for era in BOTH {
        for sdk in Sdk::ALL {
            let mut command = sdk.command(layout, *era);
            command.args([gateway.url(), "--profile", "merged"]);
            told(&format!("merged {}-{}", sdk.name(), era.name()), &mut command, 9, &gateway, &mut tally)?;
        }
    }
    for server in SERVERS {
        let Some((profile, eras)) = server.alone else { continue };
        for era in eras {
            let mut command = Sdk::TypeScript.command(layout, *era);
            command.args([&format!("{}/{}", gateway.url(), server.name), "--profile", profile]);
            told(&format!("{} alone ts-{}", server.name, era.name()), &mut command, 3, &gateway, &mut tally)?;
        }
    }
    gateway.stop(layout, &mut tally)?;
    Ok(tally)
}

/// The servers as an operator writes them down. JSON strings are YAML.
fn configuration(servers: &[(&Server, Started)]) -> Result<String, Failure> {
    let mut text = String::from("listen: 127.0.0.1:0\npolicy: observe\nupstreams:\n");
    for (server, started) in servers {
        let way = match &started.guarded {
            Guarded::Url(url) if url.starts_with("ws:") => format!("websocket: {{ url: \"{url}\" }}"),
            Guarded::Url(url) if url.ends_with("/sse") => format!("http_sse: {{ url: \"{url}\" }}"),
            // The SDK takes no name of this machine for one without a port.
            Guarded::Url(path) if path.starts_with('/') => {
                format!("http: {{ url: \"http://localhost:1/mcp\", socket: {path:?} }}")
            }
            Guarded::Url(url) => format!("http: {{ url: \"{url}\" }}"),
            Guarded::Command(words) => {
                let (command, arguments) = words.split_first().ok_or("a command without a word")?;
                format!("stdio: {{ command: {command:?}, args: {arguments:?} }}")
            }
        };
        writeln!(text, "- {{ name: {}, {way} }}", server.name)?;
    }
    Ok(text)
}

fn older_websocket(layout: &Layout, folder: &Path) -> Result<Started, Failure> {
    older(layout, folder, "websocket", "0")
}

fn older_sse(layout: &Layout, folder: &Path) -> Result<Started, Failure> {
    older(layout, folder, "sse", "0")
}

fn older_unix(layout: &Layout, folder: &Path) -> Result<Started, Failure> {
    older(layout, folder, "socket", &folder.join("unix.sock").display().to_string())
}

/// The Python SDK 1.x is the only one that still serves these.
fn older(layout: &Layout, folder: &Path, transport: &str, place: &str) -> Result<Started, Failure> {
    let arguments = ["fixtures/servers/older_transports.py", &format!("--{transport}"), place];
    let mut command = layout.program(Python::Legacy.program(layout), &arguments);
    let announced = |line: &str| line.strip_prefix("listening on ").map(str::to_owned);
    let peer = Peer::start(&mut command, &folder.join(format!("older-{transport}.log")), announced)?;
    Ok(Started::over_http(peer))
}
