//! `Forwarded` (RFC 7239) and the `X-Forwarded-*` headers that came before it, followed from the right. Anything that can be read in two
//! ways is an error: the caller refuses the request.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use http::header::FORWARDED;
use http::{HeaderMap, HeaderName};

static FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
static PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
static HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

/// Hops in one header. 32: ten times what stands in front of any real service; more is somebody playing.
const MOST_HOPS: usize = 32;

/// What the trusted hops say about the first one that is not.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Told {
    pub(super) address: IpAddr,
    /// What nobody says is not so.
    pub(super) secure: bool,
    /// With port, not yet checked.
    pub(super) host: Option<String>,
}

/// One hop as the proxy after it describes it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Hop {
    address: Option<IpAddr>,
    secure: Option<bool>,
    host: Option<String>,
}

/// What `Forwarded` says; `None` without it.
pub(super) fn forwarded(headers: &HeaderMap, trusted: impl Fn(IpAddr) -> bool) -> Result<Option<Told>, &'static str> {
    let mut hops = Vec::new();
    for value in headers.get_all(FORWARDED) {
        let text = value.to_str().map_err(|_| "`forwarded` is not ASCII")?;
        let mut rest = text;
        loop {
            let hop;
            (hop, rest) = element(rest)?;
            hops.extend(hop);
            if hops.len() > MOST_HOPS {
                return Err("`forwarded` has too many elements");
            }
            match rest.strip_prefix(',') {
                Some(next) => rest = next,
                None if rest.is_empty() => break,
                None => return Err("`forwarded` is not a list of parameters"),
            }
        }
    }
    if hops.is_empty() {
        return if headers.contains_key(FORWARDED) { Err("`forwarded` is empty") } else { Ok(None) };
    }
    follow(&hops, trusted).map(Some)
}

/// What `X-Forwarded-For`, `-Proto` and `-Host` say; `None` without any of them.
pub(super) fn x_forwarded(headers: &HeaderMap, trusted: impl Fn(IpAddr) -> bool) -> Result<Option<Told>, &'static str> {
    let (addresses, protos, hosts) = (list(headers, &FOR)?, list(headers, &PROTO)?, list(headers, &HOST)?);
    if addresses.is_empty() && protos.is_empty() && hosts.is_empty() {
        return Ok(None);
    }
    let mut hops = Vec::with_capacity(addresses.len());
    for (index, text) in addresses.iter().enumerate() {
        let address = address(text).ok_or("`x-forwarded-for` holds something that is no address")?;
        let secure = said(&protos, index, addresses.len())?.map(is_secure).transpose()?;
        let host = said(&hosts, index, addresses.len())?.map(str::to_owned);
        hops.push(Hop { address: Some(address), secure, host });
    }
    follow(&hops, trusted).map(Some)
}

/// From the right: each hop was described by the one after it, and the last by our peer. The first that is not trusted is the client.
fn follow(hops: &[Hop], trusted: impl Fn(IpAddr) -> bool) -> Result<Told, &'static str> {
    let mut client = None;
    for hop in hops.iter().rev() {
        let address = hop.address.ok_or("a trusted proxy names no client")?;
        client = Some((address, hop));
        if !trusted(address) {
            break;
        }
    }
    let (address, hop) = client.ok_or("a trusted proxy names no client")?;
    Ok(Told { address, secure: hop.secure.unwrap_or(false), host: hop.host.clone() })
}

/// One value for all hops, which the nearest proxy vouches for, or one for each.
fn said<'a>(values: &[&'a str], index: usize, hops: usize) -> Result<Option<&'a str>, &'static str> {
    match values {
        [] => Ok(None),
        [one] => Ok(Some(one)),
        many if many.len() == hops => Ok(many.get(index).copied()),
        _ => Err("`x-forwarded-proto` or `x-forwarded-host` is for other hops than `x-forwarded-for`"),
    }
}

