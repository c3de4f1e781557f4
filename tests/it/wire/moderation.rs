//! What is sent to whoever moderates, and what becomes of answers good and bad.

#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use crate::support::dead_port::DeadPort;
use crate::support::misbehaving::{Misbehaving, Reply};
use bytes::Bytes;
use futures_util::future::join_all;
use std::sync::Arc;
use std::time::Duration;
use swimcoach::moderation::{Moderation, ModerationLimits, ModerationSettings, Verdict};
use swimcoach::session::{FrameNumber, SessionId};
use swimcoach::storage::FramePath;
use swimcoach::upstream::{RetryPolicy, UpstreamError, UpstreamErrorKind};
use tokio::sync::Semaphore;
use url::Url;

/// Tries quickly one after the other, and three times.
const RETRY: RetryPolicy = RetryPolicy {
    attempts: 3,
    base_delay: Duration::from_millis(1),
    max_delay: Duration::from_millis(5),
    deadline: Duration::from_secs(20),
};
const PATIENT: ModerationLimits = ModerationLimits {
    attempt_timeout: Duration::from_secs(20),
    call_timeout: Duration::from_mins(1),
    max_in_flight: 8,
    retry: RETRY,
};
const IMPATIENT: ModerationLimits =
    ModerationLimits { attempt_timeout: Duration::from_millis(200), ..PATIENT };

fn moderation(url: Url, limits: ModerationLimits) -> Moderation {
    let token = Some("moderation-secret".into());
    Moderation::connect(&ModerationSettings { url, token, limits }).unwrap()
}

fn path() -> FramePath {
    let session: SessionId = "0193a5b0-7c1e-7000-8000-000000000001".parse().unwrap();
    FramePath::new(session, FrameNumber::new(7).unwrap())
}

async fn judge(moderation: &Moderation) -> Result<Verdict, UpstreamError> {
    let (path, jpeg) = (path(), Bytes::from_static(b"jpeg"));
    let judged = moderation.judge(&path, &jpeg);
    // What must end long before a test is given up.
    tokio::time::timeout(Duration::from_secs(15), judged).await.unwrap()
}

