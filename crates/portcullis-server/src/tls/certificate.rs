//! What a verified client certificate says: its subject, its names, its SPIFFE id. Written so that no two subjects read the same.

use aws_lc_rs::digest::{SHA256, digest};
use portcullis_core::clock::Timestamp;
use portcullis_core::own::hex;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::objects::{oid_registry, oid2abbrev};
use x509_parser::prelude::FromDer;
use x509_parser::x509::{AttributeTypeAndValue, X509Name};

use crate::peer::ClientCertificate;

/// Names of one kind. 64: ten times what certificates of programs have.
const MOST_NAMES: usize = 64;
/// Bytes of a SPIFFE id (SPIFFE-ID §2.3).
const LONGEST_SPIFFE: usize = 2048;

/// Reads a certificate that was verified already.
///
/// # Errors
/// It cannot be read in one way only; then it proves nothing.
pub(crate) fn read(der: &[u8]) -> Result<ClientCertificate, &'static str> {
    let (rest, certificate) = X509Certificate::from_der(der).map_err(|_| "the client certificate is not one")?;
    if !rest.is_empty() {
        return Err("there is more after the client certificate");
    }
    let (mut dns, mut uris, mut emails) = (Vec::new(), Vec::new(), Vec::new());
    let names = certificate.subject_alternative_name().map_err(|_| "the client certificate's names cannot be read")?;
    for name in names.iter().flat_map(|names| &names.value.general_names) {
        match name {
            GeneralName::DNSName(name) => dns.push((*name).to_owned()),
            GeneralName::URI(uri) => uris.push((*uri).to_owned()),
            GeneralName::RFC822Name(email) => emails.push((*email).to_owned()),
            GeneralName::Invalid(..) => return Err("the client certificate's names cannot be read"),
            // Addresses and directories name no caller here.
            _ => {}
        }
    }
    if dns.len().max(uris.len()).max(emails.len()) > MOST_NAMES {
        return Err("the client certificate has too many names");
    }
    let spiffe = spiffe(&uris)?;
    let thumbprint = digest(&SHA256, der).as_ref().try_into().map_err(|_| "no digest")?;
    let expires = u64::try_from(certificate.validity().not_after.timestamp()).unwrap_or(0);
    let expires = Timestamp(expires.saturating_mul(1000));
    let subject = subject(certificate.subject());
    Ok(ClientCertificate { subject, dns, uris, emails, spiffe, thumbprint, expires })
}

/// An X.509-SVID has one URI name and no other (§2). A certificate with a SPIFFE id and another URI could be taken for either.
fn spiffe(uris: &[String]) -> Result<Option<String>, &'static str> {
    let is_spiffe = |uri: &String| uri.get(..9).is_some_and(|scheme| scheme.eq_ignore_ascii_case("spiffe://"));
    if !uris.iter().any(is_spiffe) {
        return Ok(None);
    }
    match uris {
        [one] if is_spiffe_id(one) => Ok(Some(one.clone())),
        [_] => Err("the client certificate's SPIFFE id is not one"),
        _ => Err("the client certificate has a SPIFFE id and other URIs"),
    }
}

/// SPIFFE-ID §2: a trust domain in lower case, then segments that are neither empty nor dots.
fn is_spiffe_id(uri: &str) -> bool {
    let Some(rest) = uri.strip_prefix("spiffe://").filter(|_| uri.len() <= LONGEST_SPIFFE) else { return false };
    let (domain, path) = rest.split_once('/').map_or((rest, None), |(domain, path)| (domain, Some(path)));
    let in_domain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'.' | b'-' | b'_');
    let in_segment = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
    let segment = |text: &str| !matches!(text, "" | "." | "..") && text.bytes().all(in_segment);
    (1..=255).contains(&domain.len())
        && domain.bytes().all(in_domain)
        && path.is_none_or(|path| path.split('/').all(segment))
}

