//! What a sender can do wrong before anyone is asked for an opinion: one variant for each hostile or broken behaviour.
//! Nothing here repeats what the sender wrote, except the name of a method that we know ourselves.

use std::fmt;

/// Why a message was not read. The sender's fault, by definition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Malformed {
    TooLarge {
        limit: usize,
    },
    ByteOrderMark,
    NotUtf8 {
        at: usize,
    },
    Syntax {
        at: usize,
    },
    TrailingBytes {
        at: usize,
    },
    LoneSurrogate {
        at: usize,
    },
    TooDeep {
        limit: usize,
    },
    TooManyKeys {
        limit: usize,
    },
    TooManyMembers {
        limit: usize,
    },
    DuplicateKey {
        at: usize,
    },
    CaseVariantKey {
        at: usize,
    },
    NotAnObject,
    BatchNotAllowed,
    BatchEmpty,
    BatchTooLong {
        limit: usize,
    },
    BatchRepeatsId,
    InitializeInBatch,
    WrongJsonRpc,
    IdNotStringOrInteger,
    IdTooLong {
        limit: usize,
    },
    MethodNotString,
    NameTooLong {
        limit: usize,
    },
    MethodInResponse,
    BothResultAndError,
    NeitherMethodNorResult,
    ResponseWithoutId,
    ResultNotObject,
    ErrorNotObject,
    ErrorCodeNotInteger,
    ErrorMessageNotString,
    /// A known request method without an id. The method is one of ours, so it is safe to log.
    RequestWithoutId {
        method: Box<str>,
    },
    /// A known notification method with an id.
    NotificationWithId {
        method: Box<str>,
    },
    ParamsNotObject,
    MetaNotObject,
    /// A request that does not say what it is about. The method is one of ours.
    NameMissing {
        method: Box<str>,
    },
    NameNotString,
    ArgumentsNotObject,
    ProgressTokenInvalid,
    CancelledIdInvalid,
    /// Not the sender's doing: an edit of ours that does not fit the message. Kept here so that a failed splice takes the
    /// same closed path as an unreadable message.
    EditRefused,
}

/// Parse error: the text is not JSON that we can tell apart.
const PARSE: i64 = -32700;
/// Invalid request: JSON, but not one unambiguous JSON-RPC message.
const REQUEST: i64 = -32600;
/// Invalid params.
const PARAMS: i64 = -32602;

impl Malformed {
    /// Every code that [`Malformed::code`] can return, in the order of the variants.
    pub const ALL_CODES: &[&str] = &[
        "too_large",
        "byte_order_mark",
        "not_utf8",
        "syntax",
        "trailing_bytes",
        "lone_surrogate",
        "too_deep",
        "too_many_keys",
        "too_many_members",
        "duplicate_key",
        "case_variant_key",
        "not_an_object",
        "batch_not_allowed",
        "batch_empty",
        "batch_too_long",
        "batch_repeats_id",
        "initialize_in_batch",
        "wrong_json_rpc",
        "id_not_string_or_integer",
        "id_too_long",
        "method_not_string",
        "name_too_long",
        "method_in_response",
        "both_result_and_error",
        "neither_method_nor_result",
        "response_without_id",
        "result_not_object",
        "error_not_object",
        "error_code_not_integer",
        "error_message_not_string",
        "request_without_id",
        "notification_with_id",
        "params_not_object",
        "meta_not_object",
        "name_missing",
        "name_not_string",
        "arguments_not_object",
        "progress_token_invalid",
        "cancelled_id_invalid",
        "edit_refused",
    ];

