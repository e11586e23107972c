//! The id of a session, where the draft puts it: beside the members of JSON-RPC (SEP-1288, J7). It belongs to one connection and is no part of the
//! message: a client's is taken off before the message is read as one, and a server's makes room for ours.

use bytes::{BufMut, Bytes, BytesMut};
use memchr::memmem;
use portcullis_core::own::push_string;
use portcullis_core::wire::{Limits, Malformed, Message, view_json};

const MEMBER: &str = "mcpSessionId";

/// The message without the member, and the id if that is a text. `None`: there is nothing to take off.
///
/// # Errors
/// What the reader says of the outcome.
pub(crate) fn take_off(message: &Message, limits: &Limits) -> Result<Option<(Message, Option<String>)>, Malformed> {
    let bytes = message.bytes();
    // Looked for as text first: only where it may stand is the message read again. An escape could hide it.
    if memmem::find(bytes, MEMBER.as_bytes()).is_none() && memmem::find(bytes, br"\u").is_none() {
        return Ok(None);
    }
    let whole = view_json(bytes, limits)?;
    let Some(named) = whole.get(MEMBER) else { return Ok(None) };
    let bare = message.edit().remove_members(whole, &|key| key != MEMBER).apply(limits)?;
    Ok(Some((bare, named.as_str().map(std::borrow::Cow::into_owned))))
}

/// The text of a message with the id behind its members.
pub(crate) fn put_on(message: &Bytes, session: &str) -> Bytes {
    let Some(members) = message.trim_ascii_end().strip_suffix(b"}") else { return message.clone() };
    let mut member = format!(r#","{MEMBER}":"#);
    push_string(&mut member, session);
    let mut out = BytesMut::with_capacity(members.len() + member.len() + 1);
    out.put_slice(members);
    out.put_slice(member.as_bytes());
    out.put_u8(b'}');
    out.freeze()
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use portcullis_core::wire::{Direction, Limits, Message};

    use super::{put_on, take_off};

    const PLAIN: &str = r#"{"jsonrpc":"2.0","id":1,"result":{"mcpSessionId":"within"}}"#;

    fn taken(text: &str) -> Option<(Bytes, Option<String>)> {
        let message = Message::read(Bytes::copy_from_slice(text.as_bytes()), Direction::ToClient, &Limits::default());
        let taken = take_off(&message.unwrap(), &Limits::default()).unwrap();
        taken.map(|(message, id)| (message.bytes().clone(), id))
    }

    #[test]
    fn j7_what_is_put_on_stands_beside_the_members_and_comes_off_again() {
        let wrapped = put_on(&Bytes::from_static(PLAIN.as_bytes()), "a\"b");
        let wrapped = str::from_utf8(&wrapped).unwrap();
        assert_eq!(wrapped, format!(r#"{},"mcpSessionId":"a\"b"}}"#, PLAIN.strip_suffix('}').unwrap()));
        assert_eq!(taken(wrapped), Some((Bytes::from_static(PLAIN.as_bytes()), Some("a\"b".to_owned()))));
        assert_eq!(taken(PLAIN), None, "what is within the message is the message's own");
    }

    #[test]
    fn an_escaped_name_is_the_same_name_and_what_is_no_text_is_no_id() {
        let escaped = r#"{"jsonrpc":"2.0","mcpSession\u0049d":"s","id":1,"result":{}}"#;
        assert_eq!(taken(escaped).unwrap().1.as_deref(), Some("s"));
        let number = r#"{"jsonrpc":"2.0","mcpSessionId":7,"id":1,"result":{}}"#;
        assert_eq!(taken(number).unwrap().1, None);
    }
}
