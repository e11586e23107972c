//! What the tests need of a machine: the binary run to its end or kept running on a free port, a folder of its own, a plain HTTP client.
//! Nothing here sleeps to wait: it reads until something is said, or gives up loudly.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

/// Longer than anything takes on a busy machine; a test that needs it has failed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// The binary under test, in a clean environment with a home of its own.
pub(crate) fn portcullis(home: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_portcullis"));
    command.env_clear().env("HOME", home).env("NO_COLOR", "1").current_dir(home);
    // Children such as `npx` and `python3` are looked up as usual.
    if let Some(path) = std::env::var_os("PATH") {
        command.env("PATH", path);
    }
    command
}

/// A folder that is gone after the test.
pub(crate) struct Folder(tempfile::TempDir);

impl Folder {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    /// Writes a file and gives its path.
    pub(crate) fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        path
    }

    pub(crate) fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.0.path().join(name)).unwrap()
    }
}

/// How a command ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

/// Runs the binary to its end.
pub(crate) fn run(folder: &Folder, args: &[&str]) -> Ended {
    let output = portcullis(folder.path()).args(args).stdin(Stdio::null()).output().unwrap();
    Ended {
        code: output.status.code().unwrap_or(-1),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

/// The binary, running; ended when dropped, with everything it said printed if the test failed.
pub(crate) struct Running {
    child: Child,
    lines: Receiver<String>,
    /// What was said so far, both streams.
    pub(crate) said: Vec<String>,
}

impl Running {
    /// Starts the binary.
    pub(crate) fn start(folder: &Folder, args: &[&str]) -> Self {
        Self::spawn(portcullis(folder.path()).args(args))
    }

    pub(crate) fn spawn(command: &mut Command) -> Self {
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let (sender, lines) = channel();
        let outputs: [Box<dyn Read + Send>; 2] =
            [Box::new(child.stdout.take().unwrap()), Box::new(child.stderr.take().unwrap())];
        for output in outputs {
            let sender = sender.clone();
            thread::spawn(move || {
                for line in BufReader::new(output).lines().map_while(Result::ok) {
                    if sender.send(line).is_err() {
                        return;
                    }
                }
            });
        }
        Self { child, lines, said: Vec::new() }
    }

    /// Starts a gateway on a free port and waits until it listens.
    pub(crate) fn gateway(folder: &Folder, args: &[&str]) -> (Self, SocketAddr) {
        let mut all = vec!["run", "--listen", "127.0.0.1:0", "--audit-log", "audit"];
        all.extend_from_slice(args);
        let mut running = Self::start(folder, &all);
        let address = running.address();
        (running, address)
    }

    /// The address in `Portcullis listens on http://ADDRESS/mcp`, or `https://`.
    pub(crate) fn address(&mut self) -> SocketAddr {
        address_in(&self.wait_for("listens on http"))
    }

    /// The address in `metrics  http://ADDRESS/metrics`.
    pub(crate) fn admin(&mut self) -> SocketAddr {
        address_in(&self.wait_for("metrics  http://"))
    }

    /// Reads on until a line contains `text`.
    pub(crate) fn wait_for(&mut self, text: &str) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.lines.recv_timeout(left) {
                Ok(line) => {
                    self.said.push(line.clone());
                    if line.contains(text) {
                        return line;
                    }
                }
                Err(RecvTimeoutError::Timeout) => panic!("`{text}` was not said in time: {:#?}", self.said),
                Err(RecvTimeoutError::Disconnected) => panic!("ended without saying `{text}`: {:#?}", self.said),
            }
        }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Memory that the process really holds now, in bytes.
    pub(crate) fn resident(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches("kB").trim().parse::<u64>().unwrap() * 1024
    }

    /// Sends a signal by name, such as `INT`.
    pub(crate) fn signal(&self, name: &str) {
        let status = Command::new("kill").args([&format!("-{name}"), &self.child.id().to_string()]).status().unwrap();
        assert!(status.success());
    }

    /// Waits for the end.
    pub(crate) fn end(&mut self) -> ExitStatus {
        let deadline = Instant::now() + PATIENCE;
        // Both outputs close when the program ends; reading them to the end is the wait.
        while let Ok(line) = self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            self.said.push(line);
        }
        assert!(Instant::now() < deadline, "did not end in time: {:#?}", self.said);
        self.child.wait().unwrap()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            self.said.extend(self.lines.try_iter());
            eprintln!("it said:\n{}", self.said.join("\n"));
        }
    }
}

