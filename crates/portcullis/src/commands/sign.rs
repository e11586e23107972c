//! `portcullis sign`: the headers that sign one request, or the `curl` command that sends it. Sends nothing itself.

use std::borrow::Cow;
use std::path::Path;

use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri};
use portcullis_core::clock::Clock as _;
use portcullis_identity::signature::{Signed, Signer};
use portcullis_server::SystemClock;

use crate::cli::SignArgs;
use crate::commands::given;
use crate::exit::{Exit, Failure};
use crate::out::{self, escaped};

/// What every MCP server asks for and `curl` would not send.
const USUAL: [(HeaderName, &str); 2] =
    [(http::header::CONTENT_TYPE, "application/json"), (http::header::ACCEPT, "application/json, text/event-stream")];

/// Prints what signs a request.
pub(crate) fn sign(args: &SignArgs) -> Result<Exit, Failure> {
    let signer = signer(args)?;
    let url = url(&args.url)?;
    let body = args.body.as_deref().map(given).transpose()?;
    let usual = if body.is_some() { "POST" } else { "GET" };
    let method = args.method.as_deref().unwrap_or(usual);
    Method::from_bytes(method.as_bytes())
        .map_err(|_| Failure::usage(format!("`{}` is no HTTP method", escaped(method))).help("such as `POST`"))?;
    let headers = headers(&args.headers)?;
    let request = Signed {
        method,
        target_uri: &url,
        headers: &headers,
        body: body.as_deref().unwrap_or_default(),
        session: None,
    };
    let added = signer
        .sign(&request, SystemClock.now(), args.expires_in, None)
        .map_err(|why| Failure::usage(format!("the request cannot be signed: {why}")))?;
    if args.curl {
        return curl(args, &request, &added);
    }
    for (name, value) in &added {
        out::line(format_args!("{name}: {}", shown(value)))?;
    }
    Ok(Exit::Success)
}

fn signer(args: &SignArgs) -> Result<Signer, Failure> {
    let file = args.key.display();
    let pem = std::fs::read(&args.key).map_err(|error| {
        Failure::usage(format!("cannot read `{file}`: {error}"))
            .help("`openssl genpkey -algorithm ed25519 -out key.pem` makes a key")
    })?;
    Signer::new(&args.key_id, &pem).map_err(|why| {
        Failure::usage(format!("cannot sign as `{}` with `{file}`: {why}", escaped(&args.key_id)))
            .help("the file holds the private key in PEM, unencrypted; the gateway has the public one")
    })
}

/// The URL as clients put it into a request. They send no fragment and no user, and `/` for no path.
fn url(text: &str) -> Result<String, Failure> {
    let wrong = |why: &str| {
        Failure::usage(format!("`{}` cannot be signed: {why}", escaped(text)))
            .help("write the URL as the client calls it, such as `https://gateway.example/mcp`")
    };
    if text.contains('#') {
        return Err(wrong("a fragment is never sent"));
    }
    let uri: Uri = text.parse().map_err(|_| wrong("it is no URL"))?;
    if !matches!(uri.scheme_str(), Some("http" | "https")) {
        return Err(wrong("it begins with neither `http://` nor `https://`"));
    }
    if uri.authority().is_none_or(|authority| authority.as_str().contains('@')) {
        return Err(wrong("a user does not belong into it"));
    }
    Ok(uri.to_string())
}

fn headers(given: &[(HeaderName, HeaderValue)]) -> Result<HeaderMap, Failure> {
    let mut headers = HeaderMap::new();
    for (name, value) in given {
        if matches!(name.as_str(), "signature" | "signature-input") {
            return Err(Failure::usage(format!("`{name}` is what this command makes")).help("leave it out"));
        }
        headers.append(name, value.clone());
    }
    Ok(headers)
}

/// The body is named, not repeated: `curl` sends a file as it is. One that came through standard input is gone by then, so it is written out.
fn curl(args: &SignArgs, request: &Signed<'_>, added: &[(HeaderName, HeaderValue)]) -> Result<Exit, Failure> {
    let mut words = vec![format!("curl -sS -X {} {}", quoted(request.method), quoted(request.target_uri))];
    let usual = USUAL.map(|(name, value)| (name, HeaderValue::from_static(value)));
    let usual = usual.iter().filter(|(name, _)| !request.headers.contains_key(name));
    for (name, value) in usual.map(|(name, value)| (name, value)).chain(request.headers).chain(pairs(added)) {
        words.push(format!("-H {}", quoted(&format!("{name}: {}", shown(value)))));
    }
    match args.body.as_deref() {
        None => {}
        Some(path) if path == Path::new("-") => {
            let text = std::str::from_utf8(request.body).ok().filter(|text| !text.contains('\0'));
            let text = text.ok_or_else(|| {
                Failure::usage("the body is no text that a shell could pass on")
                    .help("put it into a file, and name that")
            })?;
            words.push(format!("--data-raw {}", quoted(text)));
        }
        Some(path) => words.push(format!("--data-binary {}", quoted(&format!("@{}", path.display())))),
    }
    out::line(words.join(" \\\n  "))?;
    Ok(Exit::Success)
}

fn pairs(list: &[(HeaderName, HeaderValue)]) -> impl Iterator<Item = (&HeaderName, &HeaderValue)> {
    list.iter().map(|(name, value)| (name, value))
}

/// As it was typed, or made here.
fn shown(value: &HeaderValue) -> Cow<'_, str> {
    String::from_utf8_lossy(value.as_bytes())
}

/// One word of a POSIX shell.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}
