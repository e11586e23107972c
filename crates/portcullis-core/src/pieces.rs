//! A text that arrives in pieces and is wanted whole. It bounds nothing: whoever reads knows how much is allowed.

use bytes::{Bytes, BytesMut};

/// How many times what has come is trusted to follow. 8: all of an honest message after its first buffer, while what is only announced takes
/// no memory worth attacking for.
const TRUST: usize = 8;

/// Pieces put together. The only piece is passed on as it came; several are copied once, into room for all of them.
#[derive(Debug)]
pub struct Pieces {
    only: Bytes,
    joined: BytesMut,
    announced: usize,
}

impl Pieces {
    /// `announced`: how many bytes the sender says there are, if it says so.
    #[must_use]
    pub fn of(announced: Option<u64>) -> Self {
        let announced = announced.and_then(|length| usize::try_from(length).ok()).unwrap_or_default();
        Self { only: Bytes::new(), joined: BytesMut::new(), announced }
    }

    /// Bytes so far.
    #[must_use]
    pub fn held(&self) -> usize {
        self.only.len() + self.joined.len()
    }

    pub fn push(&mut self, piece: Bytes) {
        let held = self.held();
        let all = held.saturating_add(piece.len());
        if held == 0 && all >= self.announced {
            self.only = piece;
            return;
        }
        if all > self.joined.capacity() {
            let expected = self.announced.min(all.saturating_mul(TRUST)).max(all);
            self.joined.reserve(expected - self.joined.len());
        }
        self.joined.extend_from_slice(&std::mem::take(&mut self.only));
        self.joined.extend_from_slice(&piece);
    }

    /// The text.
    #[must_use]
    pub fn whole(self) -> Bytes {
        if self.joined.is_empty() { self.only } else { self.joined.freeze() }
    }
}

#[cfg(test)]
mod tests {
    use super::{Pieces, TRUST};
    use bytes::Bytes;

    fn put_together(announced: Option<u64>, texts: &[&'static str]) -> Bytes {
        let mut pieces = Pieces::of(announced);
        let mut held = 0;
        for text in texts {
            pieces.push(Bytes::from_static(text.as_bytes()));
            held += text.len();
            assert_eq!(pieces.held(), held);
        }
        pieces.whole()
    }

    #[test]
    fn the_whole_is_its_pieces_in_order_whatever_was_announced() {
        for announced in [None, Some(0), Some(3), Some(6), Some(1 << 20), Some(u64::MAX)] {
            assert_eq!(put_together(announced, &["ab", "", "cd", "ef"]), "abcdef");
            assert_eq!(put_together(announced, &["abcdef"]), "abcdef");
            assert_eq!(put_together(announced, &[]), "");
        }
    }

    #[test]
    fn the_only_piece_is_not_copied() {
        let text = "all of it";
        for announced in [None, Some(text.len() as u64)] {
            assert_eq!(put_together(announced, &[text]).as_ptr(), text.as_ptr());
        }
    }

    #[test]
    fn what_is_announced_gets_room_once_and_only_as_far_as_it_is_trusted() {
        let mut honest = Pieces::of(Some(6));
        honest.push(Bytes::from_static(b"ab"));
        let place = honest.joined.as_ptr();
        honest.push(Bytes::from_static(b"cdef"));
        assert_eq!(honest.joined.as_ptr(), place);
        let mut boaster = Pieces::of(Some(1 << 40));
        boaster.push(Bytes::from_static(&[0; 1000]));
        assert!((1000 * TRUST..2000 * TRUST).contains(&boaster.joined.capacity()), "{}", boaster.joined.capacity());
    }
}
