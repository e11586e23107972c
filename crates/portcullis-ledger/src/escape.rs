//! Foreign text made safe for a terminal: names come from servers and clients, and a name must not move the cursor or reverse a line.

use std::fmt::Write as _;

/// `text` with every control, direction-changing or invisible character written as `\u{…}`.
#[must_use]
pub fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for char in text.chars() {
        if is_hidden(char) {
            // Writing to a String cannot fail.
            let _written = write!(safe, "\\u{{{:x}}}", u32::from(char));
        } else {
            safe.push(char);
        }
    }
    safe
}

/// Escaped, then cut to `width` characters; a cut shows as `…`.
#[must_use]
pub fn clipped(text: &str, width: usize) -> String {
    // Escaping only lengthens, so more input than this cannot matter.
    let head: String = text.chars().take(width + 1).collect();
    let safe = escaped(&head);
    if safe.chars().count() <= width {
        return safe;
    }
    let mut cut: String = safe.chars().take(width.saturating_sub(1)).collect();
    cut.push('…');
    cut
}

/// Controls, the bidirectional controls of UAX #9, and characters that take no space.
fn is_hidden(char: char) -> bool {
    char.is_control()
        || matches!(char,
            '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180f}'
            | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}'
            | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}')
}

#[cfg(test)]
mod tests {
    use super::{clipped, escaped};

    #[test]
    fn nothing_that_steers_a_terminal_or_turns_a_line_survives() {
        let hostile = "a\x1b[2Jb\r\n\t\u{7f}\u{9b}\u{202e}gpj.exe\u{2066}\u{200b}\u{e0041}é漢";
        let safe = escaped(hostile);
        assert_eq!(safe, "a\\u{1b}[2Jb\\u{d}\\u{a}\\u{9}\\u{7f}\\u{9b}\\u{202e}gpj.exe\\u{2066}\\u{200b}\\u{e0041}é漢");
    }

    #[test]
    fn a_cut_is_visible_and_exact() {
        assert_eq!(clipped("abcdef", 6), "abcdef");
        assert_eq!(clipped("abcdefg", 6), "abcde…");
        assert_eq!(clipped("\u{202e}x", 6), "\\u{20…");
    }
}
