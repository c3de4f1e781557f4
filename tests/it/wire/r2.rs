//! The R2 client against servers that misbehave, and what it sends.

#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use crate::support::dead_port::DeadPort;
use crate::support::eventually::eventually;
use crate::support::misbehaving::{Misbehaving, Received, Reply};
use crate::support::s3_server::S3Server;
use bytes::Bytes;
use futures_util::future::join_all;
use sha2::{Digest, Sha256};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use swimcoach::metrics::{Metrics, StorageMetrics};
use swimcoach::session::{FrameNumber, SessionId};
use swimcoach::storage::r2::{R2Limits, R2Settings, R2StorageClient};
use swimcoach::storage::{
    DeletedFrames, Download, ExpectedFrame, FrameMetadata, FramePath, NewFrame, Pending, StorageClient,
    StoredFrame,
};
use swimcoach::upstream::{RetryPolicy, UpstreamError, UpstreamErrorKind};
use tokio::sync::Semaphore;
use tokio_util::task::AbortOnDropHandle;
use url::Url;

const METADATA: FrameMetadata = FrameMetadata { width: 1280, height: 720 };

/// Tries quickly one after the other, and three times.
const RETRY: RetryPolicy = RetryPolicy {
    attempts: 3,
    base_delay: Duration::from_millis(1),
    max_delay: Duration::from_millis(5),
    deadline: Duration::from_secs(20),
};
/// Waits longer for an answer than any test takes.
const PATIENT: R2Limits = R2Limits {
    connect_timeout: Duration::from_secs(20),
    attempt_timeout: Duration::from_secs(20),
    call_timeout: Duration::from_mins(1),
    max_in_flight: 8,
    retry: RETRY,
};
/// Does not wait for an answer for long.
const IMPATIENT: R2Limits = R2Limits { attempt_timeout: Duration::from_millis(300), ..PATIENT };

fn client(server: &Misbehaving, limits: R2Limits) -> R2StorageClient {
    client_of(server.url(), limits)
}

fn client_of(endpoint: Url, limits: R2Limits) -> R2StorageClient {
    counted_client_of(endpoint, limits, StorageMetrics::default())
}

fn counted_client_of(endpoint: Url, limits: R2Limits, metrics: StorageMetrics) -> R2StorageClient {
    let settings = R2Settings {
        endpoint,
        bucket: "frames-test".to_owned(),
        access_key_id: "AKTEST".to_owned(),
        secret_access_key: "sktest".into(),
        limits,
    };
    R2StorageClient::connect(&settings, metrics)
}

/// The outcome of what must end long before a test is given up.
async fn in_time<T>(call: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(15), call).await.unwrap()
}

fn path(number: u32) -> FramePath {
    let session: SessionId = "0193a5b0-7c1e-7000-8000-000000000001".parse().unwrap();
    FramePath::new(session, FrameNumber::new(number).unwrap())
}

async fn upload(storage: &R2StorageClient) -> Result<String, UpstreamError> {
    let stored = storage.upload_frame(&path(1), Bytes::from_static(b"jpeg"), &METADATA).await;
    stored.map(|it| it.etag)
}

async fn upload_new(storage: &R2StorageClient) -> Result<NewFrame, UpstreamError> {
    storage.upload_new_frame(&path(1), Bytes::from_static(b"jpeg"), &METADATA).await
}

fn stored() -> Reply {
    Reply::answer(200, "").with("etag", "\"tag\"")
}

/// A frame that was stored with these bytes.
fn frame(jpeg: &str) -> StoredFrame {
    StoredFrame { path: path(1), size_bytes: jpeg.len() as u64, etag: "tag".to_owned() }
}

/// An object with the entity tag of [`frame`].
fn object(jpeg: &str) -> Reply {
    Reply::answer(200, jpeg).with("etag", "\"tag\"")
}

fn error(status: u16, code: &str) -> Reply {
    Reply::answer(status, format!("<Error><Code>{code}</Code><Message>no</Message></Error>"))
}

/// A page of objects of one byte.
fn page(keys: &[String], rest: &str) -> Reply {
    let object = |key: &String| {
        format!("<Contents><Key>{key}</Key><Size>1</Size><ETag>&quot;tag&quot;</ETag></Contents>")
    };
    let objects: String = keys.iter().map(object).collect();
    Reply::answer(200, format!("<ListBucketResult>{objects}{rest}</ListBucketResult>"))
}

/// A page of prefixes.
fn prefixes(prefixes: &[String], rest: &str) -> Reply {
    let prefix = |it: &String| format!("<CommonPrefixes><Prefix>{it}</Prefix></CommonPrefixes>");
    let prefixes: String = prefixes.iter().map(prefix).collect();
    Reply::answer(200, format!("<ListBucketResult>{prefixes}{rest}</ListBucketResult>"))
}

