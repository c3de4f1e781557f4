//! How one setting is read: absent, right, or a problem that is told with all the others.

use std::fmt::Display;
use std::str::FromStr;
use url::Url;

/// Settings that are secrets, each of which may be in a file instead, as orchestrators mount them.
const SECRETS: [&str; 8] = [
    "R2_ACCESS_KEY_ID",
    "R2_SECRET_ACCESS_KEY",
    "ANTHROPIC_API_KEY",
    "SNOWFLAKE_TOKEN",
    "SNOWFLAKE_OAUTH_TOKEN",
    "SNOWFLAKE_PRIVATE_KEY_BASE64",
    "SNOWFLAKE_PRIVATE_KEY_PASSPHRASE",
    "MODERATION_TOKEN",
];

/// The setting that names the file of a secret.
fn file_of(secret: &str) -> String {
    format!("{secret}_FILE")
}

/// Reads settings and gathers what is wrong with them.
pub(super) struct Reader<'a> {
    pub(super) lookup: &'a dyn Fn(&str) -> Option<String>,
    pub(super) problems: Vec<String>,
}

impl Reader<'_> {
    /// The value of a setting; of a secret also what is in the file that `NAME_FILE` names.
    pub(super) fn text(&self, name: &str) -> Option<String> {
        let told = self.told(name);
        if told.is_some() || !SECRETS.contains(&name) {
            return told;
        }
        let path = self.told(&file_of(name))?;
        std::fs::read_to_string(path).ok().map(|it| it.trim().to_owned()).filter(|it| !it.is_empty())
    }

    /// Finds out what is wrong with the files that secrets are read from.
    pub(super) fn check_secret_files(&mut self) {
        for name in SECRETS {
            let file = file_of(name);
            let Some(path) = self.told(&file) else { continue };
            if self.told(name).is_some() {
                self.problem(format!("{name} and {file} are both set: only one of them may say what it is"));
            }
            match std::fs::read_to_string(&path) {
                Ok(secret) if secret.trim().is_empty() => self.problem(format!("{file}={path} is empty")),
                Ok(_) => {}
                Err(error) => self.problem(format!("{file}={path} cannot be read: {error}")),
            }
        }
    }

    fn told(&self, name: &str) -> Option<String> {
        (self.lookup)(name).map(|it| it.trim().to_owned()).filter(|it| !it.is_empty())
    }

    pub(super) fn is_set(&self, name: &str) -> bool {
        self.text(name).is_some()
    }

    pub(super) fn flag(&mut self, name: &str) -> bool {
        match self.text(name).map(|it| it.to_lowercase()).as_deref() {
            None | Some("false" | "0" | "no") => false,
            Some("true" | "1" | "yes") => true,
            Some(_) => {
                self.problem(format!("{name} is true or false"));
                false
            }
        }
    }

    pub(super) fn parsed<T: FromStr>(&mut self, name: &str, shape: &str) -> Option<T> {
        let text = self.text(name)?;
        let value = text.parse().ok();
        if value.is_none() {
            self.problem(format!("{name} must be {shape}"));
        }
        value
    }

    pub(super) fn number<T: FromStr + PartialOrd + Display + Copy>(
        &mut self,
        name: &str,
        default: T,
        range: std::ops::RangeInclusive<T>,
    ) -> T {
        let shape = format!("a whole number from {} to {}", range.start(), range.end());
        let Some(value) = self.parsed(name, &shape) else { return default };
        if range.contains(&value) {
            return value;
        }
        self.problem(format!("{name} must be {shape}"));
        default
    }

    /// A decimal as a whole number of the parts that `digits` digits after the point count; `range` is in them, too.
    pub(super) fn decimal(
        &mut self,
        name: &str,
        of: &str,
        range: std::ops::RangeInclusive<u64>,
        digits: Digits,
    ) -> Option<u64> {
        let text = self.text(name)?;
        let value = digits.parse(&text).filter(|it| range.contains(it));
        if value.is_none() {
            let (low, high) = (digits.write(*range.start()), digits.write(*range.end()));
            let Digits(digits) = digits;
            self.problem(format!(
                "{name} must be {of} from {low} to {high}, with {digits} digits after the point at most"
            ));
        }
        value
    }

    pub(super) fn missing<T>(&mut self, name: &str, what: &str, or: &str) -> Option<T> {
        self.problem(format!("{name} is not set: it is {what}; {or}"));
        None
    }

    pub(super) fn problem(&mut self, problem: String) {
        self.problems.push(problem);
    }
}

/// How many digits after the point a decimal may have.
#[derive(Debug, Clone, Copy)]
pub(super) struct Digits(usize);

/// Thousandths.
pub(super) const MILLI: Digits = Digits(3);
/// Millionths.
pub(super) const MICRO: Digits = Digits(6);

impl Digits {
    /// The number of parts, when the text is a plain decimal: no sign, no exponent.
    fn parse(self, text: &str) -> Option<u64> {
        let (whole, decimals) = text.split_once('.').unwrap_or((text, "0"));
        let is_number = |it: &str| !it.is_empty() && it.bytes().all(|it| it.is_ascii_digit());
        if !is_number(whole) || !is_number(decimals) || self.0 < decimals.len() {
            return None;
        }
        format!("{whole}{decimals:0<width$}", width = self.0).parse().ok()
    }

    /// The decimal of a number of parts, without zeros at its end.
    fn write(self, parts: u64) -> String {
        let digits = format!("{parts:0>width$}", width = self.0 + 1);
        let (whole, decimals) = digits.split_at(digits.len() - self.0);
        format!("{whole}.{decimals}").trim_end_matches('0').trim_end_matches('.').to_owned()
    }
}

/// Whether what is sent to this URL cannot be read on its way.
pub(super) fn is_private(url: &Url) -> bool {
    url.scheme() == "https" || is_loopback(url)
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(url::Host::Ipv4(ip)) => ip.is_loopback(),
        Some(url::Host::Ipv6(ip)) => ip.is_loopback(),
        Some(url::Host::Domain(name)) => name == "localhost",
        None => false,
    }
}
