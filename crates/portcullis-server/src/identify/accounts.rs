//! What one party holds at the moment: requests in progress, bytes of their bodies, sessions. Found again by owner, so that two tokens of one
//! party share one account; forgotten only when nothing of that party is in progress.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use portcullis_core::caller::Caller;
use portcullis_core::refusal::{Denial, DenialCode};

use crate::answer::gateway_denial;
use crate::settings::LimitSettings;

/// Accounts that are kept whether or not they are in use. 1024: some 300 KB, and parties that come back soon are the usual case.
const KEPT: usize = 1024;

/// What one party holds.
#[derive(Debug)]
pub(crate) struct Account {
    /// Whoever came first; the others have the same owner.
    first: Arc<Caller>,
    /// What sessions and sealed ids are bound to.
    pub(crate) owner: String,
    /// Requests and streams in progress.
    pub(crate) in_progress: AtomicUsize,
    /// Bytes of their bodies.
    bytes: AtomicUsize,
    /// Open legacy sessions.
    pub(crate) sessions: AtomicUsize,
}

/// The accounts of all parties. Whatever is in progress holds its account, so what nobody else holds can be forgotten.
#[derive(Debug, Default)]
pub(crate) struct Accounts {
    table: RwLock<Table>,
}

#[derive(Debug, Default)]
struct Table {
    /// By name: owners differ by issuer and client too, which few of one name do.
    named: HashMap<String, Vec<Arc<Account>>>,
    count: usize,
    /// When so many are reached, those that nobody uses are dropped.
    sweep_at: usize,
}

/// One request or stream in progress and the bytes of its body; counted until dropped.
#[derive(Debug)]
pub(crate) struct Permit {
    account: Arc<Account>,
    /// Bytes of the bodies of all callers.
    total: Arc<AtomicUsize>,
    bytes: usize,
}

impl Account {
    pub(super) fn new(caller: &Arc<Caller>) -> Arc<Self> {
        let (in_progress, bytes, sessions) = (AtomicUsize::new(0), AtomicUsize::new(0), AtomicUsize::new(0));
        Arc::new(Self { first: Arc::clone(caller), owner: caller.owner(), in_progress, bytes, sessions })
    }

    /// Whose account it is, for the log.
    pub(crate) fn name(&self) -> &str {
        &self.first.name
    }

    /// Takes one of the places for requests in progress. `total` counts the bytes of all callers' requests.
    pub(crate) fn admit(self: &Arc<Self>, limit: usize, total: &Arc<AtomicUsize>) -> Result<Permit, Denial> {
        if !take(&self.in_progress, 1, limit) {
            let detail = format!("limit of {limit} requests in progress for `{}`", self.name());
            return Err(gateway_denial(DenialCode::TooManyRequests, "too many requests in progress", detail));
        }
        Ok(Permit { account: Arc::clone(self), total: Arc::clone(total), bytes: 0 })
    }
}

impl Permit {
    /// Whose place it is.
    pub(crate) fn owner(&self) -> &str {
        &self.account.owner
    }
}

impl Accounts {
    /// The account of a caller's owner.
    pub(crate) fn of(&self, caller: &Arc<Caller>) -> Arc<Account> {
        let table = self.table.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = table.find(caller) {
            return known;
        }
        drop(table);
        let mut table = self.table.write().unwrap_or_else(PoisonError::into_inner);
        // Somebody may have been faster.
        table.find(caller).unwrap_or_else(|| table.open(caller))
    }
}

impl Table {
    fn find(&self, caller: &Caller) -> Option<Arc<Account>> {
        self.named.get(&caller.name)?.iter().find(|account| account.first.has_owner_of(caller)).cloned()
    }

    fn open(&mut self, caller: &Arc<Caller>) -> Arc<Account> {
        if self.count >= self.sweep_at {
            self.sweep();
        }
        let account = Account::new(caller);
        self.named.entry(caller.name.clone()).or_default().push(Arc::clone(&account));
        self.count += 1;
        account
    }

