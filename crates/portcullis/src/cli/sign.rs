//! Options of `portcullis sign`.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use http::{HeaderName, HeaderValue};

/// Seconds a signature may be good for. A day: the longest that a gateway can be told to accept one.
const LONGEST: u64 = 86_400;

const EXAMPLES: &str = "\
Examples:
  portcullis sign --key-id ci --key key.pem call.json
  portcullis sign --key-id ci --key key.pem --url https://gateway.example/mcp --curl call.json | sh
  portcullis sign --key-id ci --key key.pem -H 'Mcp-Session-Id: 0f4c…' - < call.json

Signed are the method, the URL, the body and, where the request has them, `MCP-Protocol-Version` and `Mcp-Session-Id`: give both as \
they will be sent. Body and URL must be sent byte for byte as they were signed, and once: the signature carries a nonce, so sign again for \
every attempt.

A key, and its public half for `identity.signatures.signers`:
  openssl genpkey -algorithm ed25519 -out key.pem
  openssl pkey -in key.pem -pubout -out ci.pub.pem

Exit codes: 0 signed, 2 a file or an option cannot be used.";

/// Options of `portcullis sign`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct SignArgs {
    /// Name that the gateway knows the key by (`key_id` of a signer).
    #[arg(long, value_name = "ID")]
    pub(crate) key_id: String,
    /// Private key in PEM, Ed25519 or ECDSA P-256.
    #[arg(long, value_name = "FILE.pem")]
    pub(crate) key: PathBuf,
    /// URL that the request goes to, as the client calls it, query included.
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:8700/mcp")]
    pub(crate) url: String,
    /// Method of the request [default: POST with a body, GET without].
    #[arg(long, value_name = "METHOD")]
    pub(crate) method: Option<String>,
    /// Header that the request has; may be repeated.
    #[arg(short = 'H', long = "header", value_name = "NAME: VALUE", value_parser = header)]
    pub(crate) headers: Vec<(HeaderName, HeaderValue)>,
    /// How long the signature is good, such as `60s` or `5m`. The gateway has a limit of its own (`max_age_seconds`).
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = time)]
    pub(crate) expires_in: Duration,
    /// Print a `curl` command that sends the request, in place of the headers.
    #[arg(long)]
    pub(crate) curl: bool,
    /// File with the body; `-` for standard input. Without it, there is no body.
    #[arg(value_name = "BODY_FILE")]
    pub(crate) body: Option<PathBuf>,
}

/// A header as it is written on a command line.
pub(super) fn header(text: &str) -> Result<(HeaderName, HeaderValue), String> {
    let (name, value) = text.split_once(':').ok_or("write it as `name: value`")?;
    let name =
        HeaderName::from_bytes(name.as_bytes()).map_err(|_| format!("`{name}` cannot be the name of a header"))?;
    let value =
        HeaderValue::from_str(value.trim()).map_err(|_| "the value holds what no header can hold".to_owned())?;
    Ok((name, value))
}

/// Whole seconds, as the signature has them.
fn time(text: &str) -> Result<Duration, String> {
    let (number, unit) = match text.strip_suffix('m') {
        Some(minutes) => (minutes, 60),
        None => (text.strip_suffix('s').unwrap_or(text), 1),
    };
    let seconds = number.parse::<u64>().ok().and_then(|number| number.checked_mul(unit));
    let seconds = seconds.filter(|seconds| (1..=LONGEST).contains(seconds));
    seconds.map(Duration::from_secs).ok_or_else(|| format!("write `60s` or `5m`, at most {LONGEST} seconds"))
}
