//! The benchmark's traffic for a program that counts what it does with it (`cargo xtask release`). Nothing is measured.

use std::path::Path;
use std::time::Duration;

use super::rows::{At, ROWS, Row};
use super::stand::{Extras, Ground};
use super::{BUILD_TOOLS, Gateway, Options, build, load};
use crate::layout::Layout;
use crate::{Failure, say};

/// Busy, as gateways are when it matters.
const CONNECTIONS: u32 = 16;
/// Writing the counts takes longer than ending.
const ENDING: Duration = Duration::from_secs(60);
/// Not learnt from, so that it can be seen what guidance does for calls that it has not met. Paced streams only wait.
const HELD_BACK: [&str; 2] = ["checked", "paced"];

/// Shows every kind of call to a gateway, and ends it as a person would: it writes what it counted when it ends.
pub(crate) fn learn(layout: &Layout, program: &Path, seconds: f64) -> Result<(), Failure> {
    let options = Options { seconds, gateway: Gateway::Counting(program.to_owned()), ..Options::usual() };
    build(layout, &options, BUILD_TOOLS)?;
    let ground = Ground::new(layout, &options, "learn")?;
    let direct = ground.upstream(100)?;
    let place = ground.portcullis(At::Portcullis, &direct, &Extras::default())?;
    for row in ROWS.iter().filter(|row| learns(row)) {
        let sample = load(layout, &options, row, CONNECTIONS, &place)?;
        say(format_args!("{:<20}{:>9.0}/s", row.name, sample.rps));
        place.tidy()?;
    }
    place.end(ENDING)
}

fn learns(row: &Row) -> bool {
    row.at.contains(&At::Portcullis) && !HELD_BACK.contains(&row.kind)
}
