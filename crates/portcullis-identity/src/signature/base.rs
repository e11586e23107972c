//! The text that is signed (RFC 9421 §2.5): one line per component and one for the parameters.

use crate::Failed;

use super::Signed;
use super::fields::{malformed, value};

/// # Errors
/// A component that the request does not have, that nobody here can derive, or whose value could be read as another line.
pub(super) fn base<S: AsRef<str>>(request: &Signed<'_>, components: &[S], parameters: &str) -> Result<String, Failed> {
    let mut base = String::with_capacity(512);
    for name in components {
        let name = name.as_ref();
        let value = component(request, name)?;
        // Header values were checked by their reader; this also holds for what the listener hands in.
        if value.bytes().any(|byte| !matches!(byte, b'\t' | b' '..=b'~')) {
            return Err(malformed(format!("`{name}` is not ASCII")));
        }
        base.push_str(&format!("\"{name}\": {value}\n"));
    }
    base.push_str("\"@signature-params\": ");
    base.push_str(parameters);
    Ok(base)
}

fn component(request: &Signed<'_>, name: &str) -> Result<String, Failed> {
    if !name.starts_with('@') {
        if name.bytes().any(|byte| byte.is_ascii_uppercase()) {
            return Err(malformed("a component that is not in lower case"));
        }
        return value(request.headers, name)?.ok_or_else(|| malformed(format!("`{name}` is signed and absent")));
    }
    let target = Target::of(request.target_uri)?;
    Ok(match name {
        "@method" => request.method.to_owned(),
        "@target-uri" => request.target_uri.to_owned(),
        "@scheme" => target.scheme,
        "@authority" => target.authority,
        "@path" => target.path,
        "@query" => target.query,
        _ => return Err(malformed(format!("component `{name}` is not known here"))),
    })
}

/// The parts of an absolute URI, as they are written: a client signs what it sent, so nothing may be normalised but what §2.2 says.
struct Target {
    scheme: String,
    authority: String,
    path: String,
    query: String,
}

impl Target {
    fn of(uri: &str) -> Result<Self, Failed> {
        let (scheme, rest) = uri.split_once("://").ok_or_else(|| malformed("the target is no absolute URI"))?;
        let scheme = scheme.to_ascii_lowercase();
        let rest = rest.split_once('#').map_or(rest, |(before, _)| before);
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let authority = authority.to_ascii_lowercase();
        let port = match scheme.as_str() {
            "https" => ":443",
            "http" => ":80",
            _ => return Err(malformed("the target is not of HTTP")),
        };
        let authority = authority.strip_suffix(port).map_or_else(|| authority.clone(), str::to_owned);
        Ok(Self { scheme, authority, path: format!("/{path}"), query: format!("?{query}") })
    }
}
