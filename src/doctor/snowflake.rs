//! What is wrong with which setting when Snowflake refuses: told by its codes, since one kind of failure has
//! several causes.

use crate::metadata::snowflake::key_pair::Credentials;
use crate::metadata::snowflake::sql_api::{SqlApiError, SqlApiSettings};
use crate::upstream::{UpstreamError, UpstreamErrorKind};

/// Which setting to mend.
pub(super) fn advice(settings: &SqlApiSettings, error: &UpstreamError) -> String {
    let Some(refusal) = SqlApiError::behind(error) else { return without_refusal(settings, error.kind) };
    match (refusal.status, refusal.code.as_deref().unwrap_or_default()) {
        (_, "390144") if matches!(settings.credentials, Credentials::KeyPair { .. }) => {
            "one of three is wrong: SNOWFLAKE_ACCOUNT (the names of the organization and of the account), SNOWFLAKE_USER \
             (the user's login name), or the private key, whose public half is the user's RSA_PUBLIC_KEY. The query \
             above shows an administrator which"
                .to_owned()
        }
        (_, "394302") => "this machine's clock is wrong: the token that it signs is too old".to_owned(),
        (_, "390432") => {
            "a programmatic access token needs a network policy on its user; see docs/snowflake.md".to_owned()
        }
        (_, "390420" | "390422") => {
            "the network policy of the account or the user does not let in this machine's address".to_owned()
        }
        (_, "390317" | "390186" | "390189") => {
            "SNOWFLAKE_ROLE is not granted to the user, or the token is for another role".to_owned()
        }
        (401 | 403, _) => format!(
            "{} is wrong, expired or revoked; an administrator sees why in SNOWFLAKE.ACCOUNT_USAGE.LOGIN_HISTORY",
            token(&settings.credentials),
        ),
        (404, _) => "SNOWFLAKE_ACCOUNT or SNOWFLAKE_BASE_URL is no account of Snowflake".to_owned(),
        (_, "000606") => format!(
            "SNOWFLAKE_WAREHOUSE names no warehouse that the role may use: is there a {}? Case counts, and the role \
             needs USAGE on it",
            settings.warehouse,
        ),
        (_, "002043" | "090105" | "090106") => no_schema(settings),
        (_, "002003") if refusal.is_about_schema() => no_schema(settings),
        (_, "002003") => format!(
            "there are no tables in {}.{}, or the role may not see them: run `swimcoach migrate`, or grant the role \
             SELECT, INSERT, UPDATE and DELETE on them",
            settings.database, settings.schema,
        ),
        (_, "003001") => {
            "SNOWFLAKE_ROLE lacks a privilege that is named above; docs/snowflake.md lists what it needs"
                .to_owned()
        }
        (_, "090073") => "the resource monitor of SNOWFLAKE_WAREHOUSE has used up its credits".to_owned(),
        (_, "000625") => "too many statements wait for one table; try again later".to_owned(),
        _ => without_refusal(settings, error.kind),
    }
}

/// The answer has a refusal without a code of its own, or there was no answer.
fn without_refusal(settings: &SqlApiSettings, kind: UpstreamErrorKind) -> String {
    match kind {
        UpstreamErrorKind::Unavailable | UpstreamErrorKind::Timeout => format!(
            "{} cannot be reached from here, or is down; it comes from SNOWFLAKE_ACCOUNT or SNOWFLAKE_BASE_URL",
            settings.base_url,
        ),
        UpstreamErrorKind::RateLimited { .. } => {
            "it answers, but asks to slow down; try again later".to_owned()
        }
        UpstreamErrorKind::Unauthorized => {
            format!("{} cannot be read or is not accepted", token(&settings.credentials))
        }
        UpstreamErrorKind::NotFound
        | UpstreamErrorKind::Exhausted
        | UpstreamErrorKind::TooLarge
        | UpstreamErrorKind::Rejected
        | UpstreamErrorKind::InvalidResponse => {
            "what answers at SNOWFLAKE_ACCOUNT or SNOWFLAKE_BASE_URL does not behave as Snowflake's SQL API does"
                .to_owned()
        }
    }
}

