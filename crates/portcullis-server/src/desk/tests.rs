use portcullis_core::gate::Inspected;
use portcullis_core::wire::Id;

use super::{Desk, Parcel};

fn parcel(number: i64) -> Parcel {
    Parcel::of(&Inspected::refusal(Some(&Id::number(number)), -1, "no", None))
}

#[tokio::test]
async fn j8_what_was_not_written_is_there_for_the_next_connection_and_in_order() {
    let desk = Desk::new();
    desk.put(parcel(1)).await;
    desk.put(parcel(2)).await;
    let first = desk.take();
    let mut tray = desk.tray().await;
    assert_eq!(tray.next().await.unwrap().text(), parcel(1).text());
    drop(tray);
    let second = desk.take();
    assert!(first.is_cancelled() && !second.is_cancelled(), "J9: one connection has it");
    let mut tray = desk.tray().await;
    for number in [1, 2] {
        assert_eq!(tray.next().await.unwrap().text(), parcel(number).text());
        tray.sent();
    }
    assert!(tray.next_now().is_none());
}

#[test]
fn c11_an_id_is_taken_while_its_request_is_in_progress() {
    let desk = Desk::new();
    let id = Id::string("a");
    let flight = desk.begin(&id, true).unwrap();
    assert!(desk.begin(&id, true).is_none());
    assert_eq!(desk.is_modern(&id), Some(true));
    desk.cancel(&id);
    assert!(flight.cancelled.is_cancelled());
    drop(flight);
    assert!(desk.begin(&id, false).is_some());
}