fn more(token: &str) -> String {
    format!("<IsTruncated>true</IsTruncated><NextContinuationToken>{token}</NextContinuationToken>")
}

fn deleted(result: &str) -> Reply {
    Reply::answer(200, format!("<DeleteResult>{result}</DeleteResult>"))
}

fn said_deleted(keys: &[String]) -> String {
    keys.iter().flat_map(|it| ["<Deleted><Key>", it, "</Key></Deleted>"]).collect()
}

fn keys(count: u32) -> Vec<String> {
    (1..=count).map(|it| path(it).to_string()).collect()
}

fn keys_in(request: &Received) -> Vec<String> {
    let body = String::from_utf8(request.body.clone()).unwrap();
    let keys = body.split("<Key>").skip(1).map(|it| it.split_once('<').unwrap().0.to_owned());
    keys.collect()
}

/// The methods of all requests, in order; `GET`s of listings and objects are told apart.
fn methods(server: &Misbehaving) -> Vec<&'static str> {
    let name = |it: Received| match it.method.as_str() {
        "GET" if it.target.contains("list-type") => "LIST",
        "GET" => "GET",
        "PUT" => "PUT",
        "POST" => "POST",
        "DELETE" => "DELETE",
        "HEAD" => "HEAD",
        other => panic!("{other} is no request that we make"),
    };
    server.received().into_iter().map(name).collect()
}

#[tokio::test]
async fn an_upload_is_signed_whole_and_sends_nothing_that_r2_does_not_take() {
    let server = Misbehaving::replying([stored()]).await;

    upload(&client(&server, PATIENT)).await.unwrap();

    let [request] = &server.received()[..] else { panic!("one request") };
    assert_eq!(request.method, "PUT");
    assert_eq!(request.target.split('?').next().unwrap(), format!("/frames-test/{}", path(1)));
    assert_eq!(request.body, b"jpeg");
    let header = |name: &str| request.headers.get(name).map_or("", String::as_str);
    assert_eq!(header("x-amz-content-sha256"), hex::encode(Sha256::digest(b"jpeg")));
    let authorization = header("authorization");
    assert!(authorization.contains("/auto/s3/aws4_request"), "{authorization}");
    for signed in ["content-type", "x-amz-content-sha256", "x-amz-meta-session-id", "x-amz-meta-width"] {
        assert!(authorization.contains(signed), "{signed} is not signed: {authorization}");
    }
    assert_eq!(header("content-type"), "image/jpeg");
    assert_eq!(header("content-length"), "4");
    assert_eq!(header("x-amz-meta-session-id"), path(1).session.to_string());
    assert_eq!(header("x-amz-meta-frame-number"), "1");
    assert_eq!((header("x-amz-meta-width"), header("x-amz-meta-height")), ("1280", "720"));
    for name in
        ["expect", "transfer-encoding", "content-encoding", "content-md5", "x-amz-trailer", "x-amz-acl"]
    {
        assert_eq!(header(name), "", "{name}");
    }
    let checksums: Vec<&String> = request.headers.keys().filter(|it| it.contains("checksum")).collect();
    assert!(checksums.is_empty(), "{checksums:?}");
}

#[tokio::test]
async fn a_new_frame_is_written_on_the_condition_that_there_is_none() {
    let server = Misbehaving::replying([stored()]).await;

    let answer = upload_new(&client(&server, PATIENT)).await.unwrap();

    assert_eq!(answer, NewFrame::Stored(frame("jpeg")));
    let [request] = &server.received()[..] else { panic!("one request") };
    assert_eq!(request.headers["if-none-match"], "*");
    assert!(request.headers["authorization"].contains("if-none-match"), "it is not signed");
}

#[tokio::test]
async fn a_frame_that_is_there_is_told_as_storage_knows_it() {
    let server = Misbehaving::replying([error(412, "PreconditionFailed"), object("other")]).await;

    let answer = upload_new(&client(&server, PATIENT)).await.unwrap();

    assert_eq!(answer, NewFrame::Exists(frame("other")));
    assert_eq!(methods(&server), ["PUT", "HEAD"]);
}

#[tokio::test]
async fn a_write_whose_answer_was_lost_is_found_by_the_next_try() {
    for lost in [Reply::Reset, error(500, "InternalError"), error(409, "ConditionalRequestConflict")] {
        let replies = [lost.clone(), Reply::answer(412, ""), error(503, "SlowDown"), object("jpeg")];
        let server = Misbehaving::replying(replies).await;

        let answer = upload_new(&client(&server, PATIENT)).await.unwrap();

        assert_eq!(answer, NewFrame::Exists(frame("jpeg")), "{lost:?}");
        assert_eq!(methods(&server), ["PUT", "PUT", "HEAD", "HEAD"], "{lost:?}");
    }
}