/// The address in a line that has one `http://ADDRESS/…` or `https://ADDRESS/…`.
pub(crate) fn address_in(line: &str) -> SocketAddr {
    let rest = line.split("://").nth(1).unwrap();
    rest.split('/').next().unwrap().parse().unwrap()
}

/// Processes below `pid`, however deep; zombies are none.
pub(crate) fn descendants(pid: u32) -> Vec<u32> {
    let stat = |path: PathBuf| {
        let text = std::fs::read_to_string(path.join("stat")).ok()?;
        // The name, in parentheses, may hold anything.
        let (head, rest) = text.rsplit_once(')')?;
        let mut fields = rest.split_whitespace();
        let state = fields.next()?;
        let parent: u32 = fields.next()?.parse().ok()?;
        let own: u32 = head.split(' ').next()?.parse().ok()?;
        (state != "Z").then_some((own, parent))
    };
    let all: Vec<_> = std::fs::read_dir("/proc").unwrap().filter_map(|entry| stat(entry.ok()?.path())).collect();
    let mut found = vec![pid];
    let mut next = 0;
    while let Some(parent) = found.get(next).copied() {
        found.extend(all.iter().filter(|(_, above)| *above == parent).map(|(own, _)| *own));
        next += 1;
    }
    found.split_off(1)
}

/// An HTTP answer, read to its end.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

/// One HTTP request on a connection of its own, written by hand so that nothing is tidied up on the way.
pub(crate) fn http(address: SocketAddr, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
    let mut socket = TcpStream::connect(address).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut text = format!("{method} {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n");
    for (name, value) in headers {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    text.push_str(&format!("content-length: {}\r\n\r\n{body}", body.len()));
    socket.write_all(text.as_bytes()).unwrap();
    let mut raw = Vec::new();
    socket.read_to_end(&mut raw).unwrap();
    parse(&String::from_utf8_lossy(&raw))
}

fn parse(raw: &str) -> Answer {
    let (head, body) = raw.split_once("\r\n\r\n").unwrap_or_else(|| panic!("not an HTTP answer: {raw:?}"));
    let mut lines = head.lines();
    let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
    let headers: Vec<_> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    let chunked = headers.iter().any(|(name, value)| name == "transfer-encoding" && value == "chunked");
    let body = if chunked { unchunked(body) } else { body.to_owned() };
    Answer { status, headers, body }
}

fn unchunked(mut body: &str) -> String {
    let mut whole = String::new();
    while let Some((size, rest)) = body.split_once("\r\n") {
        let size = usize::from_str_radix(size.trim(), 16).unwrap();
        if size == 0 {
            break;
        }
        whole.push_str(&rest[..size]);
        body = &rest[size + 2..];
    }
    whole
}

/// Headers of a legacy request.
pub(crate) const LEGACY: [(&str, &str); 2] =
    [("content-type", "application/json"), ("accept", "application/json, text/event-stream")];

/// The first message of a legacy client.
pub(crate) const HELLO: &str = r#"{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"test","version":"1"}}}"#;

/// Opens a legacy session and gives its id.
pub(crate) fn open_session(address: SocketAddr) -> String {
    let answer = http(address, "POST", "/mcp", &LEGACY, HELLO);
    assert_eq!(answer.status, 200, "{answer:?}");
    let session = answer.header("mcp-session-id").expect("a session").to_owned();
    let ready = in_session(address, &session, r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#);
    assert_eq!(ready.status, 202, "{ready:?}");
    session
}

/// One message in a legacy session.
pub(crate) fn in_session(address: SocketAddr, session: &str, body: &str) -> Answer {
    let mut headers = LEGACY.to_vec();
    headers.push(("mcp-session-id", session));
    headers.push(("mcp-protocol-version", "2025-11-25"));
    http(address, "POST", "/mcp", &headers, body)
}

/// What [`Server`] offers.
pub(crate) const TOOLS: &str = r#"{"tools":[
{"name":"look","inputSchema":{"type":"object","properties":{}},"annotations":{"readOnlyHint":true}},
{"name":"pay","inputSchema":{"type":"object","properties":{"amount":{"type":"integer"}},"required":["amount"]}}
]}"#;

