//! Analyses: asked for once, told the truth about, counted.

use crate::support::app::TestApp;
use crate::support::faults::Fault;
use crate::support::form::Form;
use crate::support::pictures;
use crate::support::scripted_vision::{LOOK_USAGE, NOTES_USAGE};
use axum::body::Body;
use axum::http::{Request, StatusCode, header};
use futures_util::future::join_all;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::time::Duration;
use swimcoach::analysis::{ContentFlag, Usage, View};
use swimcoach::catalog::Catalog;
use swimcoach::metadata::SessionStore;
use swimcoach::session::{AnalysisStatus, Owner, Session, SessionId, Stroke};
use swimcoach::upstream::{Service, UpstreamError, UpstreamErrorKind as Kind};
use swimcoach::vision::VisionErrorKind;

fn unavailable() -> VisionErrorKind {
    let error = UpstreamError::new(Service::Model, "POST /v1/messages", Kind::Unavailable, "secret-cause");
    VisionErrorKind::Upstream(error)
}

/// The usage as an answer shows it.
fn usage(parts: &[Usage]) -> Value {
    let mut sum = Usage::default();
    for part in parts {
        sum += *part;
    }
    let mut shown = serde_json::to_value(sum).unwrap();
    let cost = shown.as_object_mut().unwrap().remove("cost_micro_usd").unwrap();
    shown["cost_usd"] = json!(cost.as_f64().unwrap() / 1e6);
    shown
}

fn code(detail: &Value) -> &str {
    detail["error_code"].as_str().unwrap_or_else(|| panic!("no failure: {detail:#}"))
}

#[tokio::test]
async fn an_analysis_is_taken_on_and_its_result_is_in_the_session() {
    let app = TestApp::new();
    app.vision.finds();
    let id = app.uploaded(Form::frames(15)).await;

    let reply = app.analyze(&id, Value::Null).await;

    assert_eq!(reply.status, StatusCode::ACCEPTED);
    assert_eq!(reply.header("location"), Some(&*format!("/api/v1/sessions/{id}")));
    assert!(0 < reply.header("retry-after").unwrap().parse::<u32>().unwrap());
    let taken_on = reply.json();
    assert_eq!(taken_on["session_id"], id);
    assert_eq!(taken_on["status"], "processing");
    let detail = app.settled(&id).await;
    assert_eq!(detail["status"], "complete");
    assert_eq!(detail["is_analyzed"], true);
    assert_eq!(detail["error"], Value::Null);
    assert_eq!(detail["analysis"]["analysis_id"], taken_on["analysis_id"]);
    assert_eq!(detail["summary"], detail["analysis"]["summary"]);
    assert_eq!(detail["analysis"]["capture"]["frames_sent"], 15);
    let digests: Vec<_> = app.vision.seen()[0].jpegs.iter().map(Sha256::digest).collect();
    assert_eq!(
        detail["analysis"]["provenance"],
        json!({
            "model": "scripted-model-1",
            "prompt_version": "prompt-7",
            "catalog_version": Catalog::embedded().unwrap().version(),
            "frames_sha256": hex::encode(Sha256::digest(digests.concat())),
        })
    );
    assert_eq!(detail["usage"], usage(&[LOOK_USAGE]));
    assert_ne!(detail["feedback"], json!([]));
}

#[tokio::test]
async fn every_frame_is_shown_to_the_model_in_order_with_its_own_time() {
    let app = TestApp::new();
    app.vision.finds();
    let times: Vec<Value> = (1..=60).map(|it| json!({ "number": it, "timestamp_ms": it * 37 })).collect();
    let form = Form::frames(60).text("manifest", &json!(times).to_string()).text("view", "overhead");
    let id = app.uploaded(form).await;

    app.analyzed(&id).await;

    let [look] = &app.vision.seen()[..] else { panic!("the model looks once") };
    let expected: Vec<_> = (1..=60).map(|it| (it, Some(u64::from(it) * 37))).collect();
    assert_eq!(look.frames, expected);
    assert_eq!(look.view, Some(View::Overhead));
    for (jpeg, seed) in look.jpegs.iter().zip(1..) {
        assert_eq!(*jpeg, pictures::jpeg(320, 240, seed), "frame {seed}");
    }
}

