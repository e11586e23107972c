//! The rules about which members a message must, may and must not have.
//! They go by method, whatever shape the message claims: a `tools/call` without an id is still a `tools/call`.

use super::{Direction, Kind, Method, Read};
use crate::wire::{
    Id, JsonKind, Limits, Malformed, MethodKind, NameSource, View, case, method::any_way, outline::Slot,
};

/// Judges scanned text by its outline, and says what kind of message it is.
pub(super) fn judge(message: &mut Read, limits: &Limits) -> Result<(), Malformed> {
    match message.view(message.outline.root).kind() {
        JsonKind::Object => {}
        JsonKind::Array => return Err(Malformed::BatchNotAllowed),
        _ => return Err(Malformed::NotAnObject),
    }
    let version = message.slot(Slot::JsonRpc);
    let is_two = |version: View<'_>| version.raw() == br#""2.0""# || version.as_str().as_deref() == Some("2.0");
    if !version.is_some_and(is_two) {
        return Err(Malformed::WrongJsonRpc);
    }
    let Some(method) = message.slot(Slot::Method) else {
        return answering(message, limits);
    };
    message.method = Some(read_method(method, limits)?);
    asking(message, limits)
}

fn read_method(view: View<'_>, limits: &Limits) -> Result<Method, Malformed> {
    let body = view.string_body().ok_or(Malformed::MethodNotString)?;
    if body.len() > limits.name {
        return Err(Malformed::NameTooLong { limit: limits.name });
    }
    // As written first: a spelling with escapes is found, or kept, by its meaning.
    if let Some(info) = any_way(body) {
        return Ok(Method::Known(info));
    }
    let name = view.as_str().ok_or(Malformed::MethodNotString)?;
    Ok(match any_way(name.as_bytes()) {
        Some(info) => Method::Known(info),
        None => Method::Unknown(name.into()),
    })
}

/// A request or a notification.
fn asking(message: &mut Read, limits: &Limits) -> Result<(), Malformed> {
    if message.slot(Slot::Result).is_some() || message.slot(Slot::Error).is_some() {
        return Err(Malformed::MethodInResponse);
    }
    message.id = match message.slot(Slot::Id) {
        Some(id) => Some(read_id(id, limits)?),
        None => None,
    };
    let known = match message.method {
        Some(Method::Known(info)) => Some((info.kind, info.name)),
        _ => None,
    };
    message.kind = match (known, message.id.is_some()) {
        (Some((MethodKind::Request, name)), false) => {
            return Err(Malformed::RequestWithoutId { method: name.into() });
        }
        (Some((MethodKind::Notification, name)), true) => {
            return Err(Malformed::NotificationWithId { method: name.into() });
        }
        (_, true) => Kind::Request,
        (_, false) => Kind::Notification,
    };
    object_or_absent(message.slot(Slot::Params), Malformed::ParamsNotObject)?;
    object_or_absent(message.slot(Slot::ParamsMeta), Malformed::MetaNotObject)?;
    named(message, limits)?;
    references(message, limits)
}

/// A result or an error.
fn answering(message: &mut Read, limits: &Limits) -> Result<(), Malformed> {
    message.kind = match (message.slot(Slot::Result), message.slot(Slot::Error)) {
        (Some(_), Some(_)) => return Err(Malformed::BothResultAndError),
        (None, None) => return Err(Malformed::NeitherMethodNorResult),
        (result @ Some(_), None) => {
            object_or_absent(result, Malformed::ResultNotObject)?;
            object_or_absent(message.slot(Slot::ResultMeta), Malformed::MetaNotObject)?;
            Kind::Result
        }
        (None, error @ Some(_)) => {
            object_or_absent(error, Malformed::ErrorNotObject)?;
            if !message.slot(Slot::ErrorCode).is_some_and(View::is_integer) {
                return Err(Malformed::ErrorCodeNotInteger);
            }
            let words = message.slot(Slot::ErrorMessage);
            if words.is_none_or(|words| words.kind() != JsonKind::String) {
                return Err(Malformed::ErrorMessageNotString);
            }
            Kind::Error
        }
    };
    // A server that could not read a request has no id to answer with (JSON-RPC 2.0 §5); a client always has one.
    let may_lack_id = message.kind == Kind::Error && message.direction == Direction::ToClient;
    message.id = match message.slot(Slot::Id) {
        None if !may_lack_id => return Err(Malformed::ResponseWithoutId),
        None => None,
        Some(null) if null.is_null() && may_lack_id => None,
        Some(id) => Some(read_id(id, limits)?),
    };
    Ok(())
}

fn read_id(view: View<'_>, limits: &Limits) -> Result<Id, Malformed> {
    if view.raw().len() > limits.id {
        return Err(match view.kind() {
            JsonKind::String | JsonKind::Number => Malformed::IdTooLong { limit: limits.id },
            _ => Malformed::IdNotStringOrInteger,
        });
    }
    Id::from_view(view).ok_or(Malformed::IdNotStringOrInteger)
}

fn object_or_absent(view: Option<View<'_>>, or: Malformed) -> Result<(), Malformed> {
    match view {
        Some(view) if view.kind() != JsonKind::Object => Err(or),
        _ => Ok(()),
    }
}

/// What the method is about, and its arguments.
fn named(message: &Read, limits: &Limits) -> Result<(), Malformed> {
    let source = message.method.as_ref().map_or(NameSource::Nothing, Method::names);
    if source == NameSource::Ref
        && let Some(reference) = message.slot(Slot::Ref)
        && reference.members().any(|(key, _)| case::is_reference_variant(key.as_bytes()))
    {
        return Err(Malformed::CaseVariantKey { at: reference.span().start as usize });
    }
    match message.name_view() {
        // Only a request is useless without its name; a notification that lacks one names nothing.
        None if source != NameSource::Nothing && message.kind == Kind::Request => {
            return Err(Malformed::NameMissing { method: message.method().unwrap_or_default().into() });
        }
        None => {}
        Some(name) => {
            let body = name.string_body().ok_or(Malformed::NameNotString)?;
            if body.len() > limits.name {
                return Err(Malformed::NameTooLong { limit: limits.name });
            }
        }
    }
    if source == NameSource::Name {
        object_or_absent(message.slot(Slot::Arguments), Malformed::ArgumentsNotObject)?;
    }
    Ok(())
}

/// Ids of other messages that this one carries. One that we could not match with the same id elsewhere is refused.
fn references(message: &Read, limits: &Limits) -> Result<(), Malformed> {
    let is_id = |view: View<'_>| view.raw().len() <= limits.id && Id::fits(view);
    let token = match message.method() {
        Some("notifications/progress") => message.slot(Slot::ProgressToken),
        _ => message.slot(Slot::MetaProgressToken),
    };
    if token.is_some_and(|token| !is_id(token)) {
        return Err(Malformed::ProgressTokenInvalid);
    }
    if message.method() == Some("notifications/cancelled") && message.slot(Slot::RequestId).is_some_and(|id| !is_id(id))
    {
        return Err(Malformed::CancelledIdInvalid);
    }
    Ok(())
}
