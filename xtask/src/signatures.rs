//! Signed requests of implementations that share nothing with ours: what `docs/signing` prints in Python and TypeScript, and `portcullis sign`
//! beside them, opens a gateway that asks for signatures; with a byte changed, or a second time, it does not.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::gateway::{Gateway, Guarded};
use crate::layout::Layout;
use crate::process;
use crate::report::Tally;
use crate::setup::{self, Python};
use crate::{Failure, clients, say};

/// Starting Python or Node takes a second, on a busy machine ten.
const SIGNED: Duration = Duration::from_secs(60);
const ANSWERED: Duration = Duration::from_secs(30);

const HELLO: &str = r#"{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"signer","version":"1"}}}"#;
const PING: &str = r#"{"jsonrpc":"2.0","id":2,"method":"ping"}"#;

/// Pairs of keys: those of RFC 9421, B.1.4 and B.1.3.
const KEYS: [&str; 2] = ["ed25519", "p256"];

#[derive(Clone, Copy, Debug)]
enum Maker {
    Python,
    TypeScript,
    Portcullis,
}

/// The gateway, and where keys and bodies are.
struct Stand<'a> {
    layout: &'a Layout,
    folder: PathBuf,
    url: String,
}

pub(crate) fn check(layout: &Layout) -> Result<Tally, Failure> {
    let folder = layout.fresh("signatures")?;
    // Node looks for packages beside the program, and the program belongs to the documentation.
    std::fs::copy(layout.root.join("docs/signing/sign.mts"), folder.join("sign.mts"))?;
    std::os::unix::fs::symlink(setup::module(layout, ""), folder.join("node_modules"))?;
    // Held until the gateway is gone.
    let started = clients::reference_http(layout, &folder, "legacy")?;
    let Guarded::Url(server) = &started.guarded else { return Err("the server has no address".into()) };
    let signer = |key| {
        format!(
            "      - {{ key_id: {key}, workload: tests, public_key: {{ file: {} }} }}\n",
            file(layout, key, "pub.pem")
        )
    };
    let configuration = format!(
        "listen: 127.0.0.1:0\npolicy: observe\nupstream:\n  http: {{ url: {server} }}\n\
         identity:\n  signatures:\n    required: true\n    signers:\n{}",
        KEYS.map(signer).concat()
    );
    let gateway = Gateway::configured(layout, &folder, "signatures", &configuration)?;
    let mut tally = Tally::default();
    let stand = Stand { layout, url: gateway.url().to_owned(), folder };
    for maker in [Maker::Python, Maker::TypeScript, Maker::Portcullis] {
        for key in KEYS {
            let before = tally.passed;
            let name = format!("{maker:?} with {key}");
            if let Err(failure) = stand.converse(&mut tally, maker, key) {
                if process::interrupted() {
                    return Err(failure);
                }
                tally.fail(format!("{name}: {failure}\n(the gateway: {})", gateway.log()));
            }
            say(format_args!("{name}: {} answers as expected", tally.passed - before));
        }
    }
    gateway.stop(layout, &mut tally)?;
    Ok(tally)
}