#[tokio::test]
async fn what_the_upload_said_counts_unless_it_is_overridden() {
    let app = TestApp::new();
    let form = || Form::frames(2).text("stroke_type", "backstroke").text("user_notes", "of the upload");
    for (body, stroke, notes) in [
        (Value::Null, Stroke::Backstroke, "of the upload"),
        (json!({}), Stroke::Backstroke, "of the upload"),
        (json!({ "stroke_type": null, "user_notes": null }), Stroke::Backstroke, "of the upload"),
        (json!({ "stroke_type": "butterfly" }), Stroke::Butterfly, "of the upload"),
        (json!({ "user_notes": " of the request " }), Stroke::Backstroke, "of the request"),
    ] {
        app.vision.finds();
        app.vision.answers_notes("Because.");
        let id = app.uploaded(form()).await;

        let reply = app.analyze(&id, body).await;

        assert_eq!(reply.status, StatusCode::ACCEPTED);
        let detail = app.settled(&id).await;
        assert_eq!(detail["status"], "complete", "{detail:#}");
        assert_eq!(app.vision.seen().last().unwrap().stroke, stroke);
        assert_eq!(app.vision.asked_notes().last().unwrap(), notes);
        assert_eq!(detail["stroke_type"], stroke.as_str());
    }
}

#[tokio::test]
async fn notes_are_answered_after_the_frames_were_judged_and_cite_only_frames_of_the_analysis() {
    let app = TestApp::new();
    app.vision.finds();
    app.vision.answers_notes("Your elbow drops in frame 8.");
    app.vision.hold();
    let id = app.uploaded(Form::frames(15).text("user_notes", "Why do my legs sink?")).await;

    app.analyze(&id, Value::Null).await;
    app.vision.began(1).await;
    assert_eq!(app.vision.asked_notes(), [""; 0]);
    app.vision.release();

    let detail = app.settled(&id).await;
    let answer = json!({ "text": "Your elbow drops in frame 8.", "frames": [8] });
    assert_eq!(detail["analysis"]["notes_answer"], answer);
    assert_eq!(detail["usage"], usage(&[LOOK_USAGE, NOTES_USAGE]));
}

#[tokio::test]
async fn notes_about_frames_that_are_not_fit_for_coaching_are_not_paid_for_and_a_warning_says_so() {
    let app = TestApp::new();
    app.vision.flags(ContentFlag::NotSwimming);
    let id = app.uploaded(Form::frames(15).text("user_notes", "Why do my legs sink?")).await;

    let detail = app.analyzed(&id).await;

    assert_eq!(detail["status"], "complete", "{detail:#}");
    assert_eq!(app.vision.asked_notes(), [""; 0]);
    assert_eq!(detail["analysis"]["notes_answer"], Value::Null);
    let warnings = detail["analysis"]["warnings"].as_array().unwrap();
    assert!(warnings.iter().any(|it| it["code"] == "notes_not_answered"), "{warnings:#?}");
    assert_eq!(detail["usage"], usage(&[LOOK_USAGE]));
}

#[tokio::test]
async fn notes_that_could_not_be_answered_keep_the_part_that_stands() {
    let app = TestApp::new();
    app.vision.finds();
    app.vision.fails_notes(unavailable(), NOTES_USAGE);
    let id = app.uploaded(Form::frames(15).text("user_notes", "Why?")).await;

    let detail = app.analyzed(&id).await;

    assert_eq!(detail["status"], "failed");
    assert_eq!(detail["partial"], true);
    assert_eq!(detail["can_resume"], true);
    assert_eq!(detail["is_analyzed"], false);
    assert_eq!(code(&detail), "model_unavailable");
    assert!(detail["error"].as_str().unwrap().contains("your notes were not answered"));
    assert_ne!(detail["feedback"], json!([]));
    assert_eq!(detail["analysis"]["notes_answer"], Value::Null);
    assert_eq!(detail["usage"], usage(&[LOOK_USAGE, NOTES_USAGE]));
}