#[tokio::test]
async fn a_frame_that_was_there_and_is_gone_is_neither_stored_nor_there() {
    let replies = [412, 404, 404, 404].map(|status| Reply::answer(status, ""));
    let server = Misbehaving::replying(replies).await;

    let error = upload_new(&client(&server, PATIENT)).await.unwrap_err();

    assert_eq!((error.kind, error.operation), (UpstreamErrorKind::Unavailable, "HeadObject"));
}

#[tokio::test]
async fn something_pending_that_is_too_large_is_not_read() {
    let server = Misbehaving::start(|_, _| Reply::Drip(Duration::from_millis(20))).await;

    let read = in_time(client(&server, PATIENT).download_pending(&path(1), 999_999)).await.unwrap();

    assert_eq!(read, Pending::TooLarge(1_000_000));
}

#[tokio::test]
async fn part_of_something_pending_is_never_taken_for_all_of_it() {
    let server = Misbehaving::replying([Reply::CutShort(b"jpe".to_vec()), object("jpeg")]).await;

    let read = client(&server, PATIENT).download_pending(&path(1), 1000).await.unwrap();

    assert_eq!(read, Pending::Bytes(Bytes::from_static(b"jpeg")));
    let [first, second] = &server.received()[..] else { panic!("two requests") };
    assert!(first.target.starts_with(&format!("/frames-test/{}", path(1).pending_key())), "{}", first.target);
    assert_eq!(first.target, second.target);
}

#[tokio::test]
async fn pending_sessions_are_found_behind_pages_of_foreign_prefixes() {
    let foreign = ["pending/notes/".to_owned(), "pending/notes-too/".to_owned()];
    let mine = [format!("pending/{}/", path(1).session)];
    let replies = [prefixes(&foreign, &more("next")), prefixes(&mine, "")];
    let server = Misbehaving::replying(replies).await;

    let listed = client(&server, PATIENT).list_pending_sessions(None).await.unwrap();

    assert_eq!(listed, [path(1).session]);
    let [first, second] = &server.received()[..] else { panic!("two pages") };
    assert!(first.target.contains("prefix=pending%2F"), "{}", first.target);
    assert!(second.target.contains("continuation-token=next"), "{}", second.target);
}

#[tokio::test]
async fn a_download_asks_for_no_checksum() {
    let server = Misbehaving::replying([object("jpeg")]).await;

    let read = client(&server, PATIENT).download_frame(&frame("jpeg")).await.unwrap();

    assert_eq!(read, Download::Frame(Bytes::from_static(b"jpeg")));
    let headers = &server.received()[0].headers;
    assert!(!headers.keys().any(|it| it.contains("checksum")), "{headers:?}");
}

#[tokio::test]
async fn the_path_of_an_endpoint_is_kept_with_and_without_a_slash_at_its_end() {
    let server = Misbehaving::start(|_, _| object("jpeg")).await;
    for endpoint in ["some/path", "some/path/", ""] {
        let settings = R2Settings {
            endpoint: server.url().join(endpoint).unwrap(),
            bucket: "frames-test".to_owned(),
            access_key_id: "AKTEST".to_owned(),
            secret_access_key: "sktest".into(),
            limits: PATIENT,
        };
        R2StorageClient::connect(&settings, StorageMetrics::default())
            .download_frame(&frame("jpeg"))
            .await
            .unwrap();
    }

    let targets = server.received().into_iter().map(|it| it.target.split_once('?').unwrap().0.to_owned());
    let key = path(1);
    let expected = ["/some/path/", "/some/path/", "/"].map(|it| format!("{it}frames-test/{key}"));
    assert_eq!(targets.collect::<Vec<_>>(), expected);
}

#[tokio::test]
async fn what_passes_by_itself_is_tried_again() {
    for failure in [
        error(500, "InternalError"),
        error(502, "BadGateway"),
        error(503, "ServiceUnavailable"),
        error(503, "SlowDown"),
        error(429, "TooManyRequests"),
        error(499, "ClientDisconnect"),
        error(400, "IncompleteBody"),
        Reply::answer(502, "<html>bad gateway</html>"),
        Reply::Reset,
    ] {
        let server = Misbehaving::replying([failure.clone(), failure.clone(), stored()]).await;

        let etag = upload(&client(&server, PATIENT)).await.unwrap();

        assert_eq!(etag, "tag");
        let bodies: Vec<Vec<u8>> = server.received().into_iter().map(|it| it.body).collect();
        assert_eq!(bodies, [b"jpeg", b"jpeg", b"jpeg"], "{failure:?}");
    }
}

