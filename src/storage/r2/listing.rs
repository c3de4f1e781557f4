//! What lies in the bucket, page by page.

use super::error::failure;
use super::{R2StorageClient, entity_tag, not_understood};
use crate::session::SessionId;
use crate::storage::{FramePath, StoredFrame};
use crate::upstream::UpstreamError;

/// Which objects are asked for.
#[derive(Debug, Clone, Default)]
struct Query {
    /// What their keys begin with.
    prefix: String,
    /// Where it is set, keys that go on beyond it are given as one prefix.
    delimiter: Option<&'static str>,
    /// Keys up to this one are left out. Counts for the first page.
    start_after: Option<String>,
    /// What the page before gave to go on with.
    token: Option<String>,
}

/// One page of a listing.
struct Page {
    objects: Vec<Listed>,
    prefixes: Vec<String>,
    next: Option<String>,
}

/// An object as a listing tells it.
pub(super) struct Listed {
    pub(super) key: String,
    pub(super) size_bytes: u64,
    etag: Option<String>,
}

impl R2StorageClient {
    /// Every object that lies under a prefix, whatever it is called.
    pub(super) async fn objects_under(&self, prefix: String) -> Result<Vec<Listed>, UpstreamError> {
        let mut query = Query { prefix, ..Query::default() };
        let mut objects = Vec::new();
        loop {
            let mut page = self.ask("ListObjectsV2", || self.page(&query)).await?;
            objects.append(&mut page.objects);
            match page.next {
                Some(next) => query.token = Some(next),
                None => return Ok(objects),
            }
        }
    }

    /// Everything under a prefix whose key spells a path. Keys are listed in order, and so are the numbers in them.
    pub(super) async fn frames_under(
        &self,
        prefix: String,
        path_of: fn(&str) -> Option<FramePath>,
    ) -> Result<Vec<StoredFrame>, UpstreamError> {
        let objects = self.objects_under(prefix).await?;
        let frames = objects.into_iter().filter_map(|it| Some((path_of(&it.key)?, it)));
        let frames = frames.map(|(path, it)| {
            let etag = entity_tag("ListObjectsV2", it.etag.as_deref())?;
            Ok(StoredFrame { path, size_bytes: it.size_bytes, etag })
        });
        frames.collect()
    }

    /// One page of the sessions under a root. A page of nothing but foreign prefixes is not the end.
    pub(super) async fn sessions_after(
        &self,
        root: &'static str,
        after: Option<SessionId>,
    ) -> Result<Vec<SessionId>, UpstreamError> {
        let mut query = Query {
            prefix: root.to_owned(),
            delimiter: Some("/"),
            // `~` sorts after the slash, and so after every key of the session.
            start_after: after.map(|it| format!("{root}{it}~")),
            token: None,
        };
        loop {
            let page = self.ask("ListObjectsV2", || self.page(&query)).await?;
            let sessions = page.prefixes.iter().filter_map(|it| session_of(root, it));
            // A server that does not know start-after begins with sessions that were given already.
            let sessions: Vec<SessionId> = sessions.filter(|it| after < Some(*it)).collect();
            match page.next {
                Some(next) if sessions.is_empty() => query.token = Some(next),
                _ => return Ok(sessions),
            }
        }
    }

    async fn page(&self, query: &Query) -> Result<Page, UpstreamError> {
        let not_understood = |why| not_understood("ListObjectsV2", why);
        let request = self.client.list_objects_v2().bucket(&self.bucket).prefix(&query.prefix);
        let request = request.set_delimiter(query.delimiter.map(str::to_owned));
        // Once there is a token it says all; servers differ in what both together mean.
        let request = match &query.token {
            Some(token) => request.continuation_token(token),
            None => request.set_start_after(query.start_after.clone()),
        };
        let page = request.send().await.map_err(|it| failure("ListObjectsV2", &it))?;
        let next = page.next_continuation_token.filter(|_| page.is_truncated == Some(true));
        if page.is_truncated == Some(true) && next.is_none() {
            // Going on would list the first page again and again; stopping would miss objects.
            return Err(not_understood("a truncated page without a continuation token"));
        }
        if next.is_some() && next == query.token {
            return Err(not_understood("a page that leads to itself"));
        }
        let objects = page.contents.unwrap_or_default().into_iter().map(|object| {
            let size = object.size.and_then(|it| u64::try_from(it).ok());
            let (key, size_bytes) =
                object.key.zip(size).ok_or_else(|| not_understood("an object without key or size"))?;
            Ok(Listed { key, size_bytes, etag: object.e_tag })
        });
        let prefixes = page.common_prefixes.unwrap_or_default().into_iter().filter_map(|it| it.prefix);
        Ok(Page { objects: objects.collect::<Result<_, _>>()?, prefixes: prefixes.collect(), next })
    }
}

fn session_of(root: &str, prefix: &str) -> Option<SessionId> {
    prefix.strip_prefix(root)?.strip_suffix('/')?.parse().ok()
}
