//! Which `Host` and `Origin` values are ours. Checked on every route and method before anything else (A2–A4, C2).

mod pattern;

use std::net::{IpAddr, SocketAddr};

use http::header::ORIGIN;
use http::{HeaderMap, Uri};
use portcullis_core::refusal::Violation;

use self::pattern::{Origin, Pattern};
use crate::authority::{Authority, is_host_letter};
use crate::cors::Page;

/// The rule of one listener.
#[derive(Clone, Debug)]
pub struct OriginRule {
    hosts: Hosts,
    origins: Option<Vec<Pattern>>,
    /// Port of a loopback listener without configured origins; loopback origins must name it.
    loopback_port: Option<u16>,
}

#[derive(Clone, Debug)]
enum Hosts {
    Any,
    Loopback,
    Listed(Vec<String>),
}

impl OriginRule {
    /// The rule of a listener at `bound`: what the operator listed, or what is safe there (see `ServerSettings`).
    ///
    /// # Errors
    /// Something in a list that no `Host` or `Origin` can be; the text names the key.
    pub fn new(bound: SocketAddr, hosts: Option<&[String]>, origins: Option<&[String]>) -> Result<Self, String> {
        let loopback = bound.ip().is_loopback();
        let hosts = match hosts {
            Some([]) => return Err("allowed_hosts: an empty list would let nobody in; remove the key".to_owned()),
            Some(listed) => Hosts::Listed(listed.iter().map(|text| host(text)).collect::<Result<_, _>>()?),
            None if loopback => Hosts::Loopback,
            None => Hosts::Any,
        };
        let patterns = |listed: &[String]| listed.iter().map(|text| Pattern::new(text)).collect::<Result<_, _>>();
        let origins = origins.map(patterns).transpose().map_err(|why| format!("allowed_origins: {why}"))?;
        Ok(Self { hosts, origins, loopback_port: loopback.then_some(bound.port()) })
    }

    /// # Errors
    /// A missing, repeated, unreadable or foreign `Host`; an `Origin` that is repeated, unreadable, `null` or not allowed.
    pub fn check(&self, uri: &Uri, headers: &HeaderMap) -> Result<(), Violation> {
        let asked = Authority::of_request(uri, headers).ok_or(Violation::HostRefused)?;
        self.admit(asked.host, headers).map(drop)
    }

    /// The same for a host that is known already; gives the page that asks, if one does.
    ///
    /// # Errors
    /// As [`OriginRule::check`].
    pub(crate) fn admit(&self, host: &str, headers: &HeaderMap) -> Result<Option<Page>, Violation> {
        let known = match &self.hosts {
            Hosts::Any => true,
            Hosts::Loopback => is_loopback_name(host),
            Hosts::Listed(listed) => listed.iter().any(|allowed| allowed.eq_ignore_ascii_case(host)),
        };
        if !known {
            return Err(Violation::HostRefused);
        }
        let mut origins = headers.get_all(ORIGIN).iter();
        let Some(value) = origins.next() else { return Ok(None) };
        let origin = value.to_str().ok().and_then(Origin::parse).filter(|_| origins.next().is_none());
        let allowed = origin.is_some_and(|origin| self.allows(&origin));
        allowed.then(|| Some(Page::new(value.clone()))).ok_or(Violation::OriginRefused)
    }

    fn allows(&self, origin: &Origin) -> bool {
        if let Some(listed) = &self.origins {
            return listed.iter().any(|allowed| allowed.covers(origin));
        }
        let Some(port) = self.loopback_port else { return false };
        matches!(origin.scheme.as_str(), "http" | "https")
            && is_loopback_name(&origin.host)
            && origin.port == Some(port)
    }
}

fn host(text: &str) -> Result<String, String> {
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    let fits = !bare.is_empty() && bare.bytes().all(is_host_letter) || bare.parse::<IpAddr>().is_ok();
    fits.then(|| bare.to_ascii_lowercase())
        .ok_or_else(|| format!("allowed_hosts: `{text}` is not a host name; write it bare, such as `mcp.example.com`"))
}

fn is_loopback_name(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost") || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests;
