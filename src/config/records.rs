//! Where records are kept, and everything about Snowflake.

use super::reader::{Reader, is_private};
use crate::metadata::snowflake::account::AccountIdentifier;
use crate::metadata::snowflake::key_pair::{Credentials, Secret};
use crate::metadata::snowflake::sql_api::{SqlApiLimits, SqlApiSettings};
use secrecy::SecretString;
use std::path::PathBuf;
use url::Url;

/// The ways to say who we are, of which there is exactly one.
const CREDENTIALS: [&str; 5] = [
    "SNOWFLAKE_PRIVATE_KEY_PATH",
    "SNOWFLAKE_PRIVATE_KEY_BASE64",
    "SNOWFLAKE_TOKEN",
    "SNOWFLAKE_OAUTH_TOKEN",
    "SNOWFLAKE_OAUTH_TOKEN_PATH",
];
/// What there is instead of Snowflake.
const OR: &str = "or set DATABASE_URL, or SNOWFLAKE_MOCK_MODE=true, to do without Snowflake";

/// Where records are kept.
#[expect(clippy::large_enum_variant, reason = "made once at start")]
#[derive(Debug)]
pub enum RecordSettings {
    /// In an embedded database in memory.
    InMemory,
    /// In an embedded database in this file.
    File(PathBuf),
    /// In Snowflake.
    Snowflake(SqlApiSettings),
}

/// What is kept here of writes that Snowflake does not have yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JournalSettings {
    /// The file; nothing is kept when absent.
    pub path: Option<PathBuf>,
    /// The most writes that wait in it.
    pub max_writes: u32,
}

