//! Several members of a message's `params` in one pass, for those who ask every event of a stream.

use super::{Message, View, outline::Level};

impl Message {
    /// The members of `params` of these names.
    #[must_use]
    pub fn param_members<const N: usize>(&self, names: [&str; N]) -> [Option<View<'_>>; N] {
        let mut found = [None; N];
        for member in self.outline().level(Level::Params) {
            let place = names.iter().position(|name| member.is_named(self.bytes(), name));
            if let Some(place) = place.and_then(|index| found.get_mut(index)) {
                *place = Some(View::new(self.bytes(), member.value));
            }
        }
        found
    }
}
