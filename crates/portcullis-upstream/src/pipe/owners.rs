//! Whose answer a spoiled text may have been. A hint for failing calls early, never a ground to deliver anything: the strict
//! reader refused the text, and nothing of it is passed on.

use portcullis_core::refusal::Fault;
use portcullis_core::wire::Id;

use super::outlet::Outlet;

/// Ends the reply to `id` if one of the texts may have answered it, and says so.
pub(crate) fn end_suspect(texts: &[&[u8]], id: &Id, outlet: &Outlet, fault: &Fault) -> bool {
    let suspect = may_answer(texts, id);
    if suspect {
        outlet.end(fault.clone());
    }
    suspect
}

/// Whether one of the texts has a member `id` with exactly this value, at whatever depth.
fn may_answer(texts: &[&[u8]], id: &Id) -> bool {
    texts.iter().any(|text| {
        memchr::memmem::find_iter(text, b"\"id\"").any(|at| {
            let rest = text.get(at + 4..).unwrap_or_default().trim_ascii_start();
            let Some(value) = rest.strip_prefix(b":") else { return false };
            let Some(after) = value.trim_ascii_start().strip_prefix(id.raw().as_bytes()) else { return false };
            // `1` is not the beginning of `12`.
            after.first().is_none_or(|next| matches!(next, b',' | b'}' | b' ' | b'\t'))
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_found_whole_and_only_as_a_member() {
        let one = Id::number(1);
        assert!(may_answer(&[br#"{"jsonrpc":"2.0","id": 1,"result":{"#], &one));
        assert!(may_answer(&[b"{", br#"}},"id":1}"#], &one));
        assert!(!may_answer(&[br#"{"id":12,"x":"id","id":"1"}"#], &one));
        assert!(!may_answer(&[b"id 1"], &one));
    }
}
