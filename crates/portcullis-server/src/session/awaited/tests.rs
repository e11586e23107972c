use super::{Awaited, MOST, MOST_BYTES, MOST_NEWS, Wish};
use crate::session::awaited::State;

fn resource(uri: impl Into<String>) -> Option<Wish> {
    Some(Wish::Resource(uri.into().into()))
}

fn bytes(state: &State) -> usize {
    state.wishes.iter().map(|(_, wish)| wish.len()).sum()
}

#[test]
fn wishes_are_bounded_in_number_and_bytes_and_what_is_beyond_is_known() {
    let mut state = State::default();
    for number in 0..=MOST {
        state.keep(1, resource(number.to_string()));
    }
    assert_eq!((state.wishes.len(), state.beyond.as_slice()), (MOST, &[1][..]));
    assert_eq!(state.bytes, bytes(&state));
    let mut state = State::default();
    state.keep(0, resource("x".repeat(MOST_BYTES)));
    state.keep(2, resource("y"));
    assert_eq!((state.wishes.len(), state.beyond.as_slice()), (1, &[2][..]));
}

#[test]
fn one_level_a_server_and_one_subscription_a_uri() {
    let mut state = State::default();
    for (at, level) in [(0, "debug"), (1, "info"), (0, "error")] {
        state.keep(at, Some(Wish::Level(level.into())));
        state.keep(at, resource("a"));
    }
    let levels: Vec<_> = state.wishes.iter().filter(|(_, wish)| matches!(wish, Wish::Level(_))).collect();
    assert_eq!(levels, [&(1, Wish::Level("info".into())), &(0, Wish::Level("error".into()))]);
    assert_eq!((state.wishes.len(), state.bytes), (4, bytes(&state)));
    state.forget(0, &Wish::Resource("a".into()));
    state.forget(0, &Wish::Resource("a".into()));
    assert_eq!((state.wishes.len(), state.bytes), (3, bytes(&state)));
}

#[test]
fn one_asks_a_server_at_a_time_and_again_when_it_was_lost_meanwhile() {
    let awaited = Awaited::default();
    assert!(awaited.begins(0) && !awaited.begins(0) && awaited.begins(1));
    assert!(awaited.ends(0, false), "it was lost meanwhile");
    assert!(!awaited.ends(0, false));
    assert!(awaited.begins(0), "who comes later asks again");
    assert!(!awaited.begins(0));
    assert!(awaited.ends(0, true));
    assert!(awaited.begins(0), "also when it was given up");
}

#[tokio::test]
async fn the_newest_sentences_are_kept_for_a_client_that_does_not_listen() {
    let awaited = Awaited::default();
    for number in 0..=MOST_NEWS {
        awaited.tell(number.to_string());
    }
    for number in 1..=MOST_NEWS {
        assert_eq!(awaited.news().await, number.to_string());
    }
}