    /// Nobody can take an account meanwhile: that needs the lock. Twice what is left before the next time, so that an account costs the
    /// same however many there are.
    fn sweep(&mut self) {
        self.named.retain(|_, accounts| {
            accounts.retain(|account| Arc::strong_count(account) > 1);
            !accounts.is_empty()
        });
        self.count = self.named.values().map(Vec::len).sum();
        self.sweep_at = self.count.saturating_mul(2).max(KEPT);
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.account.in_progress.fetch_sub(1, Ordering::AcqRel);
        self.account.bytes.fetch_sub(self.bytes, Ordering::AcqRel);
        self.total.fetch_sub(self.bytes, Ordering::AcqRel);
    }
}

impl Permit {
    /// Counts more of the body, which is about to be held: refused, it is dropped instead.
    pub(crate) fn hold(&mut self, bytes: usize, limits: &LimitSettings) -> Result<(), Denial> {
        if !take(&self.account.bytes, bytes, limits.bytes_per_caller) {
            let (limit, name) = (limits.bytes_per_caller, self.account.name());
            return Err(too_many_bytes(format!("limit of {limit} bytes of requests in progress for `{name}`")));
        }
        if !take(&self.total, bytes, limits.bytes_in_flight) {
            self.account.bytes.fetch_sub(bytes, Ordering::AcqRel);
            let limit = limits.bytes_in_flight;
            return Err(too_many_bytes(format!("limit of {limit} bytes of requests in progress in total")));
        }
        self.bytes = self.bytes.saturating_add(bytes);
        Ok(())
    }
}

/// Adds to a count, unless that takes it over its limit.
fn take(count: &AtomicUsize, more: usize, limit: usize) -> bool {
    let fits = count.fetch_add(more, Ordering::AcqRel).saturating_add(more) <= limit;
    if !fits {
        count.fetch_sub(more, Ordering::AcqRel);
    }
    fits
}

fn too_many_bytes(detail: String) -> Denial {
    gateway_denial(DenialCode::TooManyBytes, "too many bytes of requests in progress", detail)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::AtomicUsize;

    use portcullis_core::caller::{Caller, Proof};

    use super::{Accounts, KEPT};

    fn holder(name: &str, client: &str, scope: &str) -> Arc<Caller> {
        let mut caller = Caller::new(name, Proof::Token, Vec::new());
        caller.issuer = Some("https://issuer.example".to_owned());
        caller.client = Some(client.to_owned());
        caller.scopes = vec![scope.to_owned()];
        Arc::new(caller)
    }

    #[test]
    fn two_tokens_of_one_owner_have_one_account_and_another_clients_has_its_own() {
        let accounts = Accounts::default();
        let one = accounts.of(&holder("acme:ana", "editor", "read"));
        assert!(Arc::ptr_eq(&one, &accounts.of(&holder("acme:ana", "editor", "write"))));
        let other = accounts.of(&holder("acme:ana", "terminal", "read"));
        assert!(!Arc::ptr_eq(&one, &other));
        assert_ne!(one.owner, other.owner);
    }

    #[test]
    fn what_is_in_progress_keeps_its_account_and_the_rest_is_forgotten() {
        let accounts = Accounts::default();
        let held = holder("acme:ana", "editor", "read");
        let permit = accounts.of(&held).admit(1, &Arc::new(AtomicUsize::new(0))).unwrap();
        for number in 0..10 * KEPT {
            accounts.of(&holder(&format!("acme:{number}"), "editor", "read"));
        }
        assert!(accounts.table.read().unwrap().count <= 2 * KEPT, "a flood of callers is not remembered");
        assert!(accounts.of(&held).admit(1, &Arc::new(AtomicUsize::new(0))).is_err(), "its place is still taken");
        drop(permit);
        assert!(accounts.of(&held).admit(1, &Arc::new(AtomicUsize::new(0))).is_ok());
    }
}
