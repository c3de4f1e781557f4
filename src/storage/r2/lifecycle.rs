//! Rules by which the bucket itself removes what is too old: the backstop for what the service leaves behind.

use super::R2StorageClient;
use super::error::failure;
use crate::storage::FramePath;
use crate::upstream::{Service, UpstreamError, UpstreamErrorKind};
use aws_sdk_s3::error::{BuildError, ProvideErrorMetadata};
use aws_sdk_s3::types::{
    AbortIncompleteMultipartUpload, BucketLifecycleConfiguration, ExpirationStatus, LifecycleExpiration,
    LifecycleRule, LifecycleRuleFilter,
};
use std::fmt;

/// The name of the rule for frames.
const FRAMES_RULE: &str = "swimcoach-frames";
/// The name of the rule for what is pending.
const PENDING_RULE: &str = "swimcoach-pending";
/// For how many days after they should be gone frames are left to the sweep.
const GRACE_DAYS: i32 = 7;
/// After how many days something pending is removed, the shortest time that there is.
const PENDING_DAYS: i32 = 1;

/// The rules of a bucket. Those that are not ours are kept as they are.
#[derive(Debug, Clone, PartialEq)]
pub struct Lifecycle {
    rules: Vec<LifecycleRule>,
}

impl Lifecycle {
    /// The same with our rules, where frames are kept for at most so many days.
    pub fn with_ours(&self, longest_retention_days: u16) -> Result<Self, UpstreamError> {
        let days = i32::from(longest_retention_days) + GRACE_DAYS;
        let ours = [
            rule(FRAMES_RULE, FramePath::ROOT, days).map_err(unmade)?,
            rule(PENDING_RULE, FramePath::PENDING_ROOT, PENDING_DAYS).map_err(unmade)?,
        ];
        let foreign = self.rules.iter().filter(|it| !is_ours(it)).cloned();
        Ok(Self { rules: foreign.chain(ours).collect() })
    }

    /// Whether both remove the same after the same time, however it is written.
    pub fn does_the_same_as(&self, other: &Self) -> bool {
        let lines = |it: &Self| {
            let mut lines: Vec<String> = it.rules.iter().map(in_words).collect();
            lines.sort_unstable();
            lines
        };
        lines(self) == lines(other)
    }
}

/// A line for each rule.
impl fmt::Display for Lifecycle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.rules.iter().try_for_each(|it| writeln!(f, "{}", in_words(it)))
    }
}

impl R2StorageClient {
    /// The rules of the bucket. The token must be one that may read the bucket's settings.
    pub async fn lifecycle(&self) -> Result<Lifecycle, UpstreamError> {
        const OPERATION: &str = "GetBucketLifecycleConfiguration";
        let get = async || {
            let sent = self.client.get_bucket_lifecycle_configuration().bucket(&self.bucket).send().await;
            match sent {
                Err(error) if error.code() == Some("NoSuchLifecycleConfiguration") => Ok(Vec::new()),
                sent => sent.map(|it| it.rules.unwrap_or_default()).map_err(|it| failure(OPERATION, &it)),
            }
        };
        let rules = self.call(OPERATION, self.ask(OPERATION, get)).await?;
        Ok(Lifecycle { rules })
    }

    /// Puts these rules in the place of all that the bucket has. The token must be one that may change the bucket's
    /// settings.
    pub async fn put_lifecycle(&self, lifecycle: &Lifecycle) -> Result<(), UpstreamError> {
        const OPERATION: &str = "PutBucketLifecycleConfiguration";
        let rules = Some(lifecycle.rules.clone());
        let configuration =
            BucketLifecycleConfiguration::builder().set_rules(rules).build().map_err(unmade)?;
        let put = async || {
            let request = self.client.put_bucket_lifecycle_configuration().bucket(&self.bucket);
            let sent = request.lifecycle_configuration(configuration.clone()).send().await;
            sent.map(|_put| ()).map_err(|it| failure(OPERATION, &it))
        };
        self.call(OPERATION, self.ask(OPERATION, put)).await
    }
}

/// A rule that removes what lies under a prefix after so many days. R2 wants each to have a name and a status.
fn rule(id: &str, prefix: &str, days: i32) -> Result<LifecycleRule, BuildError> {
    LifecycleRule::builder()
        .id(id)
        .status(ExpirationStatus::Enabled)
        .filter(LifecycleRuleFilter::builder().prefix(prefix).build())
        .expiration(LifecycleExpiration::builder().days(days).build())
        // We make none; one that somebody began under our prefixes is nobody's.
        .abort_incomplete_multipart_upload(
            AbortIncompleteMultipartUpload::builder().days_after_initiation(PENDING_DAYS).build(),
        )
        .build()
}

fn is_ours(rule: &LifecycleRule) -> bool {
    matches!(rule.id(), Some(FRAMES_RULE | PENDING_RULE))
}

fn in_words(rule: &LifecycleRule) -> String {
    let id = rule.id().unwrap_or("without a name");
    let filter = rule.filter().and_then(LifecycleRuleFilter::prefix);
    #[expect(deprecated, reason = "older rules have their prefix there")]
    let prefix = filter.or(rule.prefix()).unwrap_or_default();
    let what = if prefix.is_empty() { "everything".to_owned() } else { format!("what lies under {prefix}") };
    let state = if *rule.status() == ExpirationStatus::Enabled { "" } else { ", switched off" };
    let expiration = rule.expiration();
    let days = expiration.and_then(LifecycleExpiration::days).map(|it| format!("is removed after {it} days"));
    let date = expiration.and_then(LifecycleExpiration::date).map(|it| format!("is removed on {it}"));
    let multipart = rule
        .abort_incomplete_multipart_upload()
        .and_then(AbortIncompleteMultipartUpload::days_after_initiation);
    let multipart = multipart.map(|it| format!("unfinished multipart uploads end after {it} days"));
    let moves = rule.transitions().iter().map(|it| format!("changes its storage class: {it:?}"));
    let effects: Vec<String> = days.into_iter().chain(date).chain(multipart).chain(moves).collect();
    format!("{id}: {what}: {}{state}", effects.join("; "))
}

fn unmade(error: BuildError) -> UpstreamError {
    UpstreamError::new(Service::Storage, "lifecycle", UpstreamErrorKind::Rejected, error)
}