#[tokio::test]
async fn what_does_not_pass_is_given_up_after_the_last_try_and_says_so() {
    let unavailable = UpstreamErrorKind::Unavailable;
    let limited = UpstreamErrorKind::RateLimited { retry_after: None };
    for (failure, kind) in [
        (error(500, "InternalError"), unavailable),
        (error(503, "ServiceUnavailable"), unavailable),
        (error(503, "SlowDown"), limited),
        (error(429, "TooManyRequests"), limited),
        (Reply::Reset, unavailable),
    ] {
        let server = Misbehaving::replying(vec![failure.clone(); 3]).await;

        let error = upload(&client(&server, PATIENT)).await.unwrap_err();

        assert_eq!((error.kind, error.operation), (kind, "PutObject"), "{failure:?}");
        assert_eq!(server.received().len(), 3, "{failure:?}");
    }
}

#[tokio::test]
async fn what_would_be_refused_again_is_tried_once() {
    for (failure, kind) in [
        (error(401, "Unauthorized"), UpstreamErrorKind::Unauthorized),
        (error(403, "SignatureDoesNotMatch"), UpstreamErrorKind::Unauthorized),
        (error(404, "NoSuchBucket"), UpstreamErrorKind::NotFound),
        (error(400, "MetadataTooLarge"), UpstreamErrorKind::Rejected),
        (error(411, "MissingContentLength"), UpstreamErrorKind::Rejected),
        (error(501, "NotImplemented"), UpstreamErrorKind::Rejected),
        (Reply::answer(200, ""), UpstreamErrorKind::InvalidResponse), // no entity tag
    ] {
        let server = Misbehaving::replying([failure.clone()]).await;

        let error = upload(&client(&server, PATIENT)).await.unwrap_err();

        assert_eq!(error.kind, kind, "{failure:?}");
        assert_eq!(server.received().len(), 1, "{failure:?}");
    }
}

#[tokio::test]
async fn the_wait_that_the_server_asks_for_is_kept() {
    let failures = [error(429, "TooManyRequests"), error(503, "SlowDown"), error(503, "ServiceUnavailable")];
    let waits = failures.map(async |failure| {
        let server = Misbehaving::replying([failure.with("retry-after", "1"), stored()]).await;
        upload(&client(&server, PATIENT)).await.unwrap();
        let [first, second] = &server.received()[..] else { panic!("two requests") };
        second.at - first.at
    });

    for waited in join_all(waits).await {
        assert!(Duration::from_millis(990) <= waited, "only {waited:?}");
    }
}

#[tokio::test]
async fn a_wait_that_is_too_long_is_passed_on_and_not_begun() {
    let server = Misbehaving::replying([error(429, "TooManyRequests").with("retry-after", "3600")]).await;

    let error = in_time(upload(&client(&server, PATIENT))).await.unwrap_err();

    let kind = UpstreamErrorKind::RateLimited { retry_after: Some(Duration::from_hours(1)) };
    assert_eq!(error.kind, kind);
}

#[tokio::test]
async fn a_connection_that_breaks_before_anything_is_read_is_made_again() {
    let server = Misbehaving::replying([stored()]).await;
    server.reset_next_connections(2);

    upload(&client(&server, PATIENT)).await.unwrap();

    assert_eq!(server.resets_left(), 0);
    assert_eq!(server.received().len(), 1);
}

#[tokio::test]
async fn nobody_listening_is_unavailable() {
    let dead = DeadPort::take();
    let endpoint = format!("http://{}", dead.address()).parse().unwrap();

    let error = client_of(endpoint, PATIENT).check().await.unwrap_err();

    assert_eq!(error.kind, UpstreamErrorKind::Unavailable);
}

#[tokio::test]
async fn a_body_that_breaks_off_is_fetched_again() {
    let server = Misbehaving::replying([Reply::CutShort(b"jpe".to_vec()), object("jpeg")]).await;

    let read = client(&server, PATIENT).download_frame(&frame("jpeg")).await.unwrap();

    assert_eq!(read, Download::Frame(Bytes::from_static(b"jpeg")));
    assert_eq!(server.received().len(), 2);
}

#[tokio::test]
async fn part_of_a_frame_is_never_taken_for_the_frame() {
    let server = Misbehaving::start(|_, _| Reply::CutShort(b"jpe".to_vec())).await;

    let error = client(&server, PATIENT).download_frame(&frame("jpeg")).await.unwrap_err();

    assert_eq!(error.kind, UpstreamErrorKind::Unavailable);
    assert_eq!(server.received().len(), 3);
}

