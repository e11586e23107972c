//! Finds the policies whose scope fits a request, so that Cedar evaluates those and no others. A policy whose scope does not fit can
//! neither apply nor fail, therefore the slice decides exactly like the full set (a property test holds it to that).

use std::collections::HashMap;
use std::sync::Arc;

use cedar_policy::pst::{ActionConstraint, EntityOrSlot, EntityUID, PrincipalConstraint, ResourceConstraint, Template};
use portcullis_core::caller::Caller;

use crate::names::{ACTION, CALLER, GROUP, SERVER, server_group, tool_action_type};
use crate::vocabulary::{TOOLS_CALL, groups};

/// Who asks for what, as far as scopes and entities look at it. Borrowed, so that finding what was prepared for it copies nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Asked<'a> {
    /// All of the caller: scopes look at its name and groups, but the entity that is remembered with them has its attributes and tags.
    pub(crate) caller: &'a Arc<Caller>,
    /// Name of the upstream server.
    pub(crate) server: &'a str,
    pub(crate) what: What<'a>,
}

/// What an action is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum What<'a> {
    /// A tool under its own name.
    Tool(&'a str),
    /// A tool that neither the server's list nor a policy names.
    UnknownTool,
    Method(&'static str),
}

/// The same, owned, and as the types and ids that scopes name.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    pub(crate) caller: Arc<Caller>,
    pub(crate) server: String,
    /// Type and id of the action.
    pub(crate) action: Uid,
    /// Ids of all groups the action is in; all of them are `Mcp::Action`s.
    pub(crate) parents: Vec<String>,
    /// For [`What::Method`].
    method: Option<&'static str>,
}

impl Target {
    pub(crate) fn of(asked: &Asked<'_>) -> Self {
        let (action, parents, method) = match asked.what {
            What::Tool(tool) => (
                (tool_action_type(asked.server), tool.to_owned()),
                vec![TOOLS_CALL.to_owned(), server_group(asked.server)],
                None,
            ),
            What::UnknownTool => ((ACTION.to_owned(), TOOLS_CALL.to_owned()), vec![server_group(asked.server)], None),
            What::Method(method) => {
                let parents = groups(method).into_iter().map(str::to_owned).collect();
                ((ACTION.to_owned(), method.to_owned()), parents, Some(method))
            }
        };
        Self { caller: Arc::clone(asked.caller), server: asked.server.to_owned(), action, parents, method }
    }

    /// What this was made of.
    pub(crate) fn asked(&self) -> Asked<'_> {
        let what = match self.method {
            Some(method) => What::Method(method),
            None if self.action.0 == ACTION => What::UnknownTool,
            None => What::Tool(&self.action.1),
        };
        Asked { caller: &self.caller, server: &self.server, what }
    }
}

/// A scope constraint on principal or resource.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Fit {
    Any,
    Eq(Uid),
    In(Uid),
    Is(String),
    IsIn(String, Uid),
    Never,
}

/// Type and id.
type Uid = (String, String);

/// A policy's scope.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Scope {
    principal: Fit,
    /// `None`: any action.
    actions: Option<Vec<Uid>>,
    /// `==` fits only the action itself, `in` also its members.
    members: bool,
    resource: Fit,
}

impl Scope {
    pub(crate) fn of(policy: &Template) -> Self {
        let (actions, members) = match &policy.action {
            ActionConstraint::Any => (None, true),
            ActionConstraint::Eq(uid) => (Some(vec![plain(uid)]), false),
            ActionConstraint::In(uids) => (Some(uids.iter().map(plain).collect()), true),
        };
        let principal = match &policy.principal {
            PrincipalConstraint::Any => Fit::Any,
            PrincipalConstraint::Eq(uid) => entity(uid).map_or(Fit::Never, Fit::Eq),
            PrincipalConstraint::In(uid) => entity(uid).map_or(Fit::Never, Fit::In),
            PrincipalConstraint::Is(ty) => Fit::Is(ty.to_string()),
            PrincipalConstraint::IsIn(ty, uid) => entity(uid).map_or(Fit::Never, |uid| Fit::IsIn(ty.to_string(), uid)),
        };
        let resource = match &policy.resource {
            ResourceConstraint::Any => Fit::Any,
            ResourceConstraint::Eq(uid) => entity(uid).map_or(Fit::Never, Fit::Eq),
            ResourceConstraint::In(uid) => entity(uid).map_or(Fit::Never, Fit::In),
            ResourceConstraint::Is(ty) => Fit::Is(ty.to_string()),
            ResourceConstraint::IsIn(ty, uid) => entity(uid).map_or(Fit::Never, |uid| Fit::IsIn(ty.to_string(), uid)),
        };
        Self { principal, actions, members, resource }
    }

