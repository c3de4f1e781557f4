//! Everything of a caller: taken out in one file, and removed at once.

use super::AppState;
use super::auth::{MayDelete, MayExport};
use super::error::{ApiError, ProblemBody};
use super::sessions::SessionDetail;
use crate::coach::{CoachError, Erased};
use crate::metadata::SessionRecord;
use crate::session::{Owner, SessionId};
use crate::storage::FramePath;
use crate::upstream;
use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures_util::{StreamExt, stream};
use serde::Serialize;
use sha2::{Digest, Sha256};
use std::io::{self, Write};
use tokio::sync::mpsc::{self, Receiver, Sender};
use utoipa::ToSchema;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, DateTime as ZipTime, ZipWriter};

/// Sessions that are read at one time.
const PAGE: u32 = 50;
/// Files, and pieces of the archive, that wait for whoever takes them.
const WAITING: usize = 2;
/// The longest piece of the archive that is sent at once, in bytes.
const PIECE: usize = 64 * 1024;
/// What ends an archive that is whole.
const MANIFEST: &str = "manifest.json";

/// A file of an archive.
#[derive(Debug, Serialize)]
struct File {
    name: String,
    size_bytes: usize,
    sha256: String,
}

/// What an archive has, as its last file.
#[derive(Debug, Serialize)]
struct Manifest {
    /// When what is in it was changed last.
    changed_at: Option<DateTime<Utc>>,
    sessions: usize,
    files: Vec<File>,
    /// Frames that the records know and storage does not have, or has changed.
    missing: Vec<String>,
}

/// What was removed.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct EraseReply {
    /// Sessions removed.
    sessions_deleted: u64,
    /// Objects removed from storage.
    frames_deleted: u64,
    /// Their sizes in bytes, added up.
    bytes_deleted: u64,
    /// Records removed.
    records_deleted: u64,
    /// A sentence for people.
    message: &'static str,
}

/// Everything of the caller as one zip: a document and the frames of each session, and a manifest at its end. One that
/// breaks off has no end and no manifest.
#[utoipa::path(
    get,
    path = "/api/v1/export",
    tag = "data",
    responses(
        (status = 200, content_type = "application/zip", body = Vec<u8>),
        (status = 502, body = ProblemBody, content_type = "application/problem+json", description = "records gave an answer that makes no sense"),
        (status = 503, body = ProblemBody, content_type = "application/problem+json", description = "records are down"),
    ),
)]
pub(super) async fn export(
    State(app): State<AppState>,
    MayExport(owner): MayExport,
) -> Result<Response, ApiError> {
    // What fails before the first byte can still be told.
    let first = app.coach.list_sessions(&owner, None, PAGE).await?;
    let (files, to_pack) = mpsc::channel(WAITING);
    let (pieces, packed) = mpsc::channel(WAITING);
    tokio::task::spawn_blocking(move || pack(to_pack, &pieces));
    tokio::spawn(async move {
        if let Err(error) = gather(&app, &owner, first, &files).await {
            tracing::warn!(causes = upstream::chain(&error), "an export broke off");
            // Whoever packs breaks the archive off; it may be gone already.
            drop(files.send(Err(io::Error::other("the export broke off"))).await);
        }
    });
    let pieces = stream::unfold(packed, async |mut packed| packed.recv().await.map(|it| (it, packed)));
    let headers = [
        (header::CONTENT_TYPE, "application/zip"),
        (header::CONTENT_DISPOSITION, "attachment; filename=\"swimcoach-export.zip\""),
        (header::CACHE_CONTROL, "no-store"),
    ];
    Ok((headers, Body::from_stream(pieces.boxed())).into_response())
}

/// Removes everything of the caller.
#[utoipa::path(
    delete,
    path = "/api/v1/data",
    tag = "data",
    responses(
        (status = 200, body = EraseReply),
        (status = 502, body = ProblemBody, content_type = "application/problem+json", description = "storage or records gave an answer that makes no sense"),
        (status = 503, body = ProblemBody, content_type = "application/problem+json", description = "storage or records are down, and something is left; the erasure can be repeated"),
    ),
)]
pub(super) async fn erase(
    State(app): State<AppState>,
    MayDelete(owner): MayDelete,
) -> Result<Json<EraseReply>, ApiError> {
    let coach = app.coach.clone();
    // Half of it is not what was asked for, so it goes on when the client goes away.
    let erased = app.coach.finish(async move { coach.erase(&owner).await });
    let Erased { sessions, frames, bytes, records } = erased.await.map_err(CoachError::from)??;
    Ok(Json(EraseReply {
        sessions_deleted: sessions,
        frames_deleted: frames,
        bytes_deleted: bytes,
        records_deleted: records,
        message: "Your sessions, frames, analyses and conversations are gone. What was charged is kept, as amounts and counts.",
    }))
}

