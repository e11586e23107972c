//! Pieces of work side by side, one thread each. A piece that fails or panics is a failed check under its name, and the others go on.

use crate::Failure;
use crate::report::Tally;

/// One piece. The thread cannot hand over a [`Failure`], only its words.
pub(crate) type Piece<'a> = Box<dyn FnOnce() -> Result<Tally, Failure> + Send + 'a>;

pub(crate) fn run(pieces: Vec<(String, Piece<'_>)>) -> Tally {
    let mut tally = Tally::default();
    std::thread::scope(|scope| {
        let start = |piece: Piece<'_>| piece().map_err(|failure| failure.to_string());
        let running: Vec<_> =
            pieces.into_iter().map(|(name, piece)| (name, scope.spawn(move || start(piece)))).collect();
        for (name, thread) in running {
            match thread.join() {
                Ok(Ok(done)) => tally.add(done),
                Ok(Err(failure)) => tally.fail(format!("{name}: {failure}")),
                Err(_) => tally.fail(format!("{name}: the thread panicked")),
            }
        }
    });
    tally
}

#[cfg(test)]
mod tests {
    use super::run;
    use crate::report::Tally;

    #[test]
    fn a_piece_that_fails_is_told_by_its_name_and_the_others_count() {
        let tally = run(vec![
            ("good".to_owned(), Box::new(|| Ok(Tally { passed: 2, ..Tally::default() }))),
            ("bad".to_owned(), Box::new(|| Err("no such thing".into()))),
        ]);
        assert_eq!((tally.passed, tally.failed), (2, 1));
        assert_eq!(tally.notes, ["failed: bad: no such thing"]);
    }
}