    /// The actions the scope names; `None` when it takes any.
    pub(crate) fn actions(&self) -> Option<&[Uid]> {
        self.actions.as_deref()
    }

    /// Names that a resource constraint pins down.
    pub(crate) fn server(&self) -> Option<&str> {
        match &self.resource {
            Fit::Eq((_, id)) | Fit::In((_, id)) | Fit::IsIn(_, (_, id)) => Some(id),
            Fit::Any | Fit::Is(_) | Fit::Never => None,
        }
    }

    /// Whether the scope fits this action.
    pub(crate) fn fits_action(&self, action: &Uid, parents: &[String]) -> bool {
        self.actions.as_ref().is_none_or(|actions| {
            actions
                .iter()
                .any(|named| named == action || (self.members && named.0 == ACTION && parents.contains(&named.1)))
        })
    }

    pub(crate) fn fits(&self, target: &Target) -> bool {
        let groups = target.caller.groups.iter().map(String::as_str);
        self.fits_action(&target.action, &target.parents)
            && self.principal.fits(CALLER, &target.caller.name, groups)
            && self.resource.fits(SERVER, &target.server, std::iter::empty())
    }
}

impl Fit {
    fn fits<'a>(&self, ty: &str, id: &str, mut groups: impl Iterator<Item = &'a str>) -> bool {
        let is = |uid: &Uid| uid.0 == ty && uid.1 == id;
        let mut within = |uid: &Uid| is(uid) || (uid.0 == GROUP && groups.any(|group| group == uid.1));
        match self {
            Self::Any => true,
            Self::Eq(uid) => is(uid),
            Self::In(uid) => within(uid),
            Self::Is(wanted) => wanted == ty,
            Self::IsIn(wanted, uid) => wanted == ty && within(uid),
            Self::Never => false,
        }
    }
}

fn plain(uid: &EntityUID) -> Uid {
    (uid.ty.to_string(), uid.eid.to_string())
}

fn entity(uid: &EntityOrSlot) -> Option<Uid> {
    match uid {
        EntityOrSlot::Entity(uid) => Some(plain(uid)),
        EntityOrSlot::Slot(_) => None,
    }
}

/// Policies by the actions their scopes name.
#[derive(Debug, Default)]
pub(crate) struct Index {
    by_action: HashMap<Uid, Vec<usize>>,
    any_action: Vec<usize>,
}

impl Index {
    pub(crate) fn new<'a>(scopes: impl Iterator<Item = &'a Scope>) -> Self {
        let mut index = Self::default();
        for (at, scope) in scopes.enumerate() {
            match scope.actions() {
                None => index.any_action.push(at),
                Some(actions) => {
                    for action in actions {
                        index.by_action.entry(action.clone()).or_default().push(at);
                    }
                }
            }
        }
        index
    }

    /// Whether some scope names exactly this action.
    pub(crate) fn names(&self, action: &Uid) -> bool {
        self.by_action.contains_key(action)
    }

    /// Numbers of the policies that may fit the target's action, ascending, each once. Their scopes are still to be tried.
    pub(crate) fn near(&self, target: &Target) -> Vec<usize> {
        let mut near = self.any_action.clone();
        near.extend(self.by_action.get(&target.action).into_iter().flatten());
        for parent in &target.parents {
            let group = (ACTION.to_owned(), parent.clone());
            near.extend(self.by_action.get(&group).into_iter().flatten());
        }
        near.sort_unstable();
        near.dedup();
        near
    }
}