fn list<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<Vec<&'a str>, &'static str> {
    let mut all = Vec::new();
    for value in headers.get_all(name) {
        let text = value.to_str().map_err(|_| "an `x-forwarded-*` header is not ASCII")?;
        all.extend(text.split(',').map(trim));
        if all.len() > MOST_HOPS {
            return Err("an `x-forwarded-*` header has too many elements");
        }
    }
    if all.iter().any(|text| text.is_empty()) {
        return Err("an `x-forwarded-*` header has an empty element");
    }
    Ok(all)
}

fn is_secure(scheme: &str) -> Result<bool, &'static str> {
    match scheme.to_ascii_lowercase().as_str() {
        "https" | "wss" => Ok(true),
        "http" | "ws" => Ok(false),
        _ => Err("the forwarded scheme is neither `http` nor `https`"),
    }
}

/// An address, perhaps with a port, as RFC 7239 §6 and the makers of load balancers write it. `unknown` and obfuscated names are nobody.
fn address(text: &str) -> Option<IpAddr> {
    let bracketed = || text.strip_prefix('[')?.strip_suffix(']')?.parse::<Ipv6Addr>().ok().map(IpAddr::from);
    let parsed = text.parse::<IpAddr>().ok().or_else(bracketed);
    let address = parsed.or_else(|| text.parse::<SocketAddr>().ok().map(|socket| socket.ip()))?;
    Some(address.to_canonical())
}

/// One `forwarded-element` and what comes after it; an empty one is none (RFC 9110 §5.6.1.2).
fn element(text: &str) -> Result<(Option<Hop>, &str), &'static str> {
    let mut hop = Hop::default();
    let mut names: Vec<String> = Vec::new();
    let mut rest = trim_start(text);
    while !rest.is_empty() && !rest.starts_with(',') {
        if let Some(next) = rest.strip_prefix(';') {
            rest = trim_start(next);
            continue;
        }
        let (name, value);
        (name, value, rest) = pair(rest)?;
        let name = name.to_ascii_lowercase();
        if names.contains(&name) {
            return Err("`forwarded` has a parameter twice");
        }
        match name.as_str() {
            "for" => hop.address = Some(address(&value).ok_or("`forwarded` has a `for` that is no address")?),
            "proto" => hop.secure = Some(is_secure(&value)?),
            "host" => hop.host = Some(value),
            // `by`, and whatever else there may come to be, decides nothing here.
            _ => {}
        }
        names.push(name);
        rest = trim_start(rest);
        if !(rest.is_empty() || rest.starts_with([',', ';'])) {
            return Err("`forwarded` is not a list of parameters");
        }
    }
    Ok(((!names.is_empty()).then_some(hop), rest))
}

/// `token "=" ( token / quoted-string )`
fn pair(text: &str) -> Result<(&str, String, &str), &'static str> {
    let broken = "`forwarded` is not a list of parameters";
    let (name, rest) = token(text).ok_or(broken)?;
    let rest = rest.strip_prefix('=').ok_or(broken)?;
    let Some(quoted) = rest.strip_prefix('"') else {
        let (value, rest) = token(rest).ok_or(broken)?;
        return Ok((name, value.to_owned(), rest));
    };
    let mut value = String::new();
    let mut letters = quoted.chars();
    loop {
        match letters.next() {
            Some('"') => return Ok((name, value, letters.as_str())),
            Some('\\') => value.push(letters.next().ok_or(broken)?),
            Some(letter) => value.push(letter),
            None => return Err("`forwarded` has a quote that does not end"),
        }
    }
}

fn token(text: &str) -> Option<(&str, &str)> {
    let end = text.find(|letter: char| !is_token_letter(letter)).unwrap_or(text.len());
    text.split_at_checked(end).filter(|(token, _)| !token.is_empty())
}

/// RFC 9110 §5.6.2.
const fn is_token_letter(letter: char) -> bool {
    letter.is_ascii_alphanumeric()
        || matches!(letter, '!' | '#' | '$' | '%' | '&' | '\'' | '*' | '+' | '-' | '.' | '^' | '_' | '`' | '|' | '~')
}

fn trim(text: &str) -> &str {
    text.trim_matches([' ', '\t'])
}

fn trim_start(text: &str) -> &str {
    text.trim_start_matches([' ', '\t'])
}
