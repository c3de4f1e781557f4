//! What an operator does beside the service, from the command line.

use crate::access::{ApiKey, KeyId, Scope};
use crate::coach::{Coach, SweepError, SweepRequest};
use crate::identity::{KeyRing, KeyRingError};
use chrono::{TimeDelta, Utc};
use secrecy::{ExposeSecret, SecretString};
use std::collections::BTreeSet;
use std::io::{self, Write};
use thiserror::Error;

/// Why something was not done.
#[derive(Debug, Error)]
pub enum AdminError {
    /// What was asked for makes no sense.
    #[error("{0}")]
    Refused(String),
    /// A key is not there, or records failed.
    #[error(transparent)]
    Key(#[from] KeyRingError),
    /// Storage or records failed.
    #[error(transparent)]
    Sweep(#[from] SweepError),
    /// Nobody reads what is written.
    #[error("what was done cannot be written out")]
    Output(#[from] io::Error),
}

/// Removes what is to be kept no longer, and names it; says whether nothing is left of that.
pub async fn sweep(
    coach: &Coach,
    request: SweepRequest,
    out: &mut (impl Write + Send),
) -> Result<bool, AdminError> {
    let swept = match coach.sweep(request).await {
        Ok(swept) => swept,
        Err(error @ SweepError::NoneKnown { .. }) => {
            return Err(AdminError::Refused(format!(
                "{error}; are SNOWFLAKE_DATABASE and SNOWFLAKE_SCHEMA, or DATABASE_URL, those of the service? If they are, \
                 repeat with --records-are-empty"
            )));
        }
        Err(error) => return Err(error.into()),
    };
    let verb = if request.dry_run { "would remove" } else { "removed" };
    for (what, sessions) in [
        ("the expired session", &swept.expired),
        ("the frames of the failed upload", &swept.orphans),
        ("what was never completed of", &swept.pending),
    ] {
        for id in sessions {
            writeln!(out, "{verb} {what} {id}")?;
        }
    }
    writeln!(
        out,
        "{verb} {} expired sessions, the frames of {} failed uploads, what was never completed of {} sessions, and {} \
         requests whose keys count no more",
        swept.expired.len(),
        swept.orphans.len(),
        swept.pending.len(),
        swept.requests,
    )?;
    if 0 < swept.failed {
        writeln!(
            out,
            "{} could not be removed; the log says which, and the next sweep tries again",
            swept.failed
        )?;
    }
    Ok(swept.failed == 0)
}

/// A key that is to be made.
#[derive(Debug, Clone)]
pub struct NewKey {
    /// For whom.
    pub owner: String,
    /// What for.
    pub name: String,
    /// With which scopes; all but `impersonate` where none is named.
    pub scopes: Vec<Scope>,
    /// For how many days; without an end when absent.
    pub days: Option<u32>,
}

/// Makes a key and shows it, which is the only time.
pub async fn create_key(
    keys: &KeyRing,
    new: NewKey,
    out: &mut (impl Write + Send),
) -> Result<(), AdminError> {
    if !ApiKey::is_owner(&new.owner) {
        return Err(AdminError::Refused(format!(
            "an owner has 1 to {} letters, digits and . _ @ -",
            ApiKey::MAX_OWNER
        )));
    }
    let scopes: BTreeSet<Scope> =
        if new.scopes.is_empty() { Scope::of_users() } else { new.scopes.into_iter().collect() };
    let lifetime = new.days.map(|it| TimeDelta::days(it.into()));
    let made = keys.create(&new.owner, &new.name, scopes, lifetime).await.map_err(KeyRingError::from)?;
    show_new(&made, out)?;
    Ok(())
}

/// Shows every key, without secrets.
pub async fn list_keys(keys: &KeyRing, out: &mut (impl Write + Send)) -> Result<(), AdminError> {
    let all = keys.all().await.map_err(KeyRingError::from)?;
    for key in &all {
        writeln!(out, "{}", in_words(key))?;
    }
    if all.is_empty() {
        writeln!(out, "there is no key; `swimcoach key create --owner …` makes one")?;
    }
    Ok(())
}

/// Makes a key in the place of another, which counts a while longer.
pub async fn rotate_key(
    keys: &KeyRing,
    id: &KeyId,
    grace_hours: u32,
    out: &mut (impl Write + Send),
) -> Result<(), AdminError> {
    let made = keys.rotate(id, TimeDelta::hours(grace_hours.into())).await?;
    show_new(&made, out)?;
    writeln!(out, "the key {id} counts for {grace_hours} hours more")?;
    Ok(())
}

/// Makes a key count no more.
pub async fn revoke_key(keys: &KeyRing, id: &KeyId, out: &mut (impl Write + Send)) -> Result<(), AdminError> {
    let key = keys.revoke(id).await?;
    writeln!(out, "{}", in_words(&key))?;
    writeln!(out, "services that run notice it within 30 seconds")?;
    Ok(())
}

fn show_new((key, shown): &(ApiKey, SecretString), out: &mut impl Write) -> io::Result<()> {
    writeln!(out, "{}", in_words(key))?;
    writeln!(out, "{}", shown.expose_secret())?;
    writeln!(out, "keep it now: it is shown this once, and only its hash is stored")
}

fn in_words(key: &ApiKey) -> String {
    let ApiKey { id, owner, name, scopes, created_at, expires_at, revoked_at, .. } = key;
    let scopes: Vec<&str> = scopes.iter().map(|it| it.as_str()).collect();
    let now = Utc::now();
    let end = match (revoked_at, expires_at) {
        (Some(at), _) => format!("revoked {}", at.date_naive()),
        (None, Some(at)) if *at <= now => format!("expired {}", at.date_naive()),
        (None, Some(at)) => format!("until {}", at.format("%Y-%m-%d %H:%M UTC")),
        (None, None) => "without an end".to_owned(),
    };
    format!("{id}  {owner}  {}  since {}, {end}  {name}", scopes.join(","), created_at.date_naive())
}
