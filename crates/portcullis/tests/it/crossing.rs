//! What does not cross the gateway: credentials and forwarding headers upwards, the server's cookies, challenges and session ids downwards
//! (F31, F33, F17); and what the gateway shows to the server in their place.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::process::Command;
use std::thread;

use serde_json::{Value, json};

use crate::contract::client::{Client, Era};
use crate::contract::peer::{Peer, json_answer, say};
use crate::contract::stage::{Log, SIDES, Stage, Transport, reference_server};
use crate::support::{Folder, Running, address_in, run};

/// The headers that the server saw of a call that came with these.
fn headers_seen(client: &Client, headers: &[(&str, &str)]) -> Vec<(String, String)> {
    let params = client.params(json!({ "name": "headers_seen", "arguments": {} }));
    let body = json!({ "jsonrpc": "2.0", "id": client.next_id(), "method": "tools/call", "params": params });
    let mut response = client.send_raw("tools/call", Some("headers_seen"), headers, &body.to_string());
    let answer: Value = loop {
        let message = response.message().expect("a response");
        if message.get("id").is_some() {
            break message;
        }
    };
    let seen =
        answer["result"]["structuredContent"]["headers"].as_array().unwrap_or_else(|| panic!("{answer}")).clone();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    seen.iter().map(|pair| (text(&pair[0]), text(&pair[1]))).collect()
}

#[test]
fn nothing_a_client_shows_to_the_gateway_reaches_the_server_f33() {
    for side in SIDES.into_iter().filter(|side| side.transport == Transport::Http) {
        let stage = Stage::new(side);
        let client = stage.client();
        let origin = format!("http://{}", stage.address);
        let shown = [
            ("cookie", "spied=1"),
            ("proxy-authorization", "Basic spied"),
            ("forwarded", "for=spied"),
            ("x-forwarded-for", "192.0.2.7"),
            ("x-forwarded-host", "spied.example"),
            ("x-forwarded-proto", "https"),
            ("x-real-ip", "192.0.2.7"),
            ("via", "1.1 spied"),
            ("user-agent", "spied/1"),
            ("x-anything", "spied"),
            ("origin", &origin),
        ];
        let seen = headers_seen(&client, &shown);
        for (name, value) in &seen {
            let known = shown.iter().any(|(shown, _)| shown == name);
            assert!(!known || (name == "user-agent" && value.starts_with("portcullis/")), "{name}: {value}");
            assert!(!value.contains("spied"), "{name}: {value}");
        }
        let session = seen.iter().find(|(name, _)| name == "mcp-session-id").map(|(_, value)| value.clone());
        assert!(session.is_none() || session != client.session, "the server has session ids of its own");
        stage.finish();
    }
}

#[test]
fn nothing_a_server_shows_to_the_gateway_reaches_the_client_f17_f33() {
    let spied = "set-cookie: spied=1\r\nwww-authenticate: Bearer resource_metadata=\"https://spied.example\"\r\nmcp-session-id: spied\r\naccess-control-allow-origin: https://spied.example\r\nserver: spied\r\nx-anything: spied\r\ncontent-type";
    for era in [Era::Legacy, Era::Modern] {
        let peer = Peer::start(era, move |heard, socket| {
            let refused = heard.body.contains("refused");
            let answer = json_answer(&heard.result("fine").to_string()).replacen("content-type", spied, 1);
            say(socket, &if refused { answer.replacen("200 OK", "401 Unauthorized", 1) } else { answer })
        });
        let folder = Folder::new();
        let (_gateway, address) = Running::gateway(&folder, &["--upstream", &peer.url()]);
        let client = Client::connect(address, era);
        for arguments in [json!({}), json!({ "refused": true })] {
            let mut exchange = client.open("tools/call", json!({ "name": "play", "arguments": arguments }));
            let response = &exchange.response;
            assert!(response.status != 401 && response.header("www-authenticate").is_none(), "{}", response.status);
            for (name, value) in &response.headers {
                assert!(!value.contains("spied"), "{name}: {value}");
            }
            let message = exchange.response.message().expect("an answer").to_string();
            assert!(!message.contains("spied"), "{message}");
            assert_eq!(message.contains("fine"), arguments == json!({}), "{message}");
        }
    }
}

/// Gives one token to who proves to be the client, and ends.
fn token_server() -> (String, thread::JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/token", listener.local_addr().unwrap());
    let served = thread::spawn(move || {
        let (mut socket, _) = listener.accept().unwrap();
        let mut heard = String::new();
        let mut piece = [0; 4096];
        // The form ends with the name of the server that the token is for.
        while !heard.contains("resource=") || !heard.ends_with("%2Fmcp") {
            let count = socket.read(&mut piece).unwrap();
            assert!(count > 0, "the request ended early: {heard}");
            heard.push_str(std::str::from_utf8(&piece[..count]).unwrap());
        }
        let answer = r#"{"access_token":"t0k3n","token_type":"Bearer","expires_in":3600}"#;
        socket.write_all(json_answer(answer).as_bytes()).unwrap();
        heard
    });
    (url, served)
}

#[test]
fn the_server_gets_a_token_of_the_gateways_and_nobody_else_reads_it_f32() {
    let mut server = Running::spawn(Command::new(reference_server()).args(["http", "--era", "modern"]));
    let address = address_in(&server.wait_for("listening on http://"));
    let (tokens, served) = token_server();
    let folder = Folder::new();
    folder.write("secret", "s3cret\n");
    folder.write(
        "p.yaml",
        &format!(
            "upstream:\n  http:\n    url: http://{address}/mcp\n    credentials:\n      grant: client_credentials\n      \
             token_endpoint: {tokens}\n      client_id: gateway\n      client_secret: {{ file: secret }}\n"
        ),
    );
    let (mut gateway, address) = Running::gateway(&folder, &["--config", "p.yaml"]);
    let client = Client::connect(address, Era::Modern);
    for _ in 0..3 {
        let seen = headers_seen(&client, &[]);
        let authorization: Vec<_> = seen.iter().filter(|(name, _)| name == "authorization").collect();
        assert_eq!(authorization, [&("authorization".to_owned(), "Bearer t0k3n".to_owned())]);
    }
    let asked = served.join().unwrap();
    // `gateway:s3cret`.
    assert!(asked.to_ascii_lowercase().contains("authorization: basic z2f0zxdhetpzm2nyzxq="), "{asked}");
    gateway.signal("INT");
    assert!(gateway.end().success());
    let written = gateway.said.join("\n") + &Value::Array(Log::of(&folder).entries).to_string();
    assert!(!written.contains("t0k3n") && !written.contains("s3cret"), "{written}");
}

#[test]
fn credentials_that_cannot_work_are_found_by_check() {
    let folder = Folder::new();
    folder.write(
        "p.yaml",
        "upstream:\n  http:\n    url: https://mcp.example.com/mcp\n    credentials:\n      grant: client_credentials\n      \
         issuer: http://login.example.com\n      client_id: gateway\n      client_secret: { value: s3cret }\n",
    );
    let ended = run(&folder, &["check", "--config", "p.yaml"]);
    assert_ne!(ended.code, 0, "{ended:?}");
    let said = ended.out + &ended.err;
    assert!(said.contains("upstream.http.credentials.issuer") && said.contains("must be https"), "{said}");
    assert!(!said.contains("s3cret"), "{said}");
}
