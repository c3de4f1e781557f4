//! How one setting is read: absent, right, or a problem that is told with all the others.

use std::fmt::Display;
use std::str::FromStr;
use url::Url;

/// Reads settings and gathers what is wrong with them.
pub(super) struct Reader<'a> {
    pub(super) lookup: &'a dyn Fn(&str) -> Option<String>,
    pub(super) problems: Vec<String>,
}

impl Reader<'_> {
    pub(super) fn text(&self, name: &str) -> Option<String> {
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

    pub(super) fn missing<T>(&mut self, name: &str, what: &str, or: &str) -> Option<T> {
        self.problem(format!("{name} is not set: it is {what}; {or}"));
        None
    }

    pub(super) fn problem(&mut self, problem: String) {
        self.problems.push(problem);
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
