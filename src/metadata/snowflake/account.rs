//! The account's identifier, in every form in which people have it at hand.

use std::str::FromStr;
use thiserror::Error;
use url::Url;

/// What every account's host ends with; the second is China's.
const DOMAINS: [&str; 2] = [".snowflakecomputing.com", ".snowflakecomputing.cn"];
/// The host of the web interface, where the account stands in the path.
const WEB: &str = "app.snowflake.com";
/// What a locator may name behind its region.
const CLOUDS: [&str; 3] = ["aws", "azure", "gcp"];

/// An account of Snowflake: the host that answers for it, and its name in tokens.
///
/// ```
/// use swimcoach::metadata::snowflake::account::AccountIdentifier;
///
/// for text in [
///     "MYORG-MY_ACCOUNT",
///     "myorg.my_account",
///     "https://app.snowflake.com/myorg/my_account/#/homepage",
/// ] {
///     let account: AccountIdentifier = text.parse()?;
///     assert_eq!(account.base_url().as_str(), "https://myorg-my-account.snowflakecomputing.com/");
///     assert_eq!(account.name(), "MYORG-MY_ACCOUNT");
/// }
///
/// let by_locator: AccountIdentifier = "xy12345.us-east-2.aws".parse()?;
/// assert_eq!(by_locator.base_url().as_str(), "https://xy12345.us-east-2.aws.snowflakecomputing.com/");
/// assert_eq!(by_locator.name(), "XY12345");
/// # Ok::<(), swimcoach::metadata::snowflake::account::NoAccount>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccountIdentifier {
    base_url: Url,
    name: String,
}

/// A text that identifies no account, and why.
#[derive(Debug, Error)]
#[error(
    "{given:?} identifies no Snowflake account: {why}. Write it like myorg-myaccount, as Snowsight shows it \
     under Account details, or like xy12345.us-east-2.aws"
)]
pub struct NoAccount {
    given: String,
    why: &'static str,
}

impl AccountIdentifier {
    /// Where the account answers: underscores are hyphens there, since certificates are not valid for hosts
    /// with underscores everywhere.
    pub fn base_url(&self) -> &Url {
        &self.base_url
    }

    /// The account in tokens that are signed with a key: in upper case, without its region.
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl FromStr for AccountIdentifier {
    type Err = NoAccount;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let text = text.trim();
        parse(&text.to_ascii_lowercase()).map_err(|why| NoAccount { given: text.to_owned(), why })
    }
}

fn parse(text: &str) -> Result<AccountIdentifier, &'static str> {
    let (identifier, domain) = identifier(text)?;
    let (identifier, private) = match identifier.strip_suffix(".privatelink") {
        Some(rest) => (rest, ".privatelink"),
        None => (identifier.as_str(), ""),
    };
    let parts: Vec<&str> = identifier.split('.').collect();
    if !parts.iter().all(|it| is_part(it)) {
        return Err("its parts are made of letters, digits, hyphens and underscores");
    }
    let (host, name) = match parts[..] {
        [account] => (account.to_owned(), account.to_owned()),
        [locator, region] if region.contains('-') => by_locator(locator, region)?,
        [_, "com" | "cn" | "net"] => return Err("it is the host of something else"),
        [organization, account] if !organization.contains('-') => {
            let account = format!("{organization}-{account}");
            (account.clone(), account)
        }
        [locator, region, cloud] if CLOUDS.contains(&cloud) => {
            let (host, name) = by_locator(locator, region)?;
            (format!("{host}.{cloud}"), name)
        }
        _ => return Err("it is neither an organization and an account nor a locator and its region"),
    };
    let url = format!("https://{}{private}{domain}/", host.replace('_', "-"));
    let base_url = Url::parse(&url).map_err(|_no_url| "no host can be made of it")?;
    Ok(AccountIdentifier { base_url, name: name.to_ascii_uppercase() })
}

/// What stands before Snowflake's domain, or in the path of its web interface, and the domain.
fn identifier(text: &str) -> Result<(String, &'static str), &'static str> {
    let bare = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://")).unwrap_or(text);
    let (host, path) = bare.split_once(['/', '?', '#']).unwrap_or((bare, ""));
    let host = host.strip_suffix(":443").unwrap_or(host);
    if host == WEB {
        let mut parts = path.split(['/', '?', '#']).filter(|it| !it.is_empty());
        return match (parts.next(), parts.next()) {
            // A region before a locator, as the web interface has it for old accounts.
            (Some(region), Some(locator)) if region.contains(['-', '.']) => {
                Ok((format!("{locator}.{region}"), DOMAINS[0]))
            }
            (Some(organization), Some(account)) => Ok((format!("{organization}-{account}"), DOMAINS[0])),
            _ => Err("this address of the web interface has no account in it"),
        };
    }
    for domain in DOMAINS {
        if let Some(identifier) = host.strip_suffix(domain) {
            return Ok((identifier.to_owned(), domain));
        }
    }
    // A slash at the end is nothing; anything else was an address of something else.
    if host.len() + 1 < text.len() {
        return Err("this address is not one of Snowflake; another host goes into SNOWFLAKE_BASE_URL");
    }
    Ok((host.to_owned(), DOMAINS[0]))
}

fn by_locator(locator: &str, region: &str) -> Result<(String, String), &'static str> {
    if locator.contains(['-', '_']) {
        return Err("a region follows only a locator such as xy12345, not an organization's account");
    }
    Ok((format!("{locator}.{region}"), locator.to_owned()))
}