fn allowed() -> Reply {
    Reply::answer(200, r#"{"allow":true}"#)
}

#[tokio::test]
async fn a_frame_is_posted_as_it_is_with_whose_it_is_and_who_we_are() {
    let server = Misbehaving::replying([allowed()]).await;
    let url = server.url().join("look/at?strict=1").unwrap();

    let verdict = judge(&moderation(url, PATIENT)).await.unwrap();

    assert_eq!(verdict, Verdict::Allowed);
    let [request] = &server.received()[..] else { panic!("one request") };
    assert_eq!((request.method.as_str(), request.target.as_str()), ("POST", "/look/at?strict=1"));
    assert_eq!(request.body, b"jpeg");
    assert_eq!(request.headers["content-type"], "image/jpeg");
    assert_eq!(request.headers["x-session-id"], path().session.to_string());
    assert_eq!(request.headers["x-frame-number"], "7");
    assert_eq!(request.headers["authorization"], "Bearer moderation-secret");
}

#[tokio::test]
async fn a_refusal_says_why_in_one_short_line_where_it_does() {
    let long = "x".repeat(300);
    for (reason, told) in [
        ("", None),
        (r#","reason":null"#, None),
        (r#","reason":"  ""#, None),
        (r#","reason":"a face\nof a child""#, Some("a face of a child".to_owned())),
        (&*format!(r#","reason":"{long}""#), Some("x".repeat(200))),
    ] {
        let server =
            Misbehaving::replying([Reply::answer(200, format!(r#"{{"allow":false{reason}}}"#))]).await;

        let verdict = judge(&moderation(server.url(), PATIENT)).await.unwrap();

        assert_eq!(verdict, Verdict::Refused(told), "{reason}");
    }
}

#[tokio::test]
async fn nothing_but_a_clear_answer_is_a_verdict() {
    let invalid = UpstreamErrorKind::InvalidResponse;
    for (reply, kind) in [
        (Reply::answer(200, ""), invalid),
        (Reply::answer(200, "{}"), invalid),
        (Reply::answer(200, "true"), invalid),
        (Reply::answer(200, r#"{"allow":"true"}"#), invalid),
        (Reply::answer(200, r#"{"allow":1}"#), invalid),
        (Reply::answer(200, "<html>fine</html>"), invalid),
        (Reply::answer(200, r#"{"allow":true} and more"#), invalid),
        (Reply::answer(201, r#"{"allow":true}"#), invalid),
        (Reply::answer(204, ""), invalid),
        (Reply::answer(400, r#"{"allow":true}"#), invalid),
        (Reply::answer(401, ""), UpstreamErrorKind::Unauthorized),
        (Reply::answer(403, ""), UpstreamErrorKind::Unauthorized),
        (Reply::answer(404, ""), UpstreamErrorKind::NotFound),
        (Reply::answer(200, format!(r#"{{"allow":true,"x":"{}"}}"#, "x".repeat(1 << 20))), invalid),
    ] {
        let server = Misbehaving::replying([reply.clone()]).await;

        let error = judge(&moderation(server.url(), PATIENT)).await.unwrap_err();

        assert_eq!(error.kind, kind);
        assert_eq!(server.received().len(), 1, "it is not asked again");
    }
}

#[tokio::test]
async fn what_passes_is_tried_again_and_given_up_in_the_end() {
    for failure in [Reply::answer(500, "no"), Reply::answer(429, ""), Reply::Reset] {
        let server = Misbehaving::replying([failure.clone(), failure.clone(), allowed()]).await;
        assert_eq!(judge(&moderation(server.url(), PATIENT)).await.unwrap(), Verdict::Allowed);

        let server = Misbehaving::replying(vec![failure; 3]).await;
        assert!(judge(&moderation(server.url(), PATIENT)).await.unwrap_err().kind.is_transient());
    }
}

#[tokio::test]
async fn neither_silence_nor_an_answer_without_end_is_waited_for() {
    for reply in [Reply::Silence, Reply::Drip(Duration::from_millis(20))] {
        let server = Misbehaving::start(move |_, _| reply.clone()).await;

        let error = judge(&moderation(server.url(), IMPATIENT)).await.unwrap_err();

        assert_eq!(error.kind, UpstreamErrorKind::Timeout);
    }
}

#[tokio::test]
async fn nobody_there_is_no_yes() {
    let dead = DeadPort::take();
    let url = format!("http://{}", dead.address()).parse().unwrap();

    let error = judge(&moderation(url, PATIENT)).await.unwrap_err();

    assert_eq!(error.kind, UpstreamErrorKind::Unavailable);
}

#[tokio::test]
async fn a_picture_goes_nowhere_else_than_the_operator_said() {
    let elsewhere = Misbehaving::replying([allowed()]).await;
    for status in [301, 302, 307, 308] {
        let redirect = Reply::answer(status, "").with("location", elsewhere.url().to_string());
        let server = Misbehaving::replying([redirect]).await;

        let error = judge(&moderation(server.url(), PATIENT)).await.unwrap_err();

        assert_eq!(error.kind, UpstreamErrorKind::InvalidResponse, "{status}");
    }
    assert_eq!(elsewhere.received().len(), 0);
}

#[tokio::test]
async fn no_more_frames_are_looked_at_at_one_time_than_there_are_places() {
    let may_answer = Arc::new(Semaphore::new(0));
    let held = Reply::Held(Arc::clone(&may_answer), Box::new(allowed()));
    let server = Misbehaving::start(move |_, _| held.clone()).await;
    let moderation = moderation(server.url(), ModerationLimits { max_in_flight: 3, ..PATIENT });
    may_answer.add_permits(12);

    let verdicts = join_all((0..12).map(|_| judge(&moderation))).await;

    assert!(verdicts.into_iter().all(|it| it.unwrap() == Verdict::Allowed));
    assert!(server.most_unanswered() <= 3, "{}", server.most_unanswered());
}

#[tokio::test]
async fn the_check_wants_a_verdict_on_a_picture_whichever() {
    let refusal = Reply::answer(200, r#"{"allow":false}"#);
    let server = Misbehaving::replying([refusal, Reply::answer(401, "")]).await;
    let moderation = moderation(server.url(), PATIENT);

    let well = moderation.check().await;
    let wrong_token = moderation.check().await;

    assert!(well.is_ok());
    assert_eq!(wrong_token.unwrap_err().kind, UpstreamErrorKind::Unauthorized);
    assert!(server.received()[0].body.starts_with(b"\xff\xd8\xff"));
}

#[tokio::test]
async fn neither_the_token_nor_the_picture_is_in_debug_output_or_errors() {
    let server = Misbehaving::replying([Reply::answer(500, "jpeg moderation-secret")]).await;
    let once = RetryPolicy { attempts: 1, ..RETRY };
    let moderation = moderation(server.url(), ModerationLimits { retry: once, ..PATIENT });

    let error = judge(&moderation).await.unwrap_err();

    let all = format!("{moderation:?} {error:?}");
    assert!(!all.contains("moderation-secret") && !all.contains("jpeg"), "{all}");
}
