//! Which pages of other origins may call the service.

use axum::http::HeaderValue;
use std::str::FromStr;
use url::Url;

/// An origin whose pages may call the service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AllowedOrigin {
    /// Exactly this origin, such as `https://coach.example`.
    Exact(String),
    /// A Cloudflare Pages project, such as `my-app.pages.dev`, with its previews one label below it.
    PagesProject(String),
}

impl AllowedOrigin {
    /// Whether a browser's `Origin` header is this one.
    pub fn allows(&self, origin: &HeaderValue) -> bool {
        let Ok(origin) = origin.to_str() else { return false };
        match self {
            Self::Exact(exact) => origin == exact,
            Self::PagesProject(project) => {
                let Some(host) = origin.strip_prefix("https://") else { return false };
                let preview = host.strip_suffix(project.as_str()).and_then(|it| it.strip_suffix('.'));
                host == project || preview.is_some_and(is_dns_label)
            }
        }
    }
}

impl FromStr for AllowedOrigin {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.contains('*') {
            let project = text.strip_prefix("https://*.");
            let project = project.filter(|it| it.strip_suffix(".pages.dev").is_some_and(is_dns_label));
            return project.map(|it| Self::PagesProject(it.to_owned())).ok_or_else(|| {
                format!(
                    "{text:?} is too wide: a pattern must name one Pages project, like https://*.my-app.pages.dev"
                )
            });
        }
        let exact =
            Url::parse(text).ok().filter(|it| it.has_host() && it.origin().ascii_serialization() == text);
        match exact {
            Some(_) => Ok(Self::Exact(text.to_owned())),
            None => {
                Err(format!("{text:?} is no origin: write scheme, host and port, like https://coach.example"))
            }
        }
    }
}

fn is_dns_label(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|it| it.is_ascii_lowercase() || it.is_ascii_digit() || it == b'-')
}