/// Hands every file of the owner on, one after the other.
async fn gather(
    app: &AppState,
    owner: &Owner,
    first: Vec<SessionRecord>,
    files: &Sender<io::Result<(String, Bytes)>>,
) -> Result<(), ExportError> {
    let mut manifest = Manifest { changed_at: None, sessions: 0, files: vec![], missing: vec![] };
    let mut page = first;
    while let Some(last) = page.last().map(|it| it.session.id) {
        let is_last = page.len() < PAGE as usize;
        for record in page {
            add_session(app, record, &mut manifest, files).await?;
        }
        if is_last {
            break;
        }
        page = app.coach.list_sessions(owner, Some(last), PAGE).await?;
    }
    let document = serde_json::to_vec_pretty(&manifest)?;
    send(files, MANIFEST.to_owned(), document.into()).await
}

async fn add_session(
    app: &AppState,
    record: SessionRecord,
    manifest: &mut Manifest,
    files: &Sender<io::Result<(String, Bytes)>>,
) -> Result<(), ExportError> {
    let (id, frames) = (record.session.id, record.session.frames.clone());
    let detail = SessionDetail::from(record);
    manifest.sessions += 1;
    manifest.changed_at = manifest.changed_at.max(Some(detail.updated_at()));
    let document = serde_json::to_vec_pretty(&detail)?;
    add(files, manifest, format!("sessions/{id}/session.json"), document.into()).await?;
    for frame in frames {
        let name = name_of(id, &FramePath::new(id, frame.number));
        match app.coach.frame_bytes(id, &frame).await {
            Ok(jpeg) => add(files, manifest, name, jpeg).await?,
            Err(CoachError::FrameLost(_)) => manifest.missing.push(name),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// The name of a frame in the archive.
fn name_of(id: SessionId, path: &FramePath) -> String {
    format!("sessions/{id}/frames/{:04}.jpg", path.number.get())
}

async fn add(
    files: &Sender<io::Result<(String, Bytes)>>,
    manifest: &mut Manifest,
    name: String,
    content: Bytes,
) -> Result<(), ExportError> {
    let sha256 = hex::encode(Sha256::digest(&content));
    manifest.files.push(File { name: name.clone(), size_bytes: content.len(), sha256 });
    send(files, name, content).await
}

async fn send(
    files: &Sender<io::Result<(String, Bytes)>>,
    name: String,
    content: Bytes,
) -> Result<(), ExportError> {
    files.send(Ok((name, content))).await.map_err(|_gone| ExportError::ClientGone)
}

/// Why an export does not come to its end.
#[derive(Debug, thiserror::Error)]
enum ExportError {
    #[error(transparent)]
    Coach(#[from] CoachError),
    #[error("a document cannot be written")]
    Unwritable(#[from] serde_json::Error),
    #[error("the client went away")]
    ClientGone,
}

/// Packs files as they come, on a thread that may block, into pieces of the archive.
fn pack(mut files: Receiver<io::Result<(String, Bytes)>>, pieces: &Sender<io::Result<Bytes>>) {
    let mut archive = ZipWriter::new_stream(Pieces { pieces: pieces.clone(), piece: Vec::new() });
    let options = SimpleFileOptions::default()
        .compression_method(CompressionMethod::Stored)
        .last_modified_time(ZipTime::default());
    let mut is_whole = false;
    let packed = (|| -> io::Result<()> {
        while let Some(file) = files.blocking_recv() {
            let (name, content) = file?;
            is_whole = name == MANIFEST;
            archive.start_file(name, options)?;
            archive.write_all(&content)?;
        }
        if is_whole { Ok(()) } else { Err(io::Error::other("the export broke off")) }
    })();
    let ended = packed.and_then(|()| archive.finish()?.into_inner().flush());
    if let Err(error) = ended {
        // The body ends with an error, so that nobody takes it for whole. The client may be gone.
        drop(pieces.blocking_send(Err(error)));
    }
}

/// Where the archive is written to: pieces of the body.
struct Pieces {
    pieces: Sender<io::Result<Bytes>>,
    piece: Vec<u8>,
}

impl Write for Pieces {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.piece.extend_from_slice(bytes);
        if PIECE <= self.piece.len() {
            self.flush()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        let piece = std::mem::take(&mut self.piece);
        if piece.is_empty() {
            return Ok(());
        }
        self.pieces.blocking_send(Ok(piece.into())).map_err(|_gone| io::ErrorKind::BrokenPipe.into())
    }
}
