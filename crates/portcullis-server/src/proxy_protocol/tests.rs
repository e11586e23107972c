use std::net::{IpAddr, SocketAddr};

use proptest::prelude::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::{FIXED, Header, LONGEST_LINE, SIGNATURE, Unread, read, version_1, version_2};

/// A header as HAProxy writes it.
fn version_2_bytes(source: SocketAddr, tlvs: &[u8]) -> Vec<u8> {
    let mut bytes = SIGNATURE.to_vec();
    let (family, address) = match source.ip() {
        IpAddr::V4(address) => (0x11, address.octets().to_vec()),
        IpAddr::V6(address) => (0x21, address.octets().to_vec()),
    };
    let length = u16::try_from(2 * address.len() + 4 + tlvs.len()).unwrap();
    bytes.extend([0x21, family]);
    bytes.extend(length.to_be_bytes());
    bytes.extend(&address);
    bytes.extend(&address);
    bytes.extend(source.port().to_be_bytes());
    bytes.extend(443_u16.to_be_bytes());
    bytes.extend(tlvs);
    bytes
}

fn version_1_line(source: SocketAddr) -> String {
    let family = if source.is_ipv4() { "TCP4" } else { "TCP6" };
    format!("PROXY {family} {} {} {} 443\r\n", source.ip(), source.ip(), source.port())
}

async fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap());
    let (client, accepted) = tokio::join!(client, listener.accept());
    (client.unwrap(), accepted.unwrap().0)
}

/// Reads the header of a connection that begins with `bytes`, then the rest.
async fn reads(bytes: &[u8]) -> (Result<Header, Unread>, Vec<u8>) {
    let (mut client, mut server) = pair().await;
    client.write_all(bytes).await.unwrap();
    client.shutdown().await.unwrap();
    let header = read(&mut server).await;
    let mut rest = Vec::new();
    if header.is_ok() {
        server.read_to_end(&mut rest).await.unwrap();
    }
    (header, rest)
}

#[tokio::test]
async fn a_header_names_the_client_and_leaves_every_byte_that_follows_it() {
    let source: SocketAddr = "203.0.113.9:51000".parse().unwrap();
    let six: SocketAddr = "[2001:db8::9]:51000".parse().unwrap();
    for (header, expected) in [
        (version_1_line(source).into_bytes(), Header::Of(source)),
        (version_1_line(six).into_bytes(), Header::Of(six)),
        (version_2_bytes(source, b""), Header::Of(source)),
        (version_2_bytes(six, &[0x03, 0, 4, 1, 2, 3, 4]), Header::Of(six)),
        (b"PROXY UNKNOWN\r\n".to_vec(), Header::Own),
        (b"PROXY UNKNOWN ffff:: ffff:: 65535 65535\r\n".to_vec(), Header::Own),
        ([&SIGNATURE[..], &[0x20, 0x00, 0, 0]].concat(), Header::Own),
        // What a LOCAL header carries is not looked at.
        ([&SIGNATURE[..], &[0x20, 0x31, 0, 3, 9, 9, 9]].concat(), Header::Own),
        ([&SIGNATURE[..], &[0x21, 0x00, 0, 0]].concat(), Header::Own),
    ] {
        let follows = b"\r\n\r\n\0\r\nGET / HTTP/1.1\r\n";
        let (read, rest) = reads(&[&header[..], follows].concat()).await;
        assert_eq!(read.unwrap(), expected);
        assert_eq!(rest, follows);
    }
}

#[tokio::test]
async fn a_header_may_arrive_byte_by_byte() {
    let source: SocketAddr = "203.0.113.9:51000".parse().unwrap();
    for header in [version_1_line(source).into_bytes(), version_2_bytes(source, b"")] {
        let (mut client, mut server) = pair().await;
        client.set_nodelay(true).unwrap();
        let reading = tokio::spawn(async move { read(&mut server).await });
        for byte in header {
            client.write_all(&[byte]).await.unwrap();
            tokio::task::yield_now().await;
        }
        assert_eq!(reading.await.unwrap().unwrap(), Header::Of(source));
    }
}

#[tokio::test]
async fn what_is_no_header_is_refused_and_never_waited_for_to_its_end() {
    let long = format!("PROXY TCP4 {}\r\n", "1".repeat(LONGEST_LINE));
    let huge = [&SIGNATURE[..], &[0x21, 0x11, 0xff, 0xff]].concat();
    for bytes in [
        &b"GET /mcp HTTP/1.1\r\nhost: localhost\r\n\r\n"[..],
        b"PROXYTCP4 1.1.1.1 2.2.2.2 1 2\r\n",
        b"PROXY TCP4 1.1.1.1 2.2.2.2 1\r\n",
        b"PROXY TCP4 1.1.1.1 2.2.2.2 1 2 3\r\n",
        b"PROXY TCP4 1.1.1.1 2.2.2.2 1 2\n",
        b"PROXY TCP4  1.1.1.1 2.2.2.2 1 2\r\n",
        b"PROXY TCP4 ::1 ::1 1 2\r\n",
        b"PROXY TCP6 1.1.1.1 2.2.2.2 1 2\r\n",
        b"PROXY TCP4 1.1.1.1 2.2.2.2 65536 2\r\n",
        b"PROXY TCP4 1.1.1.1 2.2.2.2 01 2\r\n",
        b"PROXY TCP4 1.1.1.1 2.2.2.2 +1 2\r\n",
        b"PROXY TCP4 01.1.1.1 2.2.2.2 1 2\r\n",
        b"PROXY UNKNOWNS\r\n",
        long.as_bytes(),
        huge.as_slice(),
    ] {
        let (read, _) = reads(bytes).await;
        assert!(matches!(read, Err(Unread::Invalid(_))), "{read:?} {:?}", String::from_utf8_lossy(bytes));
    }
    for cut in [&b""[..], b"PROXY ", b"PROXY TCP4 1.1.1.1 2.2.2.2", &SIGNATURE, &huge[..FIXED - 1]] {
        let (read, _) = reads(cut).await;
        assert!(matches!(read, Err(Unread::Broken(_))), "{read:?}");
    }
}

#[test]
fn a_version_2_header_is_of_version_2_and_of_a_tcp_connection() {
    let body = [1; 36];
    for (command, family) in
        [(0x11, 0x11), (0x22, 0x11), (0x31, 0x11), (0x21, 0x12), (0x21, 0x22), (0x21, 0x31), (0x21, 0xff)]
    {
        assert!(version_2(command, family, &body).is_err(), "{command:#x} {family:#x}");
    }
    assert!(version_2(0x21, 0x11, &body[..11]).is_err());
    assert!(version_2(0x21, 0x21, &body[..35]).is_err());
}

proptest! {
    #[test]
    fn every_address_survives_both_versions(address: IpAddr, port: u16, tlvs in prop::collection::vec(any::<u8>(), 0..64)) {
        let source = SocketAddr::new(address, port);
        prop_assert_eq!(version_1(version_1_line(source).as_bytes()), Ok(Header::Of(source)));
        let bytes = version_2_bytes(source, &tlvs);
        prop_assert_eq!(version_2(bytes[12], bytes[13], &bytes[FIXED..]), Ok(Header::Of(source)));
    }

    #[test]
    fn no_bytes_make_the_parser_panic(line in prop::collection::vec(any::<u8>(), 0..128), command: u8, family: u8) {
        let _ = version_1(&line);
        let _ = version_2(command, family, &line);
    }
}