#[tokio::test]
async fn a_body_that_drips_without_end_is_given_up() {
    let server = Misbehaving::start(|_, _| Reply::Drip(Duration::from_millis(20))).await;
    let storage = client(&server, IMPATIENT);

    let large = StoredFrame { size_bytes: 1_000_000, ..frame("") };
    let error = in_time(storage.download_frame(&large)).await.unwrap_err();

    assert_eq!((error.kind, error.operation), (UpstreamErrorKind::Timeout, "GetObject"));
    assert_eq!(server.received().len(), 3);
}

#[tokio::test]
async fn something_larger_under_the_key_of_a_frame_is_not_read() {
    let server = Misbehaving::start(|_, _| Reply::Drip(Duration::from_millis(20))).await;

    let read = in_time(client(&server, PATIENT).download_frame(&frame("jpeg"))).await.unwrap();

    assert_eq!(read, Download::Changed);
}

#[tokio::test]
async fn an_object_without_an_entity_tag_cannot_be_told_from_another() {
    let server = Misbehaving::replying([Reply::answer(200, "jpeg")]).await;

    let error = client(&server, PATIENT).download_frame(&frame("jpeg")).await.unwrap_err();

    assert_eq!(error.kind, UpstreamErrorKind::InvalidResponse);
}

#[tokio::test]
async fn a_server_that_never_answers_is_given_up_whatever_it_is_asked() {
    let server = Misbehaving::start(|_, _| Reply::Silence).await;
    let storage = client(&server, IMPATIENT);
    let (frame, path) = (frame("jpeg"), path(1));
    let session = path.session;

    let (put, put_new, pending, get, list, sessions, delete, head) = tokio::join!(
        in_time(upload(&storage)),
        in_time(upload_new(&storage)),
        in_time(storage.download_pending(&path, 1000)),
        in_time(storage.download_frame(&frame)),
        in_time(storage.list_frames(session)),
        in_time(storage.list_sessions(None)),
        in_time(storage.delete_frames(session)),
        in_time(storage.check()),
    );

    let kinds = [
        put.unwrap_err().kind,
        put_new.unwrap_err().kind,
        pending.unwrap_err().kind,
        get.unwrap_err().kind,
        list.unwrap_err().kind,
        sessions.unwrap_err().kind,
        delete.unwrap_err().kind,
        head.unwrap_err().kind,
    ];
    assert_eq!(kinds, [UpstreamErrorKind::Timeout; 8]);
    assert_eq!(methods(&server).len(), 3 * 8);
}

#[tokio::test]
async fn calls_that_wait_for_a_place_end_in_time_too() {
    let server = Misbehaving::start(|_, _| Reply::Silence).await;
    let call_timeout = Duration::from_millis(300);
    let storage = client(&server, R2Limits { max_in_flight: 1, call_timeout, ..PATIENT });

    let results = in_time(join_all((0..20).map(|_| upload(&storage)))).await;

    for result in results {
        assert_eq!(result.unwrap_err().kind, UpstreamErrorKind::Timeout);
    }
}

#[tokio::test]
async fn no_more_requests_are_under_way_than_there_are_places() {
    let may_answer = Arc::new(Semaphore::new(0));
    let held = Reply::Held(Arc::clone(&may_answer), Box::new(stored()));
    let server = Misbehaving::start(move |_, _| held.clone()).await;
    let storage = client(&server, R2Limits { max_in_flight: 4, ..PATIENT });
    let answer_one_by_one = async {
        for n_answered in 0..20 {
            let expected = 20.min(n_answered + 4);
            let have_come = async || (expected <= server.received().len()).then_some(());
            eventually("all places are taken", have_come).await;
            may_answer.add_permits(1);
        }
    };

    let (stored, ()) = tokio::join!(join_all((0..20).map(|_| upload(&storage))), answer_one_by_one);

    assert!(stored.iter().all(Result::is_ok), "{stored:?}");
    assert_eq!(server.most_unanswered(), 4);
}

#[tokio::test]
async fn a_check_does_not_wait_behind_uploads() {
    let server = Misbehaving::start(|_, request| match request.method.as_str() {
        "HEAD" => Reply::answer(200, ""),
        _ => Reply::Silence,
    });
    let server = server.await;
    let storage = Arc::new(client(&server, R2Limits { max_in_flight: 1, ..PATIENT }));
    let busy = Arc::clone(&storage);
    let _uploads = AbortOnDropHandle::new(tokio::spawn(async move { upload(&busy).await }));
    eventually("the place is taken", async || methods(&server).contains(&"PUT").then_some(())).await;

    in_time(storage.check()).await.unwrap();

    assert_eq!(methods(&server), ["PUT", "HEAD"]);
}

