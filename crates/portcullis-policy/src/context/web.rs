//! URLs as policies see them: parsed by the WHATWG rules, so that userinfo, case, dot segments, decimal and octal hosts and IDNA
//! spellings cannot make one host look like another.

use std::borrow::Cow;

use url::Url;

use super::{Fact, Facts, Fields, Unfit};
use crate::mentions::Needs;
use crate::vocabulary::Shape;

/// Adds `url` and `host`.
pub(super) fn push(facts: &Facts<'_>, needs: &Needs, pairs: &mut Fields<'_>) -> Result<(), Unfit> {
    let Some(text) = text(facts)? else { return Ok(()) };
    let url = Url::parse(&text).map_err(|_| Unfit::new("url", "not an absolute URL"))?;
    let host = host(&url);
    if let (true, Some(host)) = (needs.below("host").is_some(), &host) {
        pairs.push(("host".into(), Fact::string(host)));
    }
    let Some(wanted) = needs.below("url") else { return Ok(()) };
    let mut fields = vec![("scheme".into(), Fact::string(url.scheme()))];
    if let Some(host) = host {
        fields.push(("host".into(), Fact::string(&host)));
    }
    if let Some(port) = url.port_or_known_default() {
        fields.push(("port".into(), Fact::long(i64::from(port))));
    }
    if wanted.below("path").is_some() {
        fields.push(("path".into(), Fact::string(path(&url)?)));
    }
    pairs.push(("url".into(), Fact::record(fields)?));
    Ok(())
}

/// The URL a message is about, if its kind has one.
fn text<'a>(facts: &'a Facts<'_>) -> Result<Option<Cow<'a, str>>, Unfit> {
    match facts.shape {
        Shape::Resource => Ok(facts.name.as_deref().map(Cow::Borrowed)),
        Shape::Elicitation if facts.mode()?.is_some_and(|mode| mode == "url") => {
            let url = facts.params.and_then(|params| params.get("url"));
            url.and_then(|url| url.as_str())
                .map(Some)
                .ok_or_else(|| Unfit::new("url", "an elicitation by URL without a URL"))
        }
        _ => Ok(None),
    }
}

/// Without the dot that only marks a name as fully qualified: `example.com.` is `example.com`.
fn host(url: &Url) -> Option<String> {
    let host = url.host_str()?;
    let host = host.strip_suffix('.').unwrap_or(host);
    (!host.is_empty()).then(|| host.to_owned())
}

/// A path with an encoded slash, backslash or NUL means one thing to a policy and another to whoever decodes it first.
fn path(url: &Url) -> Result<&str, Unfit> {
    let path = url.path();
    let lower = path.to_ascii_lowercase();
    if ["%2f", "%5c", "%00"].iter().any(|hidden| lower.contains(hidden)) || lower.contains('\\') {
        return Err(Unfit::new("url.path", "hides a separator behind percent-encoding"));
    }
    Ok(path)
}
