//! API keys in records: found by their public part, made, rotated and revoked.

use super::{IdentityError, Scope, is_user};
use crate::access::{ApiKey, Caller, KeyId, PresentedKey};
use crate::metadata::{Entry, EntryKind, Exchanged, SessionStore};
use crate::upstream::{Service, UpstreamError, UpstreamErrorKind};
use chrono::{DateTime, SubsecRound, TimeDelta, Utc};
use moka::future::Cache;
use secrecy::SecretString;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use thiserror::Error;

const OPERATION: &str = "api_key";

/// For how long a key is not looked up again, and so how late a revocation may be noticed.
const REMEMBERED: Duration = Duration::from_secs(30);

/// Of how many keys, known or not, that is remembered.
const MAX_REMEMBERED: u64 = 10_000;

/// How often a key is changed anew because somebody else changed it meanwhile.
const ROUNDS: u32 = 4;

/// The keys that are in records.
#[derive(Debug, Clone)]
pub struct KeyRing {
    sessions: Arc<dyn SessionStore>,
    remembered: Cache<KeyId, Option<Arc<ApiKey>>>,
}

/// Why a key is not changed.
#[derive(Debug, Error)]
pub enum KeyRingError {
    /// There is none of this id.
    #[error("there is no key {0}; `swimcoach key list` shows those that there are")]
    NoSuchKey(KeyId),
    /// It counts no more.
    #[error("the key {0} has expired or was revoked; make a new one")]
    CountsNoMore(KeyId),
    /// Records failed.
    #[error(transparent)]
    Upstream(#[from] UpstreamError),
}

impl KeyRing {
    /// The keys in these records.
    pub fn new(sessions: Arc<dyn SessionStore>) -> Self {
        let remembered = Cache::builder().max_capacity(MAX_REMEMBERED).time_to_live(REMEMBERED).build();
        Self { sessions, remembered }
    }

    /// Whoever presents a key, or the user that they act for.
    pub(super) async fn caller(
        &self,
        presented: &PresentedKey,
        user: Option<&str>,
    ) -> Result<Caller, IdentityError> {
        let looked_up = self.remembered.try_get_with(presented.id.clone(), self.key(&presented.id)).await;
        let key = looked_up.map_err(|shared: Arc<UpstreamError>| {
            // The failure is everybody's who waited for it.
            UpstreamError::new(shared.service, shared.operation, shared.kind, shared.source.to_string())
        })?;
        let Some(key) = key.filter(|it| it.accepts(presented, Utc::now())) else {
            return Err(IdentityError::Invalid("the key is not known, has expired or was revoked"));
        };
        let Some(user) = user else { return Ok(Caller::with_key(&key)) };
        if !key.scopes.contains(&Scope::Impersonate) {
            return Err(IdentityError::MayNotImpersonate);
        }
        if !is_user(user) {
            return Err(IdentityError::InvalidUser);
        }
        Ok(Caller::user_of_key(&key, user))
    }

    /// Makes a key; the key itself is the second part, and is kept nowhere.
    pub async fn create(
        &self,
        owner: &str,
        name: &str,
        scopes: BTreeSet<Scope>,
        lifetime: Option<TimeDelta>,
    ) -> Result<(ApiKey, SecretString), UpstreamError> {
        let now = Utc::now().trunc_subsecs(3);
        let (key, shown) = ApiKey::new(owner, name, scopes, now, lifetime.map(|it| now + it));
        match self.sessions.exchange_entry(None, &entry_of(&key, now)?).await? {
            Exchanged::Put => Ok((key, shown)),
            Exchanged::Changed(_) => Err(broken("a key of this id is there already")),
        }
    }

    /// Every key, also those that count no more.
    pub async fn all(&self) -> Result<Vec<ApiKey>, UpstreamError> {
        let mut keys = Vec::new();
        let mut after: Option<String> = None;
        loop {
            // Clocks of machines differ a little.
            let before = Utc::now() + TimeDelta::days(1);
            let page = self.sessions.entries(EntryKind::ApiKey, before, after.as_deref()).await?;
            let Some(last) = page.last() else { return Ok(keys) };
            after = Some(last.name.clone());
            for entry in &page {
                keys.push(key_in(entry)?);
            }
        }
    }

    /// Makes a key that may do what another may, which counts for `grace` longer and no more after that.
    pub async fn rotate(&self, id: &KeyId, grace: TimeDelta) -> Result<(ApiKey, SecretString), KeyRingError> {
        let now = Utc::now().trunc_subsecs(3);
        let old = self.key(id).await?.ok_or_else(|| KeyRingError::NoSuchKey(id.clone()))?;
        if !old.counts(now) {
            return Err(KeyRingError::CountsNoMore(id.clone()));
        }
        let lifetime = old.expires_at.map(|it| it - old.created_at);
        let made = self.create(&old.owner, &old.name, old.scopes.clone(), lifetime).await?;
        let end = now + grace;
        self.change(id, |key| key.expires_at = Some(key.expires_at.map_or(end, |it| it.min(end)))).await?;
        Ok(made)
    }

    /// Makes a key count no more.
    pub async fn revoke(&self, id: &KeyId) -> Result<ApiKey, KeyRingError> {
        let now = Utc::now().trunc_subsecs(3);
        self.change(id, |key| key.revoked_at = Some(key.revoked_at.map_or(now, |it| it.min(now)))).await
    }

    async fn key(&self, id: &KeyId) -> Result<Option<Arc<ApiKey>>, UpstreamError> {
        let entry = self.sessions.entry(EntryKind::ApiKey, id.as_str()).await?;
        entry.map(|it| key_in(&it).map(Arc::new)).transpose()
    }

    async fn change(&self, id: &KeyId, change: impl Fn(&mut ApiKey)) -> Result<ApiKey, KeyRingError> {
        for _ in 0..ROUNDS {
            let there = self.sessions.entry(EntryKind::ApiKey, id.as_str()).await?;
            let there = there.ok_or_else(|| KeyRingError::NoSuchKey(id.clone()))?;
            let mut key = key_in(&there)?;
            change(&mut key);
            let new = entry_of(&key, there.recorded_at)?;
            if self.sessions.exchange_entry(Some(&there.value), &new).await? == Exchanged::Put {
                return Ok(key);
            }
        }
        Err(broken("the key was changed by others again and again").into())
    }
}

fn entry_of(key: &ApiKey, recorded_at: DateTime<Utc>) -> Result<Entry, UpstreamError> {
    let value = serde_json::to_string(key).map_err(|error| {
        UpstreamError::new(Service::Records, OPERATION, UpstreamErrorKind::Rejected, error)
    })?;
    let name = key.id.to_string();
    Ok(Entry { kind: EntryKind::ApiKey, name, owner: None, session: None, value, recorded_at })
}

fn key_in(entry: &Entry) -> Result<ApiKey, UpstreamError> {
    serde_json::from_str(&entry.value).map_err(|_quotes_values| broken("a record holds no key"))
}

fn broken(why: &str) -> UpstreamError {
    UpstreamError::new(Service::Records, OPERATION, UpstreamErrorKind::InvalidResponse, why)
}