#[tokio::test]
async fn a_listing_without_end_is_given_up() {
    let server = Misbehaving::start(|number, _| page(&keys(1), &more(&format!("page-{number}")))).await;
    let storage = client(&server, R2Limits { call_timeout: Duration::from_millis(300), ..PATIENT });

    let error = in_time(storage.list_frames(path(1).session)).await.unwrap_err();

    assert_eq!(error.kind, UpstreamErrorKind::Timeout);
    assert!(1 < server.received().len());
}

#[tokio::test]
async fn a_listing_that_cannot_be_right_is_an_error_and_nothing_is_deleted() {
    let truncated = "<IsTruncated>true</IsTruncated>";
    let object = |inside: &str| {
        Reply::answer(200, format!("<ListBucketResult><Contents>{inside}</Contents></ListBucketResult>"))
    };
    for (what, replies) in [
        ("truncated without a token", vec![page(&keys(1), truncated)]),
        ("a page that leads to itself", vec![page(&keys(1), &more("a")), page(&keys(1), &more("a"))]),
        ("no key", vec![object("<Size>1</Size>")]),
        ("no size", vec![object(&format!("<Key>{}</Key>", path(1)))]),
        ("a negative size", vec![object(&format!("<Key>{}</Key><Size>-1</Size>", path(1)))]),
        ("a web page", vec![Reply::answer(200, "<html><body>Welcome to the hotel's network")]),
    ] {
        let count = replies.len();
        let server = Misbehaving::replying([replies.clone(), replies].concat()).await;
        let storage = client(&server, PATIENT);

        let listed = storage.list_frames(path(1).session).await.unwrap_err();
        let deleted = storage.delete_frames(path(1).session).await.unwrap_err();

        assert_eq!(listed.kind, UpstreamErrorKind::InvalidResponse, "{what}");
        assert_eq!(deleted.kind, UpstreamErrorKind::InvalidResponse, "{what}");
        assert_eq!(methods(&server), vec!["LIST"; 2 * count], "{what}");
    }
}

#[tokio::test]
async fn a_listed_frame_without_an_entity_tag_is_an_error() {
    let object = format!("<Contents><Key>{}</Key><Size>1</Size></Contents>", path(1));
    let server = Misbehaving::replying([page(&[], &object)]).await;

    let error = client(&server, PATIENT).list_frames(path(1).session).await.unwrap_err();

    assert_eq!(error.kind, UpstreamErrorKind::InvalidResponse);
}

#[tokio::test]
async fn a_listing_that_breaks_off_is_asked_for_again() {
    let cut = Reply::CutShort(b"<ListBucketResult><Contents>".to_vec());
    let server = Misbehaving::replying([cut, page(&keys(3), "")]).await;

    let frames = client(&server, PATIENT).list_frames(path(1).session).await.unwrap();

    assert_eq!(frames.len(), 3);
}

#[tokio::test]
async fn pages_are_followed_by_their_tokens() {
    let [first, second] = [keys(2), keys(3)[2..].to_vec()];
    let server = Misbehaving::replying([page(&first, &more("a b+c")), page(&second, "")]).await;

    let frames = client(&server, PATIENT).list_frames(path(1).session).await.unwrap();

    assert_eq!(frames.len(), 3);
    let targets: Vec<String> = server.received().into_iter().map(|it| it.target).collect();
    let prefix = format!("prefix=frames%2F{}%2F", path(1).session);
    assert!(targets.iter().all(|it| it.contains(&prefix)), "{targets:?}");
    assert!(!targets[0].contains("continuation-token"), "{targets:?}");
    assert!(targets[1].contains("continuation-token=a%20b%2Bc"), "{targets:?}");
}

#[tokio::test]
async fn sessions_behind_a_page_of_foreign_prefixes_are_found_by_the_token() {
    let [after, session] = [SessionId::new(), SessionId::new()];
    let foreign = prefixes(&["frames/what/".to_owned(), "frames/ever/".to_owned()], &more("opaque"));
    let found = prefixes(&[FramePath::prefix(session)], "");
    let server = Misbehaving::replying([foreign, found]).await;

    let sessions = client(&server, PATIENT).list_sessions(Some(after)).await.unwrap();

    assert_eq!(sessions, [session]);
    let [first, second] = &server.received()[..] else { panic!("two requests") };
    assert!(first.target.contains(&format!("start-after=frames%2F{after}")), "{}", first.target);
    assert!(second.target.contains("continuation-token=opaque"), "{}", second.target);
    assert!(!second.target.contains("start-after"), "{}", second.target);
    assert!(second.target.contains("delimiter=%2F"), "{}", second.target);
}