impl Stand<'_> {
    /// A session opened and used with one key; what was signed is spoiled first, which uses up no nonce.
    fn converse(&self, tally: &mut Tally, maker: Maker, key: &str) -> Result<(), Failure> {
        let mut expect = |what: &str, answer: &str, part: &str| {
            tally.check(answer.contains(part), || format!("{maker:?} with {key}: {what}: no `{part}` in:\n{answer}"));
        };
        let signed = self.sign(maker, key, &[], HELLO)?;
        expect("not signed", &send(&self.url, &[], HELLO)?, r#""signature_required""#);
        let other = HELLO.replace(r#""id":1"#, r#""id":3"#);
        expect("another body", &send(&self.url, &signed, &other)?, r#""digest_mismatch""#);
        let elsewhere = format!("{}?as=admin", self.url);
        expect("another URL", &send(&elsewhere, &signed, HELLO)?, r#""signature_invalid""#);
        let opened = send(&self.url, &signed, HELLO)?;
        expect("as it was signed", &opened, r#""serverInfo""#);
        expect("once more", &send(&self.url, &signed, HELLO)?, r#""signature_replayed""#);

        let session = opened.lines().find_map(|line| line.strip_prefix("mcp-session-id: ")).ok_or("no session")?;
        let mut headers = vec![format!("Mcp-Session-Id: {session}"), "MCP-Protocol-Version: 2025-11-25".to_owned()];
        let signed = self.sign(maker, key, &headers, PING)?;
        headers.extend(signed);
        let older: Vec<_> = headers.iter().map(|line| line.replace("2025-11-25", "2025-06-18")).collect();
        expect("another revision", &send(&self.url, &older, PING)?, r#""signature_invalid""#);
        expect("in its session", &send(&self.url, &headers, PING)?, r#""result":{}"#);
        Ok(())
    }

    /// The headers that one of the programs prints.
    fn sign(&self, maker: Maker, key: &str, headers: &[String], body: &str) -> Result<Vec<String>, Failure> {
        let at = |name: &str| self.folder.join(name).display().to_string();
        std::fs::write(at("body.json"), body)?;
        let (pem, body) = (file(self.layout, key, "pem"), at("body.json"));
        let mut command = match maker {
            Maker::Python => {
                let mut command = self.reading(&body, &Python::Current.program(self.layout));
                command.args(["docs/signing/sign.py", "POST", &self.url, "--key", &pem, "--key-id", key]);
                command.args(headers.iter().flat_map(|line| ["-H", line]));
                command
            }
            Maker::TypeScript => {
                let mut command = self.reading(&body, &setup::node(self.layout));
                command.args([&at("sign.mts"), "POST", &self.url, &pem, key]).args(headers);
                command
            }
            Maker::Portcullis => {
                let arguments = ["sign", "--key-id", key, "--key", &pem, "--url", &self.url];
                let mut command = self.layout.program(self.layout.built("portcullis"), &arguments);
                command.args(headers.iter().flat_map(|line| ["-H", line])).arg(body);
                command
            }
        };
        let lines = process::must(&mut command, SIGNED)?;
        let is_ours = |line: &String| {
            let name = line.split_once(": ").map(|(name, _)| name.to_ascii_lowercase());
            matches!(name.as_deref(), Some("content-digest" | "signature" | "signature-input"))
        };
        let signed: Vec<_> = lines.iter().filter(|line| is_ours(line)).cloned().collect();
        // A warning of an interpreter would be a line more.
        if signed.len() == 3 { Ok(signed) } else { Err(format!("no signature in: {}", lines.join("\n")).into()) }
    }

    /// A program that has a file for its input.
    fn reading(&self, input: &str, program: &Path) -> Command {
        let mut command = self.layout.program("sh", &["-c", r#"exec "$@" < "$0""#, input]);
        command.arg(program);
        command
    }
}

/// One half of a pair of keys.
fn file(layout: &Layout, key: &str, half: &str) -> String {
    layout.root.join(format!("fixtures/signing/{key}.{half}")).display().to_string()
}

/// Head and body of the answer to one request, on a connection of its own.
fn send(url: &str, headers: &[String], body: &str) -> Result<String, Failure> {
    let (authority, path) = url.strip_prefix("http://").and_then(|rest| rest.split_once('/')).ok_or("no URL")?;
    let mut socket = TcpStream::connect(authority)?;
    socket.set_read_timeout(Some(ANSWERED))?;
    let more: String = headers.iter().map(|line| format!("{line}\r\n")).collect();
    let head = format!(
        "POST /{path} HTTP/1.1\r\nhost: {authority}\r\nconnection: close\r\ncontent-type: application/json\r\n\
         accept: application/json, text/event-stream\r\n{more}content-length: {}\r\n\r\n",
        body.len()
    );
    socket.write_all(format!("{head}{body}").as_bytes())?;
    let mut answer = Vec::new();
    socket.read_to_end(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}
