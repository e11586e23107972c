//! Over a Unix socket: the same as over a network, but for where it connects to.

use std::path::PathBuf;

use portcullis_core::refusal::FaultKind;
use portcullis_core::upstream::Upstream;
use portcullis_core::wire::Limits;
use tokio::net::{TcpStream, UnixListener};

use super::{made, settings};
use crate::settings::{EraSetting, HttpSettings, SettingsError};
use crate::testing::{Canned, all, json, modern, modern_call};

fn over(socket: impl Into<PathBuf>, url: &str) -> HttpSettings {
    HttpSettings { socket: Some(socket.into()), ..settings(url, EraSetting::Modern) }
}

#[tokio::test]
async fn requests_go_over_the_socket_and_name_what_the_url_names() {
    let answer = json(200, r#"{"jsonrpc":"2.0","id":7,"result":{"resultType":"complete"}}"#);
    let server = Canned::bytes(answer).await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("mcp.sock");
    let listener = UnixListener::bind(&path).unwrap();
    let address = server.url.trim_start_matches("http://").trim_end_matches("/mcp").to_owned();
    tokio::spawn(async move {
        while let Ok((mut ours, _)) = listener.accept().await {
            let mut theirs = TcpStream::connect(&address).await.unwrap();
            tokio::spawn(async move { tokio::io::copy_bidirectional(&mut ours, &mut theirs).await });
        }
    });
    // A name that nothing answers to: it is only said.
    let upstream = made(&over(path, "http://notes.invalid/of/mcp?k=v"), Limits::default()).unwrap();
    let answers = all(upstream.send(modern().say(&modern_call("7"))).await.unwrap()).await;
    assert!(answers[0].is_ok(), "{answers:?}");
    let heard = server.heard();
    assert_eq!(heard[0].header("host"), Some("notes.invalid"));
    assert!(heard[0].head.starts_with("POST /of/mcp?k=v HTTP/1.1\r\n"), "{}", heard[0].head);
}

#[tokio::test]
async fn a_socket_that_nobody_listens_on_is_unreachable_and_nothing_left() {
    let folder = tempfile::tempdir().unwrap();
    let upstream = made(&over(folder.path().join("none.sock"), "http://localhost/mcp"), Limits::default()).unwrap();
    let fault = upstream.send(modern().say(&modern_call("7"))).await.unwrap_err();
    assert_eq!((fault.kind, fault.never_left), (FaultKind::Unreachable, true));
    assert!(fault.detail.contains("none.sock"), "{}", fault.detail);
}

#[test]
fn a_socket_has_no_tls_and_a_path_that_fits() {
    let refused = |socket: &str, url| made(&over(socket, url), Limits::default()).err();
    assert_eq!(refused("/run/mcp.sock", "http://mcp.example/mcp"), None);
    assert!(matches!(refused("/run/mcp.sock", "https://mcp.example/mcp"), Some(SettingsError::BadUrl { .. })));
    assert!(matches!(refused(&"/long".repeat(40), "http://localhost/mcp"), Some(SettingsError::BadSocket { .. })));
    assert!(matches!(refused("/run/\0", "http://localhost/mcp"), Some(SettingsError::BadSocket { .. })));
}
