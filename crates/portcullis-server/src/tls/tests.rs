use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use portcullis_core::clock::Timestamp;
use tokio_util::sync::CancellationToken;

use super::{ClientCertificates, Tls, TlsSettings, certificate};
use crate::peer::{Peer, Proven};
use crate::proxies::Proxies;
use crate::testing::secure::Authority;

#[test]
fn files_that_cannot_be_used_and_settings_that_contradict_themselves_name_their_key() {
    let authority = Authority::new();
    let good = authority.settings(ClientCertificates::Required);
    assert!(Tls::new(&good).is_ok());
    let other_key = authority.issue(Vec::new(), 2100).key.serialize_pem();
    for (says, spoil) in [
        (
            "tls.certificate: ",
            Box::new(|tls: &mut TlsSettings| tls.certificate = PathBuf::from("/nowhere"))
                as Box<dyn Fn(&mut TlsSettings)>,
        ),
        ("tls.certificate: ", Box::new(|tls| tls.certificate = authority.write("text", "no certificate"))),
        ("tls.certificate: ", Box::new(|tls| tls.key = authority.write("other.key", &other_key))),
        ("tls.key: ", Box::new(|tls| tls.key.clone_from(&tls.certificate))),
        ("tls.client_ca: ", Box::new(|tls| tls.client_ca = Some(authority.write("empty", "")))),
        ("tls.client_ca: ", Box::new(|tls| tls.client_certificates = ClientCertificates::Off)),
        ("tls.client_certificates: ", Box::new(|tls| tls.client_ca = None)),
    ] {
        let mut bad = good.clone();
        spoil(&mut bad);
        let error = Tls::new(&bad).unwrap_err();
        assert!(error.starts_with(says), "{says}{error}");
    }
}

#[test]
fn files_are_read_again_when_they_change_and_bad_ones_leave_the_old_in_force() {
    let authority = Authority::new();
    let tls = Tls::new(&authority.settings(ClientCertificates::Off)).unwrap();
    let in_force = || Arc::as_ptr(&tls.current.load().config);
    let first = in_force();
    assert!(tls.refresh(false).is_none(), "nothing has changed");
    let (_, key) = authority.renew();
    assert_eq!(tls.refresh(false), Some(Ok(())));
    let second = in_force();
    assert_ne!(first, second);
    fs::write(&key, "half a ke").unwrap();
    assert!(tls.refresh(false).unwrap().unwrap_err().starts_with("tls.key: "));
    assert_eq!(in_force(), second);
    assert!(tls.refresh(false).is_none(), "the same bad files are not tried again");
    fs::remove_file(&key).unwrap();
    assert!(tls.refresh(false).unwrap().is_err());
    assert!(tls.refresh(true).unwrap().is_err(), "somebody asked");
    assert_eq!(in_force(), second);
    authority.renew();
    assert_eq!(tls.refresh(false), Some(Ok(())));
}

#[test]
fn new_authorities_end_the_trust_in_what_the_old_ones_signed_and_new_certificates_do_not() {
    let authority = Authority::new();
    let tls = Tls::new(&authority.settings(ClientCertificates::Required)).unwrap();
    let (_, trust) = tls.acceptor();
    authority.renew();
    assert_eq!(tls.refresh(false), Some(Ok(())));
    assert!(!trust.is_cancelled());
    authority.replace(&Authority::new());
    assert_eq!(tls.refresh(false), Some(Ok(())));
    assert!(trust.is_cancelled());
    assert!(!tls.acceptor().1.is_cancelled());
}

#[test]
fn a_certificate_proves_nothing_once_it_is_expired_or_its_authority_gone_and_is_not_taken_for_none() {
    let authority = Authority::new();
    let read = certificate::read(&authority.agent(2050).chain[0]).unwrap();
    assert_eq!(read.spiffe.as_deref(), Some("spiffe://example.org/agent"));
    assert_eq!(read.expires, Timestamp(2_524_608_000_000), "the beginning of 2050");
    let trust = CancellationToken::new();
    let proven = |certificate| Some(Proven { certificate, trust: trust.clone() });
    let address = "192.0.2.1:1".parse().unwrap();
    let peer = Peer::new(&Proxies::default(), address, proven(Some(Arc::new(read))));
    let before = Timestamp(2_524_608_000_000);
    assert!(peer.certificate(before).unwrap().is_some());
    assert_eq!(peer.certificate(Timestamp(before.0 + 1)).unwrap_err().code.as_str(), "certificate_required");
    trust.cancel();
    assert_eq!(peer.certificate(before).unwrap_err().code.as_str(), "certificate_required");
    for never in [None, proven(None)] {
        assert_eq!(Peer::new(&Proxies::default(), address, never).certificate(before), Ok(None));
    }
}
