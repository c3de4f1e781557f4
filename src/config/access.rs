//! How callers sign in.

use super::RecordSettings;
use super::reader::{Reader, is_private};
use crate::identity::{AccessSettings, OidcSettings};
use url::Url;

impl Reader<'_> {
    /// Whether anything is set by which callers sign in.
    pub(super) fn signs_in(&mut self) -> bool {
        self.flag("API_KEYS") || self.is_set("OIDC_ISSUER")
    }

    pub(super) fn access(&mut self, records: Option<&RecordSettings>) -> AccessSettings {
        let access = AccessSettings {
            api_keys: self.flag("API_KEYS"),
            oidc: self.oidc(),
            anonymous: self.flag("ANONYMOUS_SESSIONS"),
        };
        if access.api_keys && matches!(records, Some(RecordSettings::InMemory)) {
            self.problem(
                "API_KEYS=true needs records that outlive the process, since keys are made beside it: set DATABASE_URL to \
                 a file, or SNOWFLAKE_ACCOUNT"
                    .to_owned(),
            );
        }
        if access.anonymous && !access.signs_in() {
            self.problem(
                "ANONYMOUS_SESSIONS=true makes sense where others sign in: set API_KEYS=true or OIDC_ISSUER as well"
                    .to_owned(),
            );
        }
        access
    }

    fn oidc(&mut self) -> Option<OidcSettings> {
        let issuer = self.text("OIDC_ISSUER")?;
        let audience = self.text("OIDC_AUDIENCE");
        let parties = self.text("OIDC_AUTHORIZED_PARTIES").unwrap_or_default();
        let authorized_parties: Vec<String> =
            parties.split(',').map(str::trim).filter(|it| !it.is_empty()).map(str::to_owned).collect();
        let jwks_url: Option<Url> =
            self.parsed("OIDC_JWKS_URL", "a URL like https://clerk.coach.example/jwks");
        let is_fit = |it: &Url| is_private(it) && it.query().is_none() && it.fragment().is_none();
        if !Url::parse(&issuer).is_ok_and(|it| is_fit(&it)) {
            self.problem(
                "OIDC_ISSUER must be an https URL, spelled as tokens spell it, like https://clerk.coach.example"
                    .to_owned(),
            );
        }
        if jwks_url.as_ref().is_some_and(|it| !is_private(it)) {
            self.problem("OIDC_JWKS_URL must be https: others could change the keys on their way".to_owned());
        }
        if audience.is_none() && authorized_parties.is_empty() {
            self.problem(
                "OIDC_AUDIENCE or OIDC_AUTHORIZED_PARTIES is needed with OIDC_ISSUER, or tokens that were made for \
                 others would count here; tokens of Clerk say for which page they are (azp), like https://coach.example"
                    .to_owned(),
            );
        }
        Some(OidcSettings { issuer, audience, authorized_parties, jwks_url })
    }
}