#[tokio::test]
async fn a_model_that_fails_fails_the_analysis_and_what_it_took_is_counted() {
    let app = TestApp::new();
    let upstream =
        |kind| VisionErrorKind::Upstream(UpstreamError::new(Service::Model, "POST", kind, "secret-cause"));
    for (kind, expected, can_resume) in [
        (unavailable(), "model_unavailable", true),
        (VisionErrorKind::Refused { category: Some("secret-cause".to_owned()) }, "model_refused", true),
        (VisionErrorKind::CutOff, "model_cut_off", true),
        (VisionErrorKind::Malformed("secret-cause".to_owned()), "model_invalid_output", true),
        (VisionErrorKind::TooLarge("too many pixels".to_owned()), "frames_too_large", false),
        (upstream(Kind::Timeout), "model_unavailable", true),
        (upstream(Kind::RateLimited { retry_after: None }), "model_busy", true),
        (upstream(Kind::Exhausted), "model_exhausted", true),
        (upstream(Kind::Unauthorized), "model_misconfigured", true),
        (upstream(Kind::NotFound), "model_misconfigured", true),
        (upstream(Kind::TooLarge), "model_rejected", true),
        (upstream(Kind::Rejected), "model_rejected", true),
        (upstream(Kind::InvalidResponse), "model_rejected", true),
    ] {
        app.vision.fails(kind, LOOK_USAGE);
        let id = app.uploaded(Form::frames(2)).await;

        let detail = app.analyzed(&id).await;

        assert_eq!(detail["status"], "failed");
        assert_eq!(code(&detail), expected);
        assert_eq!(detail["can_resume"], can_resume);
        assert_eq!(detail["partial"], false);
        assert_eq!(detail["analysis"], Value::Null);
        assert_eq!(detail["usage"], usage(&[LOOK_USAGE]));
        assert!(!detail.to_string().contains("secret-cause"), "{detail:#}");
    }
}

#[tokio::test]
async fn a_step_that_panics_ends_the_analysis_instead_of_leaving_it_running() {
    let app = TestApp::new();
    let id = app.uploaded(Form::frames(2)).await;

    // Nothing is scripted, so the model panics.
    let detail = app.analyzed(&id).await;

    assert_eq!(detail["status"], "failed");
    assert_eq!(code(&detail), "internal");
    assert_eq!(detail["can_resume"], true);
}

#[tokio::test]
async fn a_frame_that_is_gone_changed_or_damaged_fails_the_analysis_before_the_model_is_asked() {
    let app = TestApp::new();
    let original = pictures::jpeg(320, 240, 3);
    let mut of_the_same_size = original.clone();
    of_the_same_size[original.len() / 2] ^= 1;
    for (replacement, expected) in [
        (None, "frame_missing"),
        (Some(original[1..].to_vec()), "frame_changed"),
        (Some(pictures::jpeg(320, 240, 4)), "frame_changed"),
        (Some(of_the_same_size), "frame_changed"),
    ] {
        let id = app.uploaded(Form::frames(15)).await;
        app.storage.replace(&id, 3, replacement).await;

        let detail = app.analyzed(&id).await;

        assert_eq!(detail["status"], "failed");
        assert_eq!(code(&detail), expected);
        assert!(detail["error"].as_str().unwrap().contains("rame 3 "), "{detail:#}");
        assert_eq!(detail["can_resume"], false);
    }
    let id = app.uploaded(Form::new().frame(&pictures::damaged_inside(320, 240))).await;
    let detail = app.analyzed(&id).await;
    assert_eq!(code(&detail), "frame_undecodable");
    assert_eq!(app.vision.seen(), []);
}

#[tokio::test]
async fn a_download_that_fails_at_any_frame_fails_the_analysis_before_the_model_is_asked() {
    let app = TestApp::new();
    let id = app.uploaded(Form::frames(15)).await;
    for index in 0..15 {
        app.storage.faults.fail_after("download_frame", index, Fault::Before(Kind::Unavailable));

        let detail = app.analyzed(&id).await;

        assert_eq!(code(&detail), "storage_unavailable");
        assert_eq!(detail["can_resume"], true);
        app.storage.faults.heal();
    }
    assert_eq!(app.vision.seen(), []);

    app.vision.finds();
    assert_eq!(app.analyzed(&id).await["status"], "complete");
}

