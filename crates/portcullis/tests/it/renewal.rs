//! A server that forgets its sessions: its clients' subscriptions are asked for again, and their streams go on, without their doing anything.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use serde_json::{Value, json};

use crate::contract::eventually;
use crate::support::{Folder, HELLO, LEGACY, Running, Server, http};

/// What the forgetful server knows.
#[derive(Default)]
struct Memory {
    /// How often it has forgotten everything.
    life: u32,
    subscribed: Vec<String>,
    level: Option<String>,
    streams: Vec<TcpStream>,
    /// Subscriptions are refused.
    refuses: bool,
}

/// A legacy MCP server over HTTP with sessions, one resource and a stream.
struct Forgetful {
    address: SocketAddr,
    memory: Arc<Mutex<Memory>>,
}

impl Forgetful {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (address, memory) = (listener.local_addr().unwrap(), Arc::<Mutex<Memory>>::default());
        let shared = Arc::clone(&memory);
        thread::spawn(move || {
            for socket in listener.incoming().map_while(Result::ok) {
                let memory = Arc::clone(&shared);
                thread::spawn(move || serve(socket, &memory));
            }
        });
        Self { address, memory }
    }

    fn look<T>(&self, look: impl FnOnce(&mut Memory) -> T) -> T {
        look(&mut self.memory.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// As after a restart: no session, and every stream is over.
    fn forgets(&self, refuses: bool) {
        self.look(|memory| {
            let life = memory.life + 1;
            for stream in memory.streams.drain(..) {
                let _ = stream.shutdown(Shutdown::Both);
            }
            *memory = Memory { life, refuses, ..Memory::default() };
        });
    }

    fn updates(&self) {
        let update = r#"{"jsonrpc":"2.0","method":"notifications/resources/updated","params":{"uri":"file:///a"}}"#;
        self.look(|memory| {
            for stream in &mut memory.streams {
                stream.write_all(format!("data: {update}\n\n").as_bytes()).unwrap();
            }
        });
    }
}

fn serve(socket: TcpStream, memory: &Mutex<Memory>) {
    let mut reader = BufReader::new(socket.try_clone().unwrap());
    let mut socket = socket;
    loop {
        let (mut length, mut session, mut head, mut line) = (0, String::new(), String::new(), String::new());
        while line != "\r\n" {
            line.clear();
            if reader.read_line(&mut line).unwrap_or(0) == 0 {
                return;
            }
            let lower = line.to_ascii_lowercase();
            if let Some(value) = lower.strip_prefix("content-length:") {
                length = value.trim().parse().unwrap();
            }
            if let Some(value) = lower.strip_prefix("mcp-session-id:") {
                session = value.trim().to_owned();
            }
            head.push_str(&line);
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).unwrap();
        let mut memory = memory.lock().unwrap();
        let own = format!("life-{}", memory.life);
        let message: Value = serde_json::from_slice(&body).unwrap_or_default();
        let answer = if message["method"] == "initialize" || message["method"] == "server/discover" {
            answer(&message, &mut memory, &format!("mcp-session-id: {own}\r\n"))
        } else if session != own {
            "HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n".to_owned()
        } else if head.starts_with("GET") {
            let begins = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n";
            socket.write_all(begins.as_bytes()).unwrap();
            memory.streams.push(socket);
            return;
        } else {
            answer(&message, &mut memory, "")
        };
        drop(memory);
        if socket.write_all(answer.as_bytes()).is_err() {
            return;
        }
    }
}

fn answer(message: &Value, memory: &mut Memory, more: &str) -> String {
    let Some(id) = message.get("id") else { return "HTTP/1.1 202 Accepted\r\ncontent-length: 0\r\n\r\n".to_owned() };
    let result = match message["method"].as_str().unwrap_or_default() {
        "initialize" => json!({
            "protocolVersion": "2025-11-25",
            "capabilities": { "logging": {}, "resources": { "subscribe": true } },
            "serverInfo": { "name": "forgetful", "version": "1" },
        }),
        "resources/list" => json!({ "resources": [{ "uri": "file:///a", "name": "a" }] }),
        "resources/templates/list" => json!({ "resourceTemplates": [] }),
        "resources/subscribe" if !memory.refuses => {
            memory.subscribed.push(message["params"]["uri"].as_str().unwrap().to_owned());
            json!({})
        }
        "logging/setLevel" => {
            memory.level = message["params"]["level"].as_str().map(str::to_owned);
            json!({})
        }
        _ => Value::Null,
    };
    let answer = if result.is_null() {
        json!({ "jsonrpc": "2.0", "id": id, "error": { "code": -32601, "message": "no" } })
    } else {
        json!({ "jsonrpc": "2.0", "id": id, "result": result })
    };
    let text = answer.to_string();
    format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n{more}content-length: {}\r\n\r\n{text}", text.len())
}

/// What comes on a client's own stream.
fn listen(address: SocketAddr, session: &str) -> impl Iterator<Item = Value> {
    let mut socket = TcpStream::connect(address).unwrap();
    socket.set_read_timeout(Some(std::time::Duration::from_secs(60))).unwrap();
    let request = format!(
        "GET /mcp HTTP/1.1\r\nhost: {address}\r\naccept: text/event-stream\r\nmcp-session-id: {session}\r\nmcp-protocol-version: 2025-11-25\r\n\r\n"
    );
    socket.write_all(request.as_bytes()).unwrap();
    let lines = BufReader::new(socket).lines().map(|line| line.expect("the stream goes on"));
    lines.filter_map(|line| serde_json::from_str(line.strip_prefix("data: ")?).ok())
}

#[test]
fn subscriptions_and_streams_outlive_the_sessions_of_a_server_that_forgets_them() {
    let (folder, notes, shop) = (Folder::new(), Forgetful::start(), Server::start());
    let file = format!(
        "upstreams:\n- {{ name: notes, http: {{ url: 'http://{}/mcp', era: legacy }} }}\n- {{ name: shop, http: {{ url: '{}' }} }}\npolicy: observe\n",
        notes.address,
        shop.url()
    );
    folder.write("p.yaml", &file);
    let (mut gateway, address) = Running::gateway(&folder, &["--config", "p.yaml"]);
    let opened = http(address, "POST", "/mcp", &LEGACY, HELLO);
    let session = opened.header("mcp-session-id").unwrap_or_else(|| panic!("{opened:?}")).to_owned();
    let mut headers = LEGACY.to_vec();
    headers.extend([("mcp-session-id", session.as_str()), ("mcp-protocol-version", "2025-11-25")]);
    let say = |message: Value| http(address, "POST", "/mcp", &headers, &message.to_string());
    let ask = |id: u32, method: &str, params: Value| {
        say(json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params }))
    };
    assert_eq!(say(json!({ "jsonrpc": "2.0", "method": "notifications/initialized" })).status, 202);
    let mut stream = listen(address, &session);
    assert!(ask(1, "logging/setLevel", json!({ "level": "info" })).body.contains("result"));
    let subscribed = ask(2, "resources/subscribe", json!({ "uri": "notes+file:///a" }));
    assert!(subscribed.body.contains("result"), "{subscribed:?}");
    let standing = |what: &str| eventually(what, || notes.look(|memory| (!memory.streams.is_empty()).then_some(())));
    standing("the first stream");
    notes.updates();
    let uri = |update: &Value| update["params"]["uri"].as_str().unwrap_or_default().to_owned();
    assert_eq!(uri(&stream.next().unwrap()), "notes+file:///a");

    notes.forgets(false);
    eventually("everything to be asked for again", || {
        notes.look(|memory| {
            (memory.subscribed == ["file:///a"] && memory.level.as_deref() == Some("info")).then_some(())
        })
    });
    standing("the next stream");
    notes.updates();
    assert_eq!(uri(&stream.next().unwrap()), "notes+file:///a", "on the stream that the client opened once");

    notes.forgets(true);
    let told = stream.next().unwrap();
    assert_eq!(told["params"]["data"]["resources"], json!(["notes+file:///a"]), "{told}");
    assert_eq!((&told["method"], &told["params"]["logger"]), (&json!("notifications/message"), &json!("portcullis")));

    gateway.signal("INT");
    assert!(gateway.end().success());
    let log = folder.read("audit/audit-00000001.jsonl");
    let asked = log.lines().filter(|line| line.contains("\"intent\"") && line.contains("resources/subscribe")).count();
    assert_eq!(asked, 3, "the client's own and two in its place: {log}");
}