/// What may stand between dots, and be a label of a host.
fn is_part(text: &str) -> bool {
    let outer = |it: Option<&u8>| it.is_some_and(u8::is_ascii_alphanumeric);
    let bytes = text.as_bytes();
    let inner = |it: &u8| it.is_ascii_alphanumeric() || matches!(it, b'-' | b'_');
    bytes.len() <= 63 && bytes.iter().all(inner) && outer(bytes.first()) && outer(bytes.last())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(text: &str) -> Option<(String, String)> {
        let account: AccountIdentifier = text.parse().ok()?;
        Some((account.base_url.host_str()?.to_owned(), account.name))
    }

    #[test]
    fn every_form_in_which_people_have_an_account_is_read() {
        for (text, host, name) in [
            ("myorg-acct", "myorg-acct.snowflakecomputing.com", "MYORG-ACCT"),
            ("  MyOrg-Acct_1 ", "myorg-acct-1.snowflakecomputing.com", "MYORG-ACCT_1"),
            ("myorg.acct_1", "myorg-acct-1.snowflakecomputing.com", "MYORG-ACCT_1"),
            ("xy12345", "xy12345.snowflakecomputing.com", "XY12345"),
            ("xy12345.eu-central-1", "xy12345.eu-central-1.snowflakecomputing.com", "XY12345"),
            ("XY12345.us-east-2.aws", "xy12345.us-east-2.aws.snowflakecomputing.com", "XY12345"),
            ("myorg-acct.privatelink", "myorg-acct.privatelink.snowflakecomputing.com", "MYORG-ACCT"),
            (
                "xy12345.west-europe.azure.privatelink.snowflakecomputing.com",
                "xy12345.west-europe.azure.privatelink.snowflakecomputing.com",
                "XY12345",
            ),
            (
                "https://myorg-acct.snowflakecomputing.com:443/x?y",
                "myorg-acct.snowflakecomputing.com",
                "MYORG-ACCT",
            ),
            ("myorg-acct.snowflakecomputing.com/", "myorg-acct.snowflakecomputing.com", "MYORG-ACCT"),
            (
                "https://app.snowflake.com/myorg/acct/#/homepage",
                "myorg-acct.snowflakecomputing.com",
                "MYORG-ACCT",
            ),
            (
                "app.snowflake.com/us-east-2.aws/xy12345",
                "xy12345.us-east-2.aws.snowflakecomputing.com",
                "XY12345",
            ),
            (
                "xy12345.cn-northwest-1.aws.snowflakecomputing.cn",
                "xy12345.cn-northwest-1.aws.snowflakecomputing.cn",
                "XY12345",
            ),
        ] {
            assert_eq!(read(text), Some((host.to_owned(), name.to_owned())), "{text}");
        }
    }

    #[test]
    fn what_identifies_no_account_is_refused_with_a_sentence() {
        for (text, word) in [
            ("", "letters"),
            ("my org", "letters"),
            ("-acct", "letters"),
            ("example.com", "something else"),
            ("https://example.com/login", "SNOWFLAKE_BASE_URL"),
            ("http://127.0.0.1:8085", "SNOWFLAKE_BASE_URL"),
            ("myorg-acct.eu-central-1", "locator"),
            ("xy12345.eu-central-1.moon", "neither"),
            ("https://app.snowflake.com/", "no account in it"),
            ("user@myorg-acct.snowflakecomputing.com", "letters"),
        ] {
            let error = text.parse::<AccountIdentifier>().unwrap_err().to_string();
            assert!(error.contains(word), "{text}: {error}");
        }
    }

    proptest! {
        #[test]
        fn all_forms_of_one_account_are_the_same_account(
            organization in "[A-Za-z][A-Za-z0-9]{0,20}",
            account in "[A-Za-z][A-Za-z0-9_]{0,20}[A-Za-z0-9]",
            path in "[a-z0-9/#?=]{0,12}",
        ) {
            prop_assume!(!["com", "cn", "net"].contains(&account.to_lowercase().as_str()));
            let expected: AccountIdentifier = format!("{organization}-{account}").parse().unwrap();
            prop_assert_eq!(expected.name(), format!("{organization}-{account}").to_uppercase());
            for text in [
                format!("{organization}.{account}"),
                format!(" {organization}-{account}\n").to_uppercase(),
                format!("{organization}-{account}.snowflakecomputing.com"),
                format!("https://{organization}-{account}.snowflakecomputing.com/{path}"),
                format!("HTTPS://app.snowflake.com/{organization}/{account}/{path}"),
            ] {
                prop_assert_eq!(&text.parse::<AccountIdentifier>().unwrap(), &expected, "{}", text);
            }
        }

        #[test]
        fn whatever_is_pasted_the_token_goes_to_snowflake_or_nowhere(
            text in "(https?://)?[a-zA-Z0-9@:._%/#?\\-\\\\ü ]{0,40}(\\.snowflakecomputing\\.com)?[/@:?#.a-z]{0,12}",
        ) {
            if let Ok(account) = text.parse::<AccountIdentifier>() {
                let url = account.base_url();
                let host = url.host_str().unwrap();
                prop_assert!(DOMAINS.iter().any(|it| host.ends_with(it)), "{}", url);
                prop_assert_eq!((url.scheme(), url.path(), url.username(), url.port()), ("https", "/", "", None));
                let allowed = |it: char| it.is_ascii_uppercase() || it.is_ascii_digit() || "_-".contains(it);
                prop_assert!(account.name().chars().all(allowed));
            }
        }
    }
}
