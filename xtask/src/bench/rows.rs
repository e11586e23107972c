//! What is measured with load: kinds of calls, and the places each is sent to.

/// Where a call can be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum At {
    /// The fast server itself.
    Direct,
    Nginx,
    /// Portcullis with ten policies.
    Portcullis,
    /// Portcullis with the policy it has when none is chosen.
    Observe,
    /// Portcullis with a thousand policies.
    Policies1000,
    /// Portcullis in front of a server of a thousand tools.
    Tools1000,
    /// Portcullis with twenty servers merged at one path.
    Merged,
    /// A gateway named on the command line.
    Peer,
    /// A second server, called only through a gateway.
    Behind,
}

impl At {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Nginx => "nginx",
            Self::Portcullis => "portcullis",
            Self::Observe => "portcullis, observe",
            Self::Policies1000 => "portcullis, 1,000 policies",
            Self::Tools1000 => "portcullis, 1,000 tools",
            Self::Merged => "portcullis, 20 servers",
            Self::Peer => "peer",
            Self::Behind => "second server",
        }
    }

    /// Whether the benchmark's policy is in force there.
    pub(crate) const fn refuses(self) -> bool {
        matches!(self, Self::Portcullis | Self::Policies1000 | Self::Tools1000)
    }
}

/// One kind of call.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) name: &'static str,
    pub(crate) what: &'static str,
    /// As `bench-load` names it.
    pub(crate) kind: &'static str,
    pub(crate) era: &'static str,
    pub(crate) at: &'static [At],
}

const THREE: &[At] = &[At::Direct, At::Nginx, At::Portcullis, At::Peer];
const ALL: &[At] = &[At::Direct, At::Nginx, At::Portcullis, At::Observe, At::Policies1000, At::Tools1000, At::Peer];

const fn row(name: &'static str, kind: &'static str, era: &'static str, at: &'static [At], what: &'static str) -> Row {
    Row { name, what, kind, era, at }
}

pub(crate) const ROWS: &[Row] = &[
    row(
        "small/modern",
        "small",
        "modern",
        ALL,
        "`tools/call` with five arguments, about 200 bytes of arguments and of result",
    ),
    row("small/legacy", "small", "legacy", ALL, "the same in a session"),
    row("string-64k/modern", "string64k", "modern", THREE, "one argument of 64 KiB of text"),
    row("string-64k/legacy", "string64k", "legacy", THREE, "the same in a session"),
    row("args-64k/modern", "args64k", "modern", THREE, "64 KiB of small objects as arguments"),
    row("args-64k/legacy", "args64k", "legacy", THREE, "the same in a session"),
    row("result-1m/modern", "result1m", "modern", THREE, "a result of 1 MiB"),
    row("result-1m/legacy", "result1m", "legacy", THREE, "the same in a session"),
    row("checked/modern", "checked", "modern", THREE, "a structured result, checked against the tool's `outputSchema`"),
    row("list/modern", "list", "modern", THREE, "`tools/list` of 100 tools, filtered by the policy"),
    row("list/legacy", "list", "legacy", THREE, "the same in a session"),
    row(
        "merged-list/modern",
        "merged-list",
        "modern",
        &[At::Merged],
        "`tools/list` of 20 servers of 50 tools each, merged from a warm catalogue (all of it judged and inspected, server by server)",
    ),
    row("merged-call/modern", "merged-call", "modern", &[At::Merged], "a small call of one of these 20 servers"),
    row("merged-call/legacy", "merged-call", "legacy", &[At::Merged], "the same in a session with all of them"),
    row(
        "stream/modern",
        "stream",
        "modern",
        THREE,
        "100 progress events and the result as an event stream, sent at once",
    ),
    row("stream/legacy", "stream", "legacy", THREE, "the same in a session"),
    row("paced/modern", "paced", "modern", THREE, "100 progress events, one each millisecond, and the result"),
    row("paced/legacy", "paced", "legacy", THREE, "the same in a session"),
    row(
        "refused/modern",
        "refused",
        "modern",
        THREE,
        "a small call that the policy refuses for an argument (direct and nginx: answered)",
    ),
    row("refused/legacy", "refused", "legacy", THREE, "the same in a session"),
];