    /// Stable name for metrics, logs and tests. Never changes once released.
    #[must_use]
    pub fn code(&self) -> &'static str {
        self.row().0
    }

    /// The JSON-RPC error code: -32700 where nothing could be read, -32602 where the params are wrong, -32600 otherwise.
    #[must_use]
    pub fn rpc_code(&self) -> i64 {
        self.row().1
    }

    /// What the sender may read: short, fixed, without any of its own input.
    #[must_use]
    pub fn public(&self) -> String {
        let sentence = self.row().2;
        match self.limit() {
            Some(limit) => format!("{sentence} (limit {limit})"),
            None => sentence.to_owned(),
        }
    }

    /// Byte offset of the trouble in the message, where there is one. For the log, not for the sender.
    #[must_use]
    pub fn at(&self) -> Option<usize> {
        match *self {
            Self::NotUtf8 { at }
            | Self::Syntax { at }
            | Self::TrailingBytes { at }
            | Self::LoneSurrogate { at }
            | Self::DuplicateKey { at }
            | Self::CaseVariantKey { at } => Some(at),
            _ => None,
        }
    }

    /// The method of a message whose shape or params do not fit its method, for the log.
    #[must_use]
    pub fn method(&self) -> Option<&str> {
        match self {
            Self::RequestWithoutId { method } | Self::NotificationWithId { method } | Self::NameMissing { method } => {
                Some(method)
            }
            _ => None,
        }
    }

    fn limit(&self) -> Option<usize> {
        match *self {
            Self::TooLarge { limit }
            | Self::TooDeep { limit }
            | Self::TooManyKeys { limit }
            | Self::TooManyMembers { limit }
            | Self::BatchTooLong { limit }
            | Self::IdTooLong { limit }
            | Self::NameTooLong { limit } => Some(limit),
            _ => None,
        }
    }

    const fn row(&self) -> (&'static str, i64, &'static str) {
        match self {
            Self::TooLarge { .. } => ("too_large", REQUEST, "the message is too large"),
            Self::ByteOrderMark => ("byte_order_mark", PARSE, "the message starts with a byte order mark"),
            Self::NotUtf8 { .. } => ("not_utf8", PARSE, "the message is not UTF-8"),
            Self::Syntax { .. } => ("syntax", PARSE, "the message is not JSON"),
            Self::TrailingBytes { .. } => ("trailing_bytes", PARSE, "bytes follow the message"),
            Self::LoneSurrogate { .. } => ("lone_surrogate", PARSE, "a string holds half a surrogate pair"),
            Self::TooDeep { .. } => ("too_deep", REQUEST, "the message is nested too deeply"),
            Self::TooManyKeys { .. } => ("too_many_keys", REQUEST, "an object has too many members"),
            Self::TooManyMembers { .. } => ("too_many_members", REQUEST, "the message holds too many values"),
            Self::DuplicateKey { .. } => ("duplicate_key", REQUEST, "an object names a member twice"),
            Self::CaseVariantKey { .. } => {
                ("case_variant_key", REQUEST, "a member differs from a protocol member only by spelling")
            }
            Self::NotAnObject => ("not_an_object", REQUEST, "the message is not an object"),
            Self::BatchNotAllowed => ("batch_not_allowed", REQUEST, "batches are not part of this protocol revision"),
            Self::BatchEmpty => ("batch_empty", REQUEST, "the batch is empty"),
            Self::BatchTooLong { .. } => ("batch_too_long", REQUEST, "the batch holds too many messages"),
            Self::BatchRepeatsId => ("batch_repeats_id", REQUEST, "two messages of the batch have one id"),
            Self::InitializeInBatch => ("initialize_in_batch", REQUEST, "initialize must not be part of a batch"),
            Self::WrongJsonRpc => ("wrong_json_rpc", REQUEST, "jsonrpc must be \"2.0\""),
            Self::IdNotStringOrInteger => {
                ("id_not_string_or_integer", REQUEST, "the id must be a string or an integer")
            }
            Self::IdTooLong { .. } => ("id_too_long", REQUEST, "the id is too long"),
            Self::MethodNotString => ("method_not_string", REQUEST, "the method must be a string"),
            Self::NameTooLong { .. } => ("name_too_long", REQUEST, "the method or the name is too long"),
            Self::MethodInResponse => ("method_in_response", REQUEST, "a message is a request or a response, not both"),
            Self::BothResultAndError => {
                ("both_result_and_error", REQUEST, "a response has a result or an error, not both")
            }
            _ => self.row_of_shape(),
        }
    }

    const fn row_of_shape(&self) -> (&'static str, i64, &'static str) {
        match self {
            Self::NeitherMethodNorResult => {
                ("neither_method_nor_result", REQUEST, "the message has no method, no result and no error")
            }
            Self::ResponseWithoutId => ("response_without_id", REQUEST, "the response has no id"),
            Self::ResultNotObject => ("result_not_object", REQUEST, "the result must be an object"),
            Self::ErrorNotObject => ("error_not_object", REQUEST, "the error must be an object"),
            Self::ErrorCodeNotInteger => ("error_code_not_integer", REQUEST, "the error needs an integer code"),
            Self::ErrorMessageNotString => ("error_message_not_string", REQUEST, "the error needs a message"),
            Self::RequestWithoutId { .. } => {
                ("request_without_id", REQUEST, "this method is a request and needs an id")
            }
            Self::NotificationWithId { .. } => {
                ("notification_with_id", REQUEST, "this method is a notification and takes no id")
            }
            Self::ParamsNotObject => ("params_not_object", PARAMS, "params must be an object"),
            Self::MetaNotObject => ("meta_not_object", PARAMS, "_meta must be an object"),
            Self::NameMissing { .. } => ("name_missing", PARAMS, "params do not say what the method is about"),
            Self::NameNotString => ("name_not_string", PARAMS, "the name, uri or task id must be a string"),
            Self::ArgumentsNotObject => ("arguments_not_object", PARAMS, "arguments must be an object"),
            Self::ProgressTokenInvalid => {
                ("progress_token_invalid", PARAMS, "the progress token must be a string or an integer")
            }
            Self::CancelledIdInvalid => {
                ("cancelled_id_invalid", PARAMS, "the cancelled request's id must be a string or an integer")
            }
            _ => ("edit_refused", REQUEST, "the message could not be rewritten"),
        }
    }
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (_, _, sentence) = self.row();
        f.write_str(sentence)?;
        match (self.limit(), self.at()) {
            (Some(limit), _) => write!(f, " (limit {limit})"),
            (_, Some(at)) => write!(f, " (byte {at})"),
            _ => Ok(()),
        }
    }
}

impl std::error::Error for Malformed {}

#[cfg(test)]
mod tests;
