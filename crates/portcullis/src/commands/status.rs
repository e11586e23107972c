//! `portcullis status`: what a running gateway says of its servers, and the way to reset a breaker. Talks to the admin address only.

use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, StatusCode, Uri, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpStream;

use crate::cli::StatusArgs;
use crate::commands::runtime;
use crate::exit::{Exit, Failure};
use crate::out::{self, BAD, DIM, GOOD, NAME, PLAIN, Styled, WARN, clipped};

/// The gateway is on this machine and answers from memory.
const PATIENCE: Duration = Duration::from_secs(10);
/// Of an answer: some thousand servers.
const MOST_BYTES: usize = 16 << 20;
/// Characters of a failure on one line.
const SENTENCE: usize = 120;

/// Asks, and prints.
pub(crate) fn status(args: &StatusArgs) -> Result<Exit, Failure> {
    let runtime = runtime()?;
    if let Some(name) = &args.reset {
        let (server, transport) =
            name.split_once('/').map_or((name.as_str(), None), |(server, transport)| (server, Some(transport)));
        let body = json!({ "server": server, "transport": transport }).to_string();
        let (status, answer) = runtime.block_on(ask(&args.admin, Method::POST, "/reset", body))?;
        if status != StatusCode::OK {
            return Err(Failure::new(said(&answer)).help("`portcullis status` names the servers"));
        }
        out::line(format_args!("{} reset", Styled(NAME, clipped(name, 100))))?;
        return Ok(Exit::Success);
    }
    let (status, answer) = runtime.block_on(ask(&args.admin, Method::GET, "/status", String::new()))?;
    if status != StatusCode::OK {
        return Err(Failure::usage(said(&answer)));
    }
    let parsed: Value = serde_json::from_str(&answer)
        .map_err(|_| Failure::usage(format!("`{}` does not answer like a gateway", clipped(&args.admin, 100))))?;
    if args.json {
        out::raw(&answer)?;
    } else {
        table(&parsed)?;
    }
    let servers = parsed.get("servers").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let down = servers.iter().any(|server| text(server, "health") == "unhealthy");
    Ok(if down { Exit::Failure } else { Exit::Success })
}

fn said(answer: &str) -> String {
    format!("the gateway says: {}", clipped(answer.trim(), 200))
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value.get(key).and_then(Value::as_str).unwrap_or_default()
}

fn count(value: &Value, pointer: &str) -> u64 {
    value.pointer(pointer).and_then(Value::as_u64).unwrap_or_default()
}

fn table(parsed: &Value) -> Result<(), Failure> {
    let rows = |key: &str| parsed.get(key).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    for server in rows("servers") {
        let health = text(server, "health");
        let style = match health {
            "healthy" => GOOD,
            "degraded" => WARN,
            "unhealthy" => BAD,
            _ => PLAIN,
        };
        let name = format!("{}/{}", text(server, "server"), text(server, "transport"));
        out::line(format_args!(
            "{:<32} {:<10} for {:<8} breaker {:<10}{}  answered {} failed {} refused {}",
            Styled(NAME, clipped(&name, 60)),
            Styled(style, health),
            age(count(server, "/healthForMs")),
            text(server, "breaker").replace('_', " "),
            wait(server),
            count(server, "/calls/answered"),
            count(server, "/calls/failed"),
            count(server, "/calls/refused"),
        ))?;
        if let Some(failure) = server.get("lastFailure").filter(|failure| failure.is_object()) {
            let ago = age(count(failure, "/agoMs"));
            let line = format!("  last failure {ago} ago: {}", clipped(text(failure, "text"), SENTENCE));
            out::line(format_args!("{}", Styled(DIM, line)))?;
        }
        for tool in server.get("tools").and_then(Value::as_array).into_iter().flatten() {
            let name = clipped(text(tool, "tool"), 60);
            out::line(format_args!("  tool {}: breaker {}{}", Styled(NAME, name), text(tool, "breaker"), wait(tool)))?;
        }
    }
    for room in rows("rooms") {
        out::line(format_args!(
            "{:<32} under way {} waiting {} streams {} refused {}",
            Styled(NAME, clipped(text(room, "server"), 60)),
            count(room, "/calls"),
            count(room, "/waiting"),
            count(room, "/streams"),
            count(room, "/refused"),
        ))?;
    }
    Ok(())
}

fn wait(of: &Value) -> String {
    let left = of.get("retryAfterMs").and_then(Value::as_u64);
    left.map(|left| format!(" next try in {}", age(left))).unwrap_or_default()
}

/// The largest unit that says it.
fn age(millis: u64) -> String {
    match millis / 1000 {
        0 => format!("{millis} ms"),
        seconds @ 1..120 => format!("{seconds} s"),
        seconds @ 120..7_200 => format!("{} min", seconds / 60),
        seconds => format!("{} h", seconds / 3_600),
    }
}

async fn ask(admin: &str, method: Method, path: &'static str, body: String) -> Result<(StatusCode, String), Failure> {
    let authority = authority(admin)?;
    let exchange = async {
        let unreachable = |error: String| {
            Failure::usage(format!("no gateway at `{authority}`: {error}"))
                .help("start it with `--admin 127.0.0.1:8701`, and name that address with `--admin`")
        };
        let socket = TcpStream::connect(&authority).await.map_err(|error| unreachable(error.to_string()))?;
        let broken = |error: hyper::Error| unreachable(error.to_string());
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(socket)).await.map_err(broken)?;
        let driven = tokio::spawn(connection);
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, &authority)
            .header(header::CONTENT_TYPE, "application/json")
            .body(Full::new(Bytes::from(body)))
            .map_err(|error| unreachable(error.to_string()))?;
        let (head, body) = sender.send_request(request).await.map_err(broken)?.into_parts();
        let body = Limited::new(body, MOST_BYTES).collect().await.map_err(|error| unreachable(error.to_string()))?;
        driven.abort();
        Ok((head.status, String::from_utf8_lossy(&body.to_bytes()).into_owned()))
    };
    let late = || Failure::usage(format!("the gateway at `{authority}` did not answer within {PATIENCE:?}"));
    tokio::time::timeout(PATIENCE, exchange).await.map_err(|_| late())?
}

/// `http://HOST:PORT`, or just that host and port.
fn authority(admin: &str) -> Result<String, Failure> {
    let wrong = || {
        Failure::usage(format!("`{}` is no address of a gateway", clipped(admin, 100)))
            .help("write it as `http://127.0.0.1:8701`")
    };
    let uri: Uri = admin.parse().map_err(|_| wrong())?;
    let plain = uri.scheme_str().is_none_or(|scheme| scheme == "http") && matches!(uri.path(), "" | "/");
    let authority = uri.authority().filter(|authority| plain && authority.port().is_some());
    authority.map(ToString::to_string).ok_or_else(wrong)
}
