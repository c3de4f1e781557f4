//! `swimcoach doctor`: asks each dependency to do its part for real and says in words what is wrong with
//! which setting.

mod snowflake;

use crate::config::{ModelSettings, RecordSettings, Settings, StorageSettings};
use crate::metadata::StoreHealth;
use crate::run::Parts;
use crate::session::{FrameNumber, SessionId};
use crate::storage::{Download, FrameMetadata, FramePath, StorageClient};
use crate::upstream::{self, Service, UpstreamError, UpstreamErrorKind};
use bytes::Bytes;
use std::io::{self, Write};

/// What the probe object holds; it is removed again.
const PROBE: &[u8] = b"swimcoach doctor";

/// Checks every dependency and writes a line or more for each; returns whether all are well.
pub async fn examine(settings: &Settings, parts: &Parts, out: &mut (impl Write + Send)) -> io::Result<bool> {
    let mut all_well = true;
    writeln!(out, "storage: {}", storage_in_words(settings))?;
    all_well &= report(
        settings,
        out,
        "put, get, list and delete of a probe object",
        probe_storage(&*parts.storage).await,
    )?;
    writeln!(out, "records: {}", records_in_words(settings))?;
    all_well &= report(settings, out, "a record written and removed", parts.sessions.probe().await)?;
    if let Ok(StoreHealth::Degraded(backlog)) = parts.sessions.check().await
        && 0 < backlog.waiting
    {
        // What only waits is on its way; what was refused needs somebody.
        let word = if 0 < backlog.set_aside { "FAILED" } else { "WAITING" };
        writeln!(out, "  {word}: {backlog}; `swimcoach journal list` shows of which sessions")?;
        all_well &= backlog.set_aside == 0;
    }
    writeln!(out, "model: {}", model_in_words(settings))?;
    all_well &= report(settings, out, "the model looked up", parts.vision.check().await)?;
    writeln!(out, "sign-in: {}", sign_in_in_words(settings))?;
    if settings.access.oidc.is_some() {
        all_well &= report(settings, out, "the keys of the OpenID provider", parts.identity.check().await)?;
    }
    if let Some(moderation) = &parts.moderation {
        writeln!(out, "moderation: at MODERATION_URL")?;
        all_well &= report(settings, out, "a verdict on a grey picture", moderation.check().await)?;
    }
    Ok(all_well)
}

async fn probe_storage(storage: &dyn StorageClient) -> Result<(), UpstreamError> {
    let session = SessionId::new();
    let path = FramePath::new(session, FrameNumber::FIRST);
    let metadata = FrameMetadata { width: 1, height: 1 };
    let wrong = |operation, what: &str| {
        Err(UpstreamError::new(Service::Storage, operation, UpstreamErrorKind::InvalidResponse, what))
    };

    let stored = storage.upload_frame(&path, Bytes::from_static(PROBE), &metadata).await?;
    let read = storage.download_frame(&stored).await?;
    let listed = storage.list_frames(session).await?;
    let deleted = storage.delete_frames(session).await?;
    // What readiness asks; last, since a refusal of it carries no code that tells why.
    storage.check().await?;
    if read != Download::Frame(Bytes::from_static(PROBE)) {
        return wrong("GetObject", "other bytes came back than were stored");
    }
    if listed.len() != 1 || deleted.frames != 1 {
        return wrong("ListObjectsV2", "the object that was stored is not listed");
    }
    Ok(())
}

fn report(
    settings: &Settings,
    out: &mut impl Write,
    what: &str,
    result: Result<(), UpstreamError>,
) -> io::Result<bool> {
    match result {
        Ok(()) => {
            writeln!(out, "  ok: {what}")?;
            Ok(true)
        }
        Err(error) => {
            writeln!(out, "  FAILED: {}", upstream::chain(&error))?;
            writeln!(out, "  {}", advice(settings, &error))?;
            Ok(false)
        }
    }
}

fn storage_in_words(settings: &Settings) -> String {
    match &settings.storage {
        StorageSettings::Mock => "in memory (R2_MOCK_MODE=true)".to_owned(),
        StorageSettings::R2(r2) => format!("bucket {} at {}", r2.bucket, r2.endpoint),
    }
}

fn records_in_words(settings: &Settings) -> String {
    match &settings.records {
        RecordSettings::InMemory => "in memory".to_owned(),
        RecordSettings::File(path) => format!("file {}", path.display()),
        RecordSettings::Snowflake(it) => format!("{}.{} at {}", it.database, it.schema, it.base_url),
    }
}

