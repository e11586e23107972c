//! The PROXY protocol, versions 1 and 2 (haproxy.org, `proxy-protocol.txt`): a load balancer that does not speak HTTP says in front of a
//! connection whose it is. Read only from trusted peers, in bounded size; the caller bounds the time.
//!
//! Written here instead of taken from a crate: the crates for it read a buffer that is there already, and what has to be right is the
//! reading: not one byte more than the header, which TLS or HTTP follows at once.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use schemars::JsonSchema;
use serde::Deserialize;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

/// Whether connections begin with a PROXY header.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ProxyProtocol {
    /// Never. A connection that begins with one is not HTTP.
    #[default]
    Off,
    /// Always: a connection without one, or from a peer that is not in `trusted_proxies`, is refused. There is no "perhaps": whoever could
    /// leave the header away could also write it.
    Required,
}

const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
/// Signature, version and command, family and transport, length.
const FIXED: usize = 16;
/// Longest line of version 1, its end included (§2.1).
const LONGEST_LINE: usize = 107;
/// Bytes after the fixed part of version 2. 4096: addresses take 36, and what real load balancers add in TLVs stays under 1 KiB.
const MOST_BYTES: usize = 4096;

/// What stands in front of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Header {
    /// The load balancer's own connection (a health check), or one whose origin it does not know.
    Own,
    /// It carries the connection of this address.
    Of(SocketAddr),
}

/// Why there is no header.
#[derive(Debug)]
pub(crate) enum Unread {
    Broken(io::Error),
    /// What stands there is no header.
    Invalid(&'static str),
}

impl From<io::Error> for Unread {
    fn from(error: io::Error) -> Self {
        Self::Broken(error)
    }
}

/// Takes the header off a connection, and not a byte more.
///
/// # Errors
/// The connection ends, or it begins with something else.
pub(crate) async fn read(socket: &mut TcpStream) -> Result<Header, Unread> {
    let mut start = [0; SIGNATURE.len()];
    socket.read_exact(&mut start).await?;
    if start == SIGNATURE {
        let mut rest = [0; FIXED - SIGNATURE.len()];
        socket.read_exact(&mut rest).await?;
        let [command, family, high, low] = rest;
        let length = usize::from(u16::from_be_bytes([high, low]));
        if length > MOST_BYTES {
            return Err(Unread::Invalid("the header is too long"));
        }
        let mut body = vec![0; length];
        socket.read_exact(&mut body).await?;
        return version_2(command, family, &body).map_err(Unread::Invalid);
    }
    let mut line = start.to_vec();
    while !line.ends_with(b"\n") {
        if !b"PROXY ".iter().zip(&line).all(|(expected, byte)| expected == byte) || line.len() >= LONGEST_LINE {
            return Err(Unread::Invalid("the connection does not begin with a header"));
        }
        // Seen before it is taken: what follows the line is not ours.
        let mut ahead = [0; LONGEST_LINE];
        let room = ahead.get_mut(line.len()..).unwrap_or_default();
        let seen = socket.peek(room).await?;
        let seen = room.get(..seen).unwrap_or_default();
        let wanted = seen.iter().position(|byte| *byte == b'\n').map_or(seen.len(), |at| at + 1);
        if wanted == 0 {
            return Err(Unread::Broken(io::ErrorKind::UnexpectedEof.into()));
        }
        let before = line.len();
        line.resize(before + wanted, 0);
        socket.read_exact(line.get_mut(before..).unwrap_or_default()).await?;
    }
    version_1(&line).map_err(Unread::Invalid)
}

/// `PROXY TCP4 SOURCE DESTINATION PORT PORT\r\n` (§2.1).
fn version_1(line: &[u8]) -> Result<Header, &'static str> {
    const BROKEN: &str = "the line is not one of version 1";
    let text = std::str::from_utf8(line).map_err(|_| BROKEN)?;
    let text = text.strip_prefix("PROXY ").and_then(|text| text.strip_suffix("\r\n")).ok_or(BROKEN)?;
    if text == "UNKNOWN" || text.starts_with("UNKNOWN ") {
        return Ok(Header::Own);
    }
    let parts: Vec<&str> = text.split(' ').collect();
    let [family, source, destination, source_port, destination_port] = parts.as_slice() else { return Err(BROKEN) };
    let address = |text: &str| -> Option<IpAddr> {
        match *family {
            "TCP4" => text.parse::<Ipv4Addr>().ok().map(IpAddr::from),
            "TCP6" => text.parse::<Ipv6Addr>().ok().map(IpAddr::from),
            _ => None,
        }
    };
    let source = address(source).ok_or(BROKEN)?;
    let port = port(source_port).ok_or(BROKEN)?;
    let complete = address(destination).is_some() && self::port(destination_port).is_some();
    complete.then_some(Header::Of(SocketAddr::new(source, port))).ok_or(BROKEN)
}

fn port(text: &str) -> Option<u16> {
    let canonical = text == "0" || !text.starts_with(['0', '+']);
    text.parse().ok().filter(|_| canonical)
}

/// The part after the fixed length (§2.2). TLVs are skipped, the checksum among them: TCP has one of its own, and a header is believed for
/// who sends it.
fn version_2(command: u8, family: u8, body: &[u8]) -> Result<Header, &'static str> {
    match command {
        // LOCAL: the receiver must not look at the rest.
        0x20 => return Ok(Header::Own),
        0x21 => {}
        _ => return Err("neither version 2 nor a command of it"),
    }
    let source = match family {
        // The sender does not say.
        0x00 => return Ok(Header::Own),
        0x11 => addresses::<4>(body).map(|(address, port)| (IpAddr::from(address), port)),
        0x21 => addresses::<16>(body).map(|(address, port)| (IpAddr::from(address), port)),
        _ => return Err("the carried connection is not TCP"),
    };
    let (address, port) = source.ok_or("the header is too short for its addresses")?;
    Ok(Header::Of(SocketAddr::new(address, port)))
}

/// Source address and port; destination address and port stand between and after them, and must be there.
fn addresses<const N: usize>(body: &[u8]) -> Option<([u8; N], u16)> {
    let (source, rest) = body.split_first_chunk::<N>()?;
    let (_destination, rest) = rest.split_first_chunk::<N>()?;
    let (ports, _tlvs) = rest.split_first_chunk::<4>()?;
    let [high, low, ..] = *ports;
    Some((*source, u16::from_be_bytes([high, low])))
}

#[cfg(test)]
mod tests;