impl Reader<'_> {
    pub(super) fn records(&mut self) -> Option<RecordSettings> {
        let mock = self.flag("SNOWFLAKE_MOCK_MODE");
        let url = self.text("DATABASE_URL");
        let snowflake = !mock && (self.is_set("SNOWFLAKE_ACCOUNT") || self.is_set("SNOWFLAKE_BASE_URL"));
        match url {
            Some(_) if snowflake => {
                self.problem(
                    "DATABASE_URL keeps records in a file and SNOWFLAKE_ACCOUNT or SNOWFLAKE_BASE_URL in Snowflake: \
                     set one of them"
                        .to_owned(),
                );
                None
            }
            Some(url) => self.embedded(&url),
            None if snowflake => self.snowflake().map(RecordSettings::Snowflake),
            None if mock => Some(RecordSettings::InMemory),
            None => self.missing(
                "SNOWFLAKE_ACCOUNT",
                "the account that keeps records, like myorg-myaccount",
                "or set DATABASE_URL to keep them in a file, like sqlite://swimcoach.db, or SNOWFLAKE_MOCK_MODE=true \
                 to keep them in memory",
            ),
        }
    }

    pub(super) fn journal(&mut self) -> JournalSettings {
        let path = self.text("SNOWFLAKE_JOURNAL").unwrap_or_else(|| "swimcoach-journal.db".to_owned());
        JournalSettings {
            path: (path != "off").then(|| PathBuf::from(path)),
            max_writes: self.number("SNOWFLAKE_JOURNAL_MAX_WRITES", 10_000, 1..=10_000_000),
        }
    }

    fn embedded(&mut self, url: &str) -> Option<RecordSettings> {
        match url.strip_prefix("sqlite:").map(|it| it.strip_prefix("//").unwrap_or(it)) {
            Some(":memory:") => Some(RecordSettings::InMemory),
            Some(path) if !path.is_empty() && !path.contains('?') => {
                Some(RecordSettings::File(PathBuf::from(path)))
            }
            _ => {
                self.problem(
                    "DATABASE_URL must be sqlite:// and a file, like sqlite://swimcoach.db".to_owned(),
                );
                None
            }
        }
    }

    fn snowflake(&mut self) -> Option<SqlApiSettings> {
        let account = self.text("SNOWFLAKE_ACCOUNT").and_then(|it| self.account(&it));
        let base_url = self.snowflake_url().or_else(|| account.as_ref().map(|it| it.base_url().clone()));
        let credentials = self.credentials(account.as_ref());
        let warehouse = self.identifier("SNOWFLAKE_WAREHOUSE");
        let warehouse = warehouse
            .or_else(|| self.missing("SNOWFLAKE_WAREHOUSE", "the warehouse that runs statements", OR));
        let database = self.identifier("SNOWFLAKE_DATABASE");
        let database =
            database.or_else(|| self.missing("SNOWFLAKE_DATABASE", "the database of the records", OR));
        let schema = self.identifier("SNOWFLAKE_SCHEMA").unwrap_or_else(|| "PUBLIC".to_owned());
        let role = self.identifier("SNOWFLAKE_ROLE");
        let query_tag = self.text("SNOWFLAKE_QUERY_TAG").unwrap_or_else(|| "swimcoach".to_owned());
        let limits = SqlApiLimits::default();
        let max_in_flight = self.number("SNOWFLAKE_MAX_IN_FLIGHT", limits.max_in_flight, 1..=1024);
        Some(SqlApiSettings {
            base_url: base_url?,
            credentials: credentials?,
            warehouse: warehouse?,
            database: database?,
            schema,
            role,
            query_tag,
            limits: SqlApiLimits { max_in_flight, ..limits },
        })
    }

    fn account(&mut self, text: &str) -> Option<AccountIdentifier> {
        text.parse().map_err(|problem| self.problem(format!("SNOWFLAKE_ACCOUNT: {problem}"))).ok()
    }

    fn snowflake_url(&mut self) -> Option<Url> {
        let url: Url =
            self.parsed("SNOWFLAKE_BASE_URL", "a URL like https://myorg-myaccount.snowflakecomputing.com")?;
        if !is_private(&url) {
            self.problem(
                "SNOWFLAKE_BASE_URL must be https: tokens and records would travel in clear".to_owned(),
            );
        }
        if url.query().is_some() || url.fragment().is_some() {
            self.problem("SNOWFLAKE_BASE_URL must end with its path: paths are added to it".to_owned());
        }
        Some(url)
    }

    fn credentials(&mut self, account: Option<&AccountIdentifier>) -> Option<Credentials> {
        if self.is_set("SNOWFLAKE_PASSWORD") {
            self.problem(
                "SNOWFLAKE_PASSWORD is set, and the SQL API takes no passwords: remove it, and set \
                 SNOWFLAKE_PRIVATE_KEY_PATH with SNOWFLAKE_USER, or SNOWFLAKE_TOKEN"
                    .to_owned(),
            );
        }
        let given: Vec<&str> = CREDENTIALS.into_iter().filter(|it| self.is_set(it)).collect();
        let [name] = given[..] else {
            if given.is_empty() {
                return self.missing(
                    "SNOWFLAKE_PRIVATE_KEY_PATH",
                    "the file of the user's private key",
                    "or set SNOWFLAKE_PRIVATE_KEY_BASE64, SNOWFLAKE_TOKEN (a programmatic access token), \
                     SNOWFLAKE_OAUTH_TOKEN or SNOWFLAKE_OAUTH_TOKEN_PATH",
                );
            }
            self.problem(format!("{} are set: only one of them may say who we are", given.join(" and ")));
            return None;
        };
        let value = self.text(name)?;
        let secret = match name {
            "SNOWFLAKE_PRIVATE_KEY_PATH" | "SNOWFLAKE_OAUTH_TOKEN_PATH" => Secret::File(PathBuf::from(value)),
            _ => Secret::Text(SecretString::from(value)),
        };
        match name {
            "SNOWFLAKE_TOKEN" => Some(Credentials::AccessToken(secret)),
            "SNOWFLAKE_OAUTH_TOKEN" | "SNOWFLAKE_OAUTH_TOKEN_PATH" => Some(Credentials::OAuth(secret)),
            _ => self.key_pair(account, secret),
        }
    }

    fn key_pair(&mut self, account: Option<&AccountIdentifier>, private_key: Secret) -> Option<Credentials> {
        if !self.is_set("SNOWFLAKE_ACCOUNT") {
            self.problem(
                "SNOWFLAKE_ACCOUNT is not set: tokens that are signed with a private key name it".to_owned(),
            );
        }
        let user = self.text("SNOWFLAKE_USER").or_else(|| {
            self.missing("SNOWFLAKE_USER", "the login name of the private key's user", "a token needs none")
        });
        let passphrase = self.text("SNOWFLAKE_PRIVATE_KEY_PASSPHRASE").map(SecretString::from);
        Some(Credentials::KeyPair {
            account: account?.name().to_owned(),
            user: user?,
            private_key,
            passphrase,
        })
    }

    /// The name of an object as Snowflake keeps it: in upper case, unless it is quoted.
    fn identifier(&mut self, name: &str) -> Option<String> {
        let text = self.text(name)?;
        let quoted = text.strip_prefix('"').and_then(|it| it.strip_suffix('"')).filter(|it| !it.is_empty());
        if let Some(quoted) = quoted {
            return Some(quoted.replace("\"\"", "\""));
        }
        let plain = |it: char| it.is_ascii_alphanumeric() || it == '_' || it == '$';
        if !text.chars().all(plain) || text.starts_with(|it: char| it.is_ascii_digit() || it == '$') {
            self.problem(format!(
                "{name} is no name of an object: letters, digits, _ and $; any other name goes between double quotes"
            ));
        }
        Some(text.to_uppercase())
    }
}