#[tokio::test]
async fn many_clicks_at_once_start_one_analysis() {
    let app = TestApp::new();
    app.vision.finds();
    app.vision.hold();
    let id = app.uploaded(Form::frames(2)).await;

    let replies = join_all((0..10).map(|_| app.analyze(&id, Value::Null))).await;

    let ids: std::collections::BTreeSet<String> =
        replies.iter().map(|it| it.json()["analysis_id"].to_string()).collect();
    assert_eq!(ids.len(), 1, "{ids:?}");
    assert!(replies.iter().all(|it| it.status == StatusCode::ACCEPTED));
    app.vision.release();
    assert_eq!(app.settled(&id).await["status"], "complete");
    assert_eq!(app.vision.seen().len(), 1);
}

#[tokio::test]
async fn a_full_queue_is_told_to_come_back_but_a_second_click_gets_its_own_analysis() {
    let app = TestApp::with(|it| {
        it.jobs.max_running = 1;
        it.jobs.max_waiting = 1;
    });
    app.vision.hold();
    for _ in 0..3 {
        app.vision.finds();
    }
    let [running, waiting, third] = [
        app.uploaded(Form::frames(1)).await,
        app.uploaded(Form::frames(2)).await,
        app.uploaded(Form::frames(3)).await,
    ];
    app.analyze(&running, Value::Null).await;
    app.vision.began(1).await;
    let first_click = app.analyze(&waiting, Value::Null).await.json();

    let refused = app.analyze(&third, Value::Null).await;
    let second_click = app.analyze(&waiting, Value::Null).await;

    refused.problem(StatusCode::SERVICE_UNAVAILABLE, "too_many_analyses");
    assert!(0 < refused.header("retry-after").unwrap().parse::<u32>().unwrap());
    assert_eq!(second_click.json()["analysis_id"], first_click["analysis_id"]);
    assert_eq!(app.show(&third).await.json()["status"], "pending");
    app.vision.release();
    app.vision.release();
    app.settled(&running).await;
    app.settled(&waiting).await;
    app.vision.release();
    assert_eq!(app.analyzed(&third).await["status"], "complete");
}

#[tokio::test]
async fn bodies_that_are_not_acceptable_start_nothing() {
    let app = TestApp::new();
    let id = app.uploaded(Form::frames(2)).await;
    for body in [
        json!({ "stroke_type": "sidestroke" }),
        json!({ "stroke": "freestyle" }),
        json!({ "user_notes": "é".repeat(2001) }),
        json!({ "user_notes": 5 }),
        json!(["freestyle"]),
        json!("{"),
    ] {
        let reply = app.analyze(&id, body).await;

        reply.problem(StatusCode::UNPROCESSABLE_ENTITY, "validation");
    }
    let large = app.analyze(&id, json!({ "user_notes": "x".repeat(70_000) })).await;
    large.problem(StatusCode::PAYLOAD_TOO_LARGE, "request_too_large");
    assert_eq!(app.show(&id).await.json()["status"], "pending");
}

