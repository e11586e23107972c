//! What a token endpoint answered, strictly read. Nothing of it is shown but an error's code.

use std::time::Duration;

use http::{HeaderValue, StatusCode};
use portcullis_core::refusal::ProofFailure;
use serde_json::{Map, Value};

use crate::json;

/// Bytes of an access token. 16 KiB: it has to fit into the headers that servers accept, of which 16 KiB is a usual limit.
const MOST_BYTES: usize = 16 << 10;
/// Use of a token whose life is not told. 300 s: shorter than any life that is common.
const LIFETIME_UNTOLD: Duration = Duration::from_secs(300);
/// The longest use of any token. An hour: what is taken away from the gateway is noticed by then, for one request an hour.
const LONGEST: Duration = Duration::from_secs(3600);
/// Bytes shown of an error's code. 64: the longest registered one has 31.
const SHOWN: usize = 64;

/// A token that can be used.
pub(super) struct Issued {
    /// `Bearer TOKEN`, never logged.
    pub(super) authorization: HeaderValue,
    pub(super) lifetime: Duration,
}

/// Why there is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum NoToken {
    /// For this request; another may be granted.
    Refused(String),
    /// The server is not well, or does not know us: nobody's request would be granted.
    Unavailable(String),
}

/// `exchanged`: the answer to an exchange says what kind of token it is (RFC 8693 §2.2.1).
pub(super) fn read(status: StatusCode, body: &[u8], exchanged: bool) -> Result<Issued, NoToken> {
    match status {
        StatusCode::OK => issued(body, exchanged).map_err(NoToken::Refused),
        StatusCode::BAD_REQUEST | StatusCode::FORBIDDEN | StatusCode::UNAUTHORIZED => Err(refusal(status, body)),
        _ => Err(NoToken::Unavailable(format!("the token endpoint answered {}", status.as_u16()))),
    }
}

fn issued(body: &[u8], exchanged: bool) -> Result<Issued, String> {
    let answer = object(body)?;
    let token = text(&answer, "access_token")?.ok_or("the answer has no `access_token`")?;
    // RFC 6749 A.12: visible characters; a space or a line end would write another header.
    if token.is_empty() || token.len() > MOST_BYTES || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(format!("the `access_token` of {} bytes cannot stand in a header", token.len()));
    }
    match text(&answer, "token_type")? {
        Some(kind) if kind.eq_ignore_ascii_case("bearer") => {}
        Some(kind) if kind.eq_ignore_ascii_case("dpop") => {
            return Err("the token is bound by DPoP, which the gateway does not use towards servers".to_owned());
        }
        Some(_) => return Err("the `token_type` is not `Bearer`".to_owned()),
        None => return Err("the answer has no `token_type`".to_owned()),
    }
    if exchanged {
        let kind =
            text(&answer, "issued_token_type")?.and_then(|kind| kind.strip_prefix("urn:ietf:params:oauth:token-type:"));
        if !matches!(kind, Some("access_token" | "jwt")) {
            return Err("the `issued_token_type` is not an access token's".to_owned());
        }
    }
    let lifetime = match answer.get("expires_in") {
        None => LIFETIME_UNTOLD,
        Some(value) => Duration::from_secs(value.as_u64().ok_or("`expires_in` is no whole number of seconds")?),
    };
    if lifetime.is_zero() {
        return Err("the token has already expired".to_owned());
    }
    let mut authorization = HeaderValue::try_from(format!("Bearer {token}")).map_err(|error| error.to_string())?;
    authorization.set_sensitive(true);
    Ok(Issued { authorization, lifetime: lifetime.min(LONGEST) })
}

/// RFC 6749 §5.2. Of the answer only the code is shown, and only if it is one.
fn refusal(status: StatusCode, body: &[u8]) -> NoToken {
    let code = object(body).ok().and_then(|answer| answer.get("error")?.as_str().map(str::to_owned));
    let plain =
        |code: &String| code.len() <= SHOWN && code.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    let status = status.as_u16();
    match code.filter(plain) {
        Some(code) if status == 401 || code == "invalid_client" => {
            NoToken::Unavailable(format!("the authorization server does not accept this client: {status} `{code}`"))
        }
        Some(code) => NoToken::Refused(format!("the authorization server gives no token: {status} `{code}`")),
        None => NoToken::Unavailable(format!("the token endpoint answered {status} without a code")),
    }
}

fn object(body: &[u8]) -> Result<Map<String, Value>, String> {
    json::object(body, ProofFailure::IssuerUnavailable)
        .map_err(|failed| format!("the answer is no JSON object: {}", failed.detail))
}

fn text<'a>(answer: &'a Map<String, Value>, name: &str) -> Result<Option<&'a str>, String> {
    json::text(answer, name, ProofFailure::IssuerUnavailable).map_err(|failed| failed.detail)
}
