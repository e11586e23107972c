//! On whose account something goes to a server.

use portcullis_core::call::Call;
use portcullis_identity::client::Behalf;

/// Who asks. Every request says it.
#[derive(Clone, Copy, Debug)]
pub enum Account<'a> {
    Call(&'a Call),
    /// The gateway itself; with the method of its question.
    Gateway(&'a str),
}

/// An account that outlives its call.
#[derive(Debug)]
pub(crate) enum OwnedAccount {
    Call(Call),
    Gateway(String),
}

impl OwnedAccount {
    pub(crate) fn lend(&self) -> Account<'_> {
        match self {
            Self::Call(call) => Account::Call(call),
            Self::Gateway(method) => Account::Gateway(method),
        }
    }
}

impl<'a> Account<'a> {
    /// For connections that belong to no caller.
    pub(crate) const OWN: Account<'static> = Account::Gateway("connection/open");

    pub(crate) fn keep(self) -> OwnedAccount {
        match self {
            Self::Call(call) => OwnedAccount::Call(call.clone()),
            Self::Gateway(method) => OwnedAccount::Gateway(method.to_owned()),
        }
    }

    pub(crate) fn behalf(self) -> Behalf<'a> {
        match self {
            Self::Call(call) => Behalf::Caller(&call.context.caller, call.context.proofs.token.as_ref()),
            Self::Gateway(_) => Behalf::Gateway,
        }
    }
}
