//! Upstreams around another one: each says what it does differently, and everything else is the other's.

use std::fmt;
use std::sync::{Arc, Weak};

use super::{Pending, Renewals, Reply, Upstream};
use crate::call::SessionKey;
use crate::catalogue::Catalogue;
use crate::gate::Cleared;
use crate::refusal::Fault;
use crate::version::Era;
use crate::wire::Message;

/// An upstream around one other. What it does not say differently goes to the other as it comes.
pub trait Wrapper: Send + Sync + fmt::Debug {
    /// The other one.
    fn inner(&self) -> &dyn Upstream;

    /// See [`Upstream::send`].
    fn send(&self, cleared: Cleared) -> Pending<'_, Result<Reply, Fault>>;

    /// See [`Upstream::catalogue`].
    fn catalogue(&self) -> Arc<Catalogue> {
        self.inner().catalogue()
    }

    /// See [`Upstream::refresh`].
    fn refresh(&self) -> Pending<'_, Result<Arc<Catalogue>, Fault>> {
        self.inner().refresh()
    }

    /// See [`Upstream::forget`].
    fn forget(&self, session: SessionKey) -> Pending<'_, ()> {
        self.inner().forget(session)
    }

    /// See [`Upstream::tell_renewals_to`].
    fn tell_renewals_to(&self, listener: Weak<dyn Renewals>) {
        self.inner().tell_renewals_to(listener);
    }

    /// See [`Upstream::shut_down`].
    fn shut_down(&self) -> Pending<'_, ()> {
        self.inner().shut_down()
    }
}

impl<W: Wrapper> Upstream for W {
    fn name(&self) -> &Arc<str> {
        self.inner().name()
    }

    fn era(&self) -> Option<Era> {
        self.inner().era()
    }

    fn send(&self, cleared: Cleared) -> Pending<'_, Result<Reply, Fault>> {
        Wrapper::send(self, cleared)
    }

    fn catalogue(&self) -> Arc<Catalogue> {
        Wrapper::catalogue(self)
    }

    fn refresh(&self) -> Pending<'_, Result<Arc<Catalogue>, Fault>> {
        Wrapper::refresh(self)
    }

    fn check(&self) -> Pending<'_, Result<(), Fault>> {
        self.inner().check()
    }

    fn observe(&self, listed: &Message) {
        self.inner().observe(listed);
    }

    fn forget(&self, session: SessionKey) -> Pending<'_, ()> {
        Wrapper::forget(self, session)
    }

    fn tell_renewals_to(&self, listener: Weak<dyn Renewals>) {
        Wrapper::tell_renewals_to(self, listener);
    }

    fn shut_down(&self) -> Pending<'_, ()> {
        Wrapper::shut_down(self)
    }
}