#[tokio::test]
async fn sessions_are_greater_than_the_given_one_whatever_the_server_says() {
    let [first, second, third] = [SessionId::new(), SessionId::new(), SessionId::new()];
    let all = [first, second, third].map(FramePath::prefix);
    let server = Misbehaving::replying([prefixes(&all, "")]).await;

    let sessions = client(&server, PATIENT).list_sessions(Some(second)).await.unwrap();

    assert_eq!(sessions, [third]);
}

#[tokio::test]
async fn a_deletion_names_at_most_a_thousand_keys_at_a_time() {
    let all = keys(2500);
    let mut pages = all.chunks(1000).enumerate().map(|(number, keys)| match number {
        2 => page(keys, ""),
        _ => page(keys, &more(&format!("page-{number}"))),
    });
    let pages = [pages.next().unwrap(), pages.next().unwrap(), pages.next().unwrap()];
    let server = Misbehaving::start(move |number, request| match number {
        0..3 => pages[number].clone(),
        _ => deleted(&said_deleted(&keys_in(request))),
    });
    let server = server.await;

    let counted = client(&server, PATIENT).delete_frames(path(1).session).await.unwrap();

    assert_eq!(counted, DeletedFrames { frames: 2500, bytes: 2500 });
    let batches: Vec<Vec<String>> = server.received()[3..].iter().map(keys_in).collect();
    assert_eq!(batches.iter().map(Vec::len).collect::<Vec<_>>(), [1000, 1000, 500]);
    assert_eq!(batches.concat(), all);
}

#[tokio::test]
async fn a_key_that_a_batch_did_not_delete_is_deleted_by_itself() {
    let key = path(2);
    for (what, said) in [
        ("an error", format!("<Error><Key>{key}</Key><Code>InternalError</Code></Error>")),
        ("an error that names no key", "<Error><Code>InternalError</Code></Error>".to_owned()),
        ("no word about it", String::new()),
    ] {
        let batch = deleted(&(said_deleted(&keys(1)) + &said));
        let server = Misbehaving::replying([page(&keys(2), ""), batch, Reply::answer(204, "")]).await;

        let counted = client(&server, PATIENT).delete_frames(key.session).await.unwrap();

        assert_eq!(counted, DeletedFrames { frames: 2, bytes: 2 }, "{what}");
        assert_eq!(methods(&server), ["LIST", "POST", "DELETE"], "{what}");
        assert!(server.received()[2].target.starts_with(&format!("/frames-test/{key}")), "{what}");
    }
}

#[tokio::test]
async fn a_deletion_that_left_something_is_an_error() {
    let batch = deleted(&(said_deleted(&keys(1)) + "<Error><Code>AccessDenied</Code></Error>"));
    let server = Misbehaving::replying([page(&keys(2), ""), batch, error(403, "AccessDenied")]).await;

    let error = client(&server, PATIENT).delete_frames(path(1).session).await.unwrap_err();

    assert_eq!((error.kind, error.operation), (UpstreamErrorKind::Unauthorized, "DeleteObject"));
}

#[tokio::test]
async fn an_error_instead_of_a_result_inside_a_200_is_no_success() {
    let broken = Reply::answer(200, "<Error><Code>InternalError</Code><Message>no</Message></Error>");
    let whole = deleted(&said_deleted(&keys(2)));
    let server = Misbehaving::replying([page(&keys(2), ""), broken, whole]).await;

    let counted = client(&server, PATIENT).delete_frames(path(1).session).await.unwrap();

    assert_eq!(counted.frames, 2);
    assert_eq!(methods(&server), ["LIST", "POST", "POST"]);
}

#[tokio::test]
async fn a_server_that_deletes_no_batches_is_asked_key_by_key() {
    let refused = error(501, "NotImplemented");
    let (gone, gone_already) = (Reply::answer(204, ""), error(404, "NoSuchKey"));
    let server = Misbehaving::replying([page(&keys(2), ""), refused, gone, gone_already]).await;

    let counted = client(&server, PATIENT).delete_frames(path(1).session).await.unwrap();

    assert_eq!(counted, DeletedFrames { frames: 2, bytes: 2 });
    assert_eq!(methods(&server), ["LIST", "POST", "DELETE", "DELETE"]);
}