fn model_in_words(settings: &Settings) -> String {
    match &settings.model {
        ModelSettings::Mock => "none (ANTHROPIC_MOCK_MODE=true)".to_owned(),
        ModelSettings::Claude(claude) => format!("{} at {}", claude.model, claude.base_url),
    }
}

fn sign_in_in_words(settings: &Settings) -> String {
    let keys = settings.access.api_keys.then(|| "API keys".to_owned());
    let provider = settings.access.oidc.as_ref().map(|it| format!("tokens of {}", it.issuer));
    let anonymous = settings.access.anonymous.then(|| "anonymous sessions".to_owned());
    let ways: Vec<String> = [keys, provider, anonymous].into_iter().flatten().collect();
    if ways.is_empty() {
        "none; everybody who reaches the service is let in".to_owned()
    } else {
        ways.join(", ")
    }
}

/// Which setting to mend.
pub fn advice(settings: &Settings, error: &UpstreamError) -> String {
    match (error.service, &settings.records) {
        (Service::Records, RecordSettings::Snowflake(it)) => snowflake::advice(it, error),
        _ => advice_by_kind(error.service, error.kind).to_owned(),
    }
}

fn advice_by_kind(service: Service, kind: UpstreamErrorKind) -> &'static str {
    use UpstreamErrorKind as K;
    match (service, kind) {
        (Service::Storage, K::Unauthorized) => {
            "R2_ACCESS_KEY_ID or R2_SECRET_ACCESS_KEY is wrong, or the token may not read and write objects of \
             R2_BUCKET_NAME"
        }
        (Service::Storage, K::NotFound) => {
            "R2_BUCKET_NAME names no bucket of this account; a bucket of a jurisdiction needs that jurisdiction's \
             R2_ENDPOINT"
        }
        (Service::Storage, K::Unavailable | K::Timeout) => {
            "R2_ENDPOINT (or R2_ACCOUNT_ID) cannot be reached from here, or is down"
        }
        (Service::Storage, K::TooLarge | K::Rejected | K::InvalidResponse) => {
            "R2_ENDPOINT does not speak S3 as R2 does"
        }
        (Service::Records, K::Unavailable | K::Timeout) => {
            "the file of DATABASE_URL is locked by another process"
        }
        (Service::Records, K::Exhausted) => "the disk of DATABASE_URL is full",
        (
            Service::Records,
            K::Unauthorized | K::NotFound | K::TooLarge | K::Rejected | K::InvalidResponse,
        ) => "DATABASE_URL names no database that can be opened and written; its folder must exist",
        (Service::Model, K::Unauthorized) => "ANTHROPIC_API_KEY is wrong, or may not use ANTHROPIC_MODEL",
        (Service::Model, K::NotFound) => "ANTHROPIC_MODEL names no model, or one that was retired",
        (Service::Model, K::Unavailable | K::Timeout) => {
            "ANTHROPIC_BASE_URL cannot be reached from here, or is down"
        }
        (Service::Model, K::Exhausted) => "the credit or spending limit behind ANTHROPIC_API_KEY is used up",
        (Service::Model, K::TooLarge | K::Rejected | K::InvalidResponse) => {
            "ANTHROPIC_BASE_URL does not speak the Claude Messages API"
        }
        (Service::Provider, K::NotFound) => {
            "OIDC_ISSUER publishes no keys there; set OIDC_JWKS_URL to where it does"
        }
        (Service::Provider, K::Unavailable | K::Timeout) => {
            "OIDC_ISSUER (or OIDC_JWKS_URL) cannot be reached from here, or is down"
        }
        (
            Service::Provider,
            K::Unauthorized | K::Exhausted | K::TooLarge | K::Rejected | K::InvalidResponse,
        ) => "OIDC_ISSUER (or OIDC_JWKS_URL) is no OpenID provider, or not exactly as it spells itself",
        (Service::Moderation, K::Unauthorized) => "MODERATION_TOKEN is missing or wrong",
        (Service::Moderation, K::Unavailable | K::Timeout) => {
            "MODERATION_URL cannot be reached from here, or is down"
        }
        (
            Service::Moderation,
            K::NotFound | K::Exhausted | K::TooLarge | K::Rejected | K::InvalidResponse,
        ) => "MODERATION_URL does not answer as docs/operations.md says that it must",
        (Service::Storage, K::Exhausted) => "the storage's quota is used up",
        (_, K::RateLimited { .. }) => "it answers, but asks to slow down; try again later",
    }
}