fn token(credentials: &Credentials) -> &'static str {
    match credentials {
        Credentials::KeyPair { .. } => "the private key of SNOWFLAKE_PRIVATE_KEY_PATH or _BASE64",
        Credentials::AccessToken(_) => "SNOWFLAKE_TOKEN",
        Credentials::OAuth(_) => "SNOWFLAKE_OAUTH_TOKEN or SNOWFLAKE_OAUTH_TOKEN_PATH",
    }
}

fn no_schema(settings: &SqlApiSettings) -> String {
    format!(
        "SNOWFLAKE_DATABASE or SNOWFLAKE_SCHEMA names nothing that the role may use: is there a {}.{}? Case counts, \
         and the role needs USAGE on both",
        settings.database, settings.schema,
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metadata::snowflake::key_pair::Secret;
    use crate::metadata::snowflake::sql_api::SqlApiLimits;
    use crate::upstream::Service;
    use secrecy::SecretString;
    use url::Url;

    fn settings(credentials: Credentials) -> SqlApiSettings {
        SqlApiSettings {
            base_url: Url::parse("https://org-account.snowflakecomputing.com").unwrap(),
            credentials,
            warehouse: "WH".to_owned(),
            database: "DB".to_owned(),
            schema: "RECORDS".to_owned(),
            role: None,
            query_tag: String::new(),
            limits: SqlApiLimits::default(),
        }
    }

    fn secret() -> Secret {
        Secret::Text(SecretString::from("secret"))
    }

    fn key_pair() -> Credentials {
        let (account, user) = ("ORG-ACCOUNT".to_owned(), "USER".to_owned());
        Credentials::KeyPair { account, user, private_key: secret(), passphrase: None }
    }

    fn advice_on(credentials: Credentials, status: u16, code: Option<&str>, message: &str) -> String {
        let refusal = SqlApiError {
            status,
            code: code.map(str::to_owned),
            sql_state: None,
            message: message.to_owned(),
            query_id: None,
        };
        let kind = UpstreamErrorKind::Rejected;
        let error = UpstreamError::new(Service::Records, "probe", kind, refusal);
        advice(&settings(credentials), &error)
    }

    #[test]
    fn each_refusal_names_the_setting_to_mend() {
        for (status, code, message, names) in [
            (401, "390144", "", &["SNOWFLAKE_ACCOUNT", "SNOWFLAKE_USER", "private key"][..]),
            (401, "394302", "", &["clock"]),
            (401, "390317", "", &["SNOWFLAKE_ROLE"]),
            (403, "390420", "", &["network policy"]),
            (404, "", "", &["SNOWFLAKE_ACCOUNT", "SNOWFLAKE_BASE_URL"]),
            (422, "000606", "", &["SNOWFLAKE_WAREHOUSE", "WH"]),
            (422, "090105", "", &["SNOWFLAKE_DATABASE", "DB.RECORDS"]),
            (422, "090106", "", &["SNOWFLAKE_SCHEMA", "DB.RECORDS"]),
            (422, "002003", "Schema 'DB.RECORDS' does not exist", &["SNOWFLAKE_SCHEMA"]),
            (422, "002003", "Object 'SESSIONS' does not exist", &["swimcoach migrate"]),
            (422, "003001", "", &["privilege"]),
            (422, "090073", "", &["credits"]),
        ] {
            let advice = advice_on(key_pair(), status, Some(code), message);

            assert!(names.iter().all(|it| advice.contains(it)), "{code}: {advice}");
        }
    }

    #[test]
    fn a_token_that_is_refused_is_named() {
        for (credentials, name) in [
            (Credentials::AccessToken(secret()), "SNOWFLAKE_TOKEN"),
            (Credentials::OAuth(secret()), "SNOWFLAKE_OAUTH_TOKEN"),
        ] {
            for code in [Some("394400"), Some("390144"), None] {
                let advice = advice_on(credentials.clone(), 401, code, "");

                assert!(advice.starts_with(name), "{advice}");
            }
        }
    }
}
