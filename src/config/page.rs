//! What the page offers beside what the API does.

use super::reader::Reader;

/// What the page offers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PageSettings {
    /// The client of the OpenID provider that the page signs people in as; it offers no such thing when absent.
    pub openid: Option<OpenIdClient>,
    /// Whether it sends frames straight to the bucket, which needs a CORS rule there.
    pub direct_uploads: bool,
}

/// A public client, without a secret: it signs people in by an authorization code with PKCE.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenIdClient {
    /// The `client_id` that the provider knows it by.
    pub id: String,
    /// What it asks for, separated by spaces.
    pub scope: String,
}

impl Reader<'_> {
    pub(super) fn page(&mut self) -> PageSettings {
        let client = self.text("OIDC_CLIENT_ID");
        if client.is_some() && !self.is_set("OIDC_ISSUER") {
            self.problem("OIDC_CLIENT_ID needs OIDC_ISSUER, the provider that knows the client".to_owned());
        }
        let scope = self.text("OIDC_SCOPE").unwrap_or_else(|| "openid".to_owned());
        let openid = client.map(|id| OpenIdClient { id, scope });
        PageSettings { openid, direct_uploads: self.flag("DIRECT_UPLOADS") }
    }
}
