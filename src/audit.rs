//! Who read, changed, deleted and exported what: one line for each, and never what it said.
//!
//! Lines have this module's path as their target, by which they are told from the rest of the log and can be written to
//! a file of their own, see `AUDIT_LOG` in [`crate::config`].

use crate::session::{Owner, SessionId};

/// The target of every line.
pub(crate) const TARGET: &str = module_path!();

/// Something that was done about what belongs to an owner.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Deed<'a> {
    /// In whose name.
    pub(crate) owner: &'a Owner,
    /// What: the method and the route of a request, or a command.
    pub(crate) action: &'a str,
    /// About which session, where it is about one.
    pub(crate) session: Option<SessionId>,
    /// Which part of it, such as the path of a frame.
    pub(crate) object: &'a str,
    /// What came of it: the status of the answer. None where nobody waited for one; it may have been done all the same.
    pub(crate) status: Option<u16>,
    /// Under which id the rest of the log speaks of it.
    pub(crate) request_id: &'a str,
}

/// Writes it down.
pub(crate) fn record(deed: &Deed<'_>) {
    let Deed { owner, action, session, object, status, request_id } = deed;
    let session = session.map(|it| it.to_string());
    let outcome = status.map_or_else(|| "not answered".to_owned(), |it| it.to_string());
    tracing::info!(owner = owner.as_str(), action, session, object, status, request_id, "{action} {outcome}");
}