#[tokio::test]
async fn only_a_missing_key_is_an_absent_frame() {
    let [key, bucket, proxy] =
        [error(404, "NoSuchKey"), error(404, "NoSuchBucket"), Reply::answer(404, "gone")];
    let server = Misbehaving::replying([key, bucket, proxy]).await;
    let storage = client(&server, PATIENT);

    assert_eq!(storage.download_frame(&frame("jpeg")).await.unwrap(), Download::Missing);
    for _ in 0..2 {
        let error = storage.download_frame(&frame("jpeg")).await.unwrap_err();
        assert_eq!(error.kind, UpstreamErrorKind::NotFound);
    }
}

#[tokio::test]
async fn a_check_tells_a_missing_bucket_from_wrong_credentials() {
    let server = Misbehaving::replying([401, 403, 404].map(|status| Reply::answer(status, ""))).await;
    let storage = client(&server, PATIENT);

    for kind in
        [UpstreamErrorKind::Unauthorized, UpstreamErrorKind::Unauthorized, UpstreamErrorKind::NotFound]
    {
        assert_eq!(storage.check().await.unwrap_err().kind, kind);
    }
    assert_eq!(methods(&server), ["HEAD", "HEAD", "HEAD"]);
}

#[tokio::test]
async fn a_wrong_key_and_a_wrong_secret_are_refused_by_a_real_server() {
    let server = S3Server::start().await;
    let right = server.settings();
    for wrong in [
        R2Settings { access_key_id: "AKOTHER".to_owned(), ..right.clone() },
        R2Settings { secret_access_key: "another".into(), ..right.clone() },
    ] {
        let storage = R2StorageClient::connect(&wrong, StorageMetrics::default());

        assert_eq!(upload(&storage).await.unwrap_err().kind, UpstreamErrorKind::Unauthorized);
        let listed = storage.list_frames(path(1).session).await;
        assert_eq!(listed.unwrap_err().kind, UpstreamErrorKind::Unauthorized);
    }
    assert_eq!(
        R2StorageClient::connect(&right, StorageMetrics::default())
            .list_frames(path(1).session)
            .await
            .unwrap(),
        []
    );
}

#[tokio::test]
async fn an_error_names_what_support_asks_for_and_nothing_that_was_signed() {
    let echo = "<Error><Code>SignatureDoesNotMatch</Code><Message>AKTEST x-amz-date</Message>\
                <CanonicalRequest>PUT /frames-test</CanonicalRequest></Error>";
    let server = Misbehaving::replying([Reply::answer(403, echo).with("cf-ray", "8f00ba4-TXL")]).await;

    let error = upload(&client(&server, PATIENT)).await.unwrap_err();

    assert_eq!(error.source.to_string(), "status 403 SignatureDoesNotMatch, request id 8f00ba4-TXL");
    let all = format!("{error:?} {error}");
    for signed in ["AKTEST", "x-amz-date", "CanonicalRequest", "frames/"] {
        assert!(!all.contains(signed), "{all}");
    }
}

#[tokio::test]
async fn every_try_of_a_request_is_counted_by_the_class_it_is_paid_as_and_nothing_that_others_send() {
    let listed = keys(1);
    let server = Misbehaving::replying([
        error(503, "SlowDown"),
        stored(),
        object("jpeg"),
        Reply::answer(200, ""),
        page(&listed, ""),
        deleted(""),
        Reply::answer(204, ""),
        error(412, "PreconditionFailed"),
        object("jpeg"),
    ])
    .await;
    let metrics = Metrics::default();
    let storage = counted_client_of(server.url(), PATIENT, metrics.storage());

    upload(&storage).await.unwrap();
    storage.download_frame(&frame("jpeg")).await.unwrap();
    storage.check().await.unwrap();
    storage.delete_frames(path(1).session).await.unwrap();
    upload_new(&storage).await.unwrap();
    storage.presigned_get(&path(1), Duration::from_mins(1)).await.unwrap();
    storage.presigned_put(&path(1), &ExpectedFrame { size_bytes: 4 }, Duration::from_mins(1)).await.unwrap();

    let text = metrics.text();
    let counted: BTreeSet<&str> =
        text.lines().filter_map(|it| it.strip_prefix("swimcoach_storage_operations_total")).collect();
    let expected = BTreeSet::from([
        "{class=\"A\",operation=\"PutObject\"} 3",
        "{class=\"A\",operation=\"ListObjectsV2\"} 1",
        "{class=\"B\",operation=\"GetObject\"} 1",
        "{class=\"B\",operation=\"HeadBucket\"} 1",
        "{class=\"B\",operation=\"HeadObject\"} 1",
        "{class=\"free\",operation=\"DeleteObject\"} 1",
        "{class=\"unpublished\",operation=\"DeleteObjects\"} 1",
    ]);
    assert_eq!(counted, expected);
}