/// A legacy MCP server of a few lines, on a thread of its own: two tools, plain JSON answers, no opinion.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    stop: std::sync::Arc<std::sync::atomic::AtomicBool>,
    accepting: Option<thread::JoinHandle<()>>,
}

impl Server {
    pub(crate) fn start() -> Self {
        Self::start_at("127.0.0.1:0".parse().unwrap())
    }

    pub(crate) fn start_at(address: SocketAddr) -> Self {
        let listener = std::net::TcpListener::bind(address).unwrap();
        let address = listener.local_addr().unwrap();
        let stop = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
        let stopped = std::sync::Arc::clone(&stop);
        let accepting = thread::spawn(move || {
            for socket in listener.incoming().map_while(Result::ok) {
                if stopped.load(std::sync::atomic::Ordering::Acquire) {
                    return;
                }
                thread::spawn(move || serve(socket));
            }
        });
        Self { address, stop, accepting: Some(accepting) }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/mcp", self.address)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, std::sync::atomic::Ordering::Release);
        // Wakes the thread, which then lets go of the port; whoever asks for the port next must not meet the thread.
        if TcpStream::connect(self.address).is_ok()
            && let Some(accepting) = self.accepting.take()
        {
            let _ = accepting.join();
        }
    }
}

/// Answers requests on one connection until it closes.
fn serve(socket: TcpStream) {
    let mut reader = BufReader::new(socket.try_clone().unwrap());
    let mut socket = socket;
    loop {
        let mut length = 0;
        let mut line = String::new();
        loop {
            line.clear();
            if reader.read_line(&mut line).unwrap_or(0) == 0 {
                return;
            }
            if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().unwrap();
            }
            if line == "\r\n" {
                break;
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).unwrap();
        let (status, more, text) = reply(&body);
        let head = format!(
            "HTTP/1.1 {status}\r\ncontent-type: application/json\r\n{more}content-length: {}\r\n\r\n",
            text.len()
        );
        if socket.write_all(format!("{head}{text}").as_bytes()).is_err() {
            return;
        }
    }
}

fn reply(body: &[u8]) -> (&'static str, &'static str, String) {
    let Ok(message) = serde_json::from_slice::<serde_json::Value>(body) else { return ("200 OK", "", String::new()) };
    let Some(id) = message.get("id") else { return ("202 Accepted", "", String::new()) };
    let result = match message["method"].as_str().unwrap_or_default() {
        "initialize" => serde_json::json!({
            "protocolVersion": "2025-11-25", "capabilities": { "tools": {} }, "serverInfo": { "name": "test", "version": "1" }
        }),
        "tools/list" => serde_json::from_str(TOOLS).unwrap(),
        "tools/call" => {
            serde_json::json!({ "content": [{ "type": "text", "text": format!("did {}", message["params"]["name"]) }] })
        }
        "ping" => serde_json::json!({}),
        _ => {
            let error = serde_json::json!({ "jsonrpc": "2.0", "id": id, "error": { "code": -32601, "message": "Method not found" } });
            return ("200 OK", "", error.to_string());
        }
    };
    let session = if message["method"] == "initialize" { "mcp-session-id: test-session\r\n" } else { "" };
    ("200 OK", session, serde_json::json!({ "jsonrpc": "2.0", "id": id, "result": result }).to_string())
}