#[tokio::test]
async fn a_body_that_is_not_json_is_refused() {
    let app = TestApp::new();
    let id = app.uploaded(Form::frames(2)).await;
    let path = format!("/api/v1/analysis/{id}/analyze");
    let post = |content_type: &str| Request::post(&path).header(header::CONTENT_TYPE, content_type);

    let form = app.send(post("application/x-www-form-urlencoded").body(Body::from("a=b")).unwrap()).await;
    let bare = app.send(Request::post(&path).body(Body::from("{}")).unwrap()).await;
    let broken = app.send(post("application/json").body(Body::from("{\"stroke_type\":")).unwrap()).await;

    form.problem(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type");
    bare.problem(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type");
    broken.problem(StatusCode::UNPROCESSABLE_ENTITY, "validation");
}

#[tokio::test(start_paused = true)]
async fn a_json_body_that_stops_is_given_up() {
    let app = TestApp::new();
    let path = format!("/api/v1/analysis/{}/analyze", SessionId::new());
    let body = Body::from_stream(futures_util::stream::pending::<Result<bytes::Bytes, std::io::Error>>());
    let request = Request::post(path).header(header::CONTENT_TYPE, "application/json");

    let reply = app.send(request.body(body).unwrap()).await;

    reply.problem(StatusCode::REQUEST_TIMEOUT, "slow_body");
}

#[tokio::test]
async fn a_session_that_does_not_exist_cannot_be_analyzed() {
    let app = TestApp::new();

    for id in [&*SessionId::new().to_string(), "not-a-uuid", "0193A5B0-7C1E-7000-8000-000000000001"] {
        let reply = app.analyze(id, Value::Null).await;

        assert_eq!(reply.status, StatusCode::NOT_FOUND, "{id}");
    }
}

/// A session as records have it, beside what uploads make.
async fn recorded(app: &TestApp, change: impl FnOnce(&mut Session)) -> Session {
    let mut session = crate::support::records::session(&Owner::local(), 0);
    change(&mut session);
    app.records.create_session(&session).await.unwrap();
    session
}

#[tokio::test]
async fn a_session_without_frames_cannot_be_analyzed() {
    let app = TestApp::new();
    let session = recorded(&app, |_| {}).await;

    let reply = app.analyze(&session.id.to_string(), Value::Null).await;

    reply.problem(StatusCode::CONFLICT, "no_frames");
}

#[tokio::test(start_paused = true)]
async fn a_long_analysis_says_again_and_again_that_it_runs() {
    let app = TestApp::with(|it| it.jobs.stale_after = Duration::from_mins(3));
    app.vision.finds();
    app.vision.hold();
    let id = app.uploaded(Form::frames(2)).await;
    app.analyze(&id, Value::Null).await;
    app.vision.began(1).await;

    tokio::time::sleep(Duration::from_mins(10)).await;

    let signs_of_life = app.records.faults.count("record_analysis");
    assert!((10..=11).contains(&signs_of_life), "{signs_of_life}");
    app.vision.release();
    assert_eq!(app.settled(&id).await["status"], "complete");
}

#[tokio::test(start_paused = true)]
async fn a_result_is_kept_until_records_are_back() {
    for kind in [Kind::Unavailable, Kind::Exhausted, Kind::Unauthorized] {
        let app = TestApp::new();
        app.vision.finds();
        let id = app.uploaded(Form::frames(2)).await;
        app.records.faults.fail_always("record_analysis", Fault::Before(kind));
        app.analyze(&id, Value::Null).await;
        tokio::time::sleep(Duration::from_mins(10)).await;
        assert_eq!(app.show(&id).await.json()["status"], "processing");

        app.records.faults.heal();
        tokio::time::sleep(Duration::from_secs(15)).await;

        assert_eq!(app.settled(&id).await["status"], "complete", "{kind}");
        assert_eq!(app.vision.seen().len(), 1);
    }
}

#[tokio::test]
async fn an_analysis_that_could_not_be_recorded_does_not_run() {
    let app = TestApp::new();
    let id = app.uploaded(Form::frames(2)).await;
    app.records.faults.fail_next("start_analysis", Fault::Before(Kind::Unavailable));

    let reply = app.analyze(&id, Value::Null).await;

    reply.problem(StatusCode::SERVICE_UNAVAILABLE, "records_unavailable");
    assert!(app.coach.shut_down(Duration::from_secs(5)).await);
    assert_eq!(app.vision.seen(), []);
}

#[tokio::test(start_paused = true)]
async fn a_delete_stops_the_analysis_and_no_late_write_brings_the_session_back() {
    let app = TestApp::new();
    app.vision.hold();
    let id = app.uploaded(Form::frames(2)).await;
    app.analyze(&id, Value::Null).await;
    app.vision.began(1).await;
    app.records.faults.fail_next("record_analysis", Fault::Hang);

    let deleted = app.delete(&id).await;

    assert_eq!(deleted.json()["frames_deleted"], 2);
    app.records.faults.release();
    let start = tokio::time::Instant::now();
    assert!(app.coach.shut_down(Duration::from_secs(10)).await);
    assert_eq!(start.elapsed(), Duration::ZERO, "it is the stop that ended the analysis");
    assert_eq!(app.records.faults.count("record_analysis"), 1);
    app.assert_empty().await;
}

#[tokio::test]
async fn a_delete_that_storage_does_not_take_leaves_the_analysis_running() {
    let app = TestApp::new();
    app.vision.finds();
    app.vision.hold();
    let id = app.uploaded(Form::frames(15)).await;
    app.analyze(&id, Value::Null).await;
    app.vision.began(1).await;
    app.storage.faults.fail_next("delete_frames", Fault::Before(Kind::Unavailable));

    let reply = app.delete(&id).await;
    app.vision.release();

    reply.problem(StatusCode::SERVICE_UNAVAILABLE, "storage_unavailable");
    assert_eq!(app.settled(&id).await["status"], "complete");
}

#[tokio::test]
async fn an_earlier_result_stays_while_a_later_analysis_runs_and_when_it_fails() {
    let app = TestApp::new();
    app.vision.finds();
    let id = app.uploaded(Form::frames(15)).await;
    let first = app.analyzed(&id).await;
    app.vision.hold();
    app.vision.fails(unavailable(), Usage::default());

    app.analyze(&id, json!({ "stroke_type": "mixed" })).await;
    app.vision.began(2).await;
    let meanwhile = app.show(&id).await.json();
    app.vision.release();
    let afterwards = app.settled(&id).await;

    assert_eq!(meanwhile["status"], "processing");
    assert_eq!(afterwards["status"], "failed");
    for detail in [&meanwhile, &afterwards] {
        assert_eq!(detail["is_analyzed"], true);
        assert_eq!(detail["partial"], false);
        for field in ["analysis", "summary", "feedback"] {
            assert_eq!(detail[field], first[field], "{field}");
        }
    }
}

#[tokio::test]
async fn usage_is_counted_over_all_analyses_of_a_session() {
    let app = TestApp::new();
    let id = app.uploaded(Form::frames(2)).await;
    app.vision.finds();
    app.vision.fails(VisionErrorKind::CutOff, NOTES_USAGE);
    app.vision.finds();

    for _ in 0..3 {
        app.analyzed(&id).await;
    }

    let detail = app.show(&id).await.json();
    assert_eq!(detail["usage"], usage(&[LOOK_USAGE, NOTES_USAGE, LOOK_USAGE]));
}

#[tokio::test]
async fn the_status_of_an_ended_analysis_is_what_is_recorded() {
    let app = TestApp::new();
    app.vision.finds();
    let id = app.uploaded(Form::frames(2)).await;

    app.analyzed(&id).await;

    let record = app.records.session(&Owner::local(), id.parse().unwrap()).await.unwrap().unwrap();
    let [analysis] = &record.analyses[..] else { panic!("one analysis") };
    assert_eq!(analysis.status, AnalysisStatus::Complete);
    assert_eq!(analysis.usage, LOOK_USAGE);
}

#[tokio::test]
async fn of_two_replicas_that_are_asked_at_once_one_looks_and_both_tell_of_it() {
    let one = TestApp::new();
    let other = one.replica();
    one.vision.finds();
    one.vision.hold();
    let id = one.uploaded(Form::frames(2)).await;

    let clicks = (0..10).map(|n| [&one, &other][n % 2].analyze(&id, Value::Null));
    let replies = join_all(clicks).await;

    let first = replies[0].json();
    assert!(replies.iter().all(|it| it.json()["analysis_id"] == first["analysis_id"]));
    assert_eq!(other.show(&id).await.json()["status"], "processing");
    one.vision.release();
    let settled = other.settled(&id).await;
    assert_eq!(settled["status"], "complete");
    assert_eq!(settled, one.show(&id).await.json());
    assert_eq!(one.vision.seen().len(), 1);
}

#[tokio::test]
async fn a_session_that_another_replica_deleted_does_not_come_back_when_its_analysis_ends() {
    let one = TestApp::new();
    let other = one.replica();
    one.vision.finds();
    one.vision.hold();
    let id = one.uploaded(Form::frames(2)).await;
    one.analyze(&id, Value::Null).await;
    one.vision.began(1).await;

    other.delete(&id).await;
    one.vision.release();

    assert!(one.coach.shut_down(Duration::from_secs(10)).await);
    one.assert_empty().await;
}