/// RFC 4514 §2: last part first, separators and quotes escaped.
fn subject(name: &X509Name<'_>) -> String {
    let parts: Vec<_> = name.iter_rdn().collect();
    let written = parts.iter().rev().map(|part| part.iter().map(attribute).collect::<Vec<_>>().join("+"));
    written.collect::<Vec<_>>().join(",")
}

fn attribute(attribute: &AttributeTypeAndValue<'_>) -> String {
    let oid = attribute.attr_type();
    let kind = oid2abbrev(oid, oid_registry()).map_or_else(|_| oid.to_id_string(), str::to_owned);
    match attribute.as_str() {
        Ok(value) => format!("{kind}={}", escaped(value)),
        Err(_) => format!("{kind}=#{}", hex(attribute.as_slice())),
    }
}

/// RFC 4514 §2.4.
fn escaped(value: &str) -> String {
    let mut out = String::with_capacity(value.len());
    let last = value.chars().count().saturating_sub(1);
    for (at, letter) in value.chars().enumerate() {
        let at_edge = letter == ' ' && (at == 0 || at == last) || letter == '#' && at == 0;
        if letter.is_control() {
            let mut bytes = [0; 4];
            for byte in letter.encode_utf8(&mut bytes).bytes() {
                out.push_str(&format!("\\{byte:02x}"));
            }
            continue;
        }
        if at_edge || matches!(letter, '"' | '+' | ',' | ';' | '<' | '>' | '\\' | '=') {
            out.push('\\');
        }
        out.push(letter);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::{escaped, is_spiffe_id, read};
    use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair, SanType};

    fn certificate(names: Vec<SanType>, common_name: &str) -> Vec<u8> {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::OrganizationName, "Example, Inc.");
        params.distinguished_name.push(DnType::CommonName, common_name);
        params.subject_alt_names = names;
        params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().to_vec()
    }

    fn uri(text: &str) -> SanType {
        SanType::URI(text.try_into().unwrap())
    }

    #[test]
    fn names_and_subject_are_read_and_no_subject_can_be_written_as_another() {
        let names = vec![
            uri("spiffe://example.org/agents/report"),
            SanType::DnsName("agent.example.org".try_into().unwrap()),
            SanType::Rfc822Name("agent@example.org".try_into().unwrap()),
        ];
        let der = certificate(names, "x,O=Admins");
        let read = read(&der).unwrap();
        assert_eq!(read.subject, r"CN=x\,O\=Admins,O=Example\, Inc.");
        assert_eq!(read.dns, ["agent.example.org"]);
        assert_eq!(read.emails, ["agent@example.org"]);
        assert_eq!(read.spiffe.as_deref(), Some("spiffe://example.org/agents/report"));
        assert!(super::read(&[&der[..], b"x"].concat()).is_err());
    }

    #[test]
    fn a_certificate_has_one_spiffe_id_and_no_other_uri_beside_it() {
        for uris in [
            &["spiffe://example.org/a", "spiffe://example.org/b"][..],
            &["spiffe://example.org/a", "https://example.org"],
            &["SPIFFE://example.org/a"],
            &["spiffe://Example.org/a"],
            &["spiffe://example.org/a/../b"],
            &["spiffe://example.org/"],
            &["spiffe://example.org:443/a"],
            &["spiffe://"],
        ] {
            let der = certificate(uris.iter().map(|text| uri(text)).collect(), "x");
            assert!(read(&der).is_err(), "{uris:?}");
        }
        let der = certificate(vec![uri("https://example.org"), uri("urn:x")], "x");
        assert_eq!(read(&der).unwrap().spiffe, None);
        assert!(is_spiffe_id("spiffe://example.org"));
        assert!(!is_spiffe_id(&format!("spiffe://example.org/{}", "a".repeat(2048))));
    }

    #[test]
    fn spaces_at_the_edge_signs_and_control_letters_are_escaped() {
        assert_eq!(escaped(" #a#\n "), "\\ #a#\\0a\\ ");
        assert_eq!(escaped("#a"), "\\#a");
        assert_eq!(escaped(" "), "\\ ");
    }
}
