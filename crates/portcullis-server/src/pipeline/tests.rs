//! The pipeline from the outside: real sockets, a canned server.

mod bad_input;
mod certificates;
mod discovery;
mod legacy;
mod merged;
mod modern;
mod proofs;
mod renewal;
mod sessions;
mod streams;
mod tokens;

/// A thousand open streams are a thousand connections, each as large as what serves a request.
#[test]
fn a_connection_keeps_no_room_for_the_work_of_its_requests() {
    fn size<A, B, C, F>(_: impl FnOnce(A, B, C) -> F) -> usize {
        size_of::<F>()
    }
    assert!(size(super::handle) <= 4096, "{} bytes", size(super::handle));
}
