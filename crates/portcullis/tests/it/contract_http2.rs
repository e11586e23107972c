//! The whole contract once more, over HTTP/2 and TLS. The client of the cases speaks HTTP/1.1, so a translator stands between that changes
//! nothing else.

mod translator;

use self::translator::Translator;
use crate::contract::client::Era;
use crate::contract::stage::{SIDES, Stage, Transport};
use crate::contract::{CASES, play};

fn over_http2(era: Era) {
    let side = SIDES.into_iter().find(|side| side.era == era && side.transport == Transport::Http).unwrap();
    let (mut stage, certificate) = Stage::secured(side);
    let translator = Translator::before(stage.address, certificate);
    stage.address = translator.address;
    play(stage, CASES);
    assert!(translator.translated() > CASES.len(), "the cases went this way");
}

#[test]
fn a_legacy_client_over_http_2_finds_every_case_kept() {
    over_http2(Era::Legacy);
}

#[test]
fn a_modern_client_over_http_2_finds_every_case_kept() {
    over_http2(Era::Modern);
}
