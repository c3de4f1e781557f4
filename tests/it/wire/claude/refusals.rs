//! Answers whose status says no.

use super::*;

#[tokio::test]
async fn what_would_be_refused_again_is_asked_once() {
    use UpstreamErrorKind as K;
    for (status, word, kind) in [
        (400, "invalid_request_error", K::Rejected),
        (401, "authentication_error", K::Unauthorized),
        (402, "billing_error", K::Exhausted),
        (403, "permission_error", K::Unauthorized),
        (404, "not_found_error", K::NotFound),
        (409, "conflict_error", K::Rejected),
        (422, "invalid_request_error", K::Rejected),
    ] {
        assert_eq!(given_up(error(status, &[], word), 1).await, kind, "{status}");
    }
}

#[tokio::test]
async fn what_passes_is_asked_again_as_often_as_the_policy_says() {
    use UpstreamErrorKind as K;
    for (status, word, kind) in [
        (408, "timeout_error", K::Unavailable),
        (429, "rate_limit_error", K::RateLimited { retry_after: None }),
        (500, "api_error", K::Unavailable),
        (502, "api_error", K::Unavailable),
        (503, "api_error", K::Unavailable),
        (504, "timeout_error", K::Unavailable),
        (529, "overloaded_error", K::Unavailable),
    ] {
        assert_eq!(given_up(error(status, &[], word), 3).await, kind, "{status}");
    }
}

#[tokio::test]
async fn an_answer_after_an_overload_is_as_good_as_one_at_once_and_costs_the_same() {
    let overloaded = error(529, &[], "overloaded_error");

    let (looked, requests) = looked([overloaded.clone(), overloaded, whole()]).await;

    assert_eq!(looked.unwrap().usage, WHOLE);
    assert_eq!(requests.len(), 3);
    assert_eq!(requests[0].body, requests[2].body);
    assert_eq!(requests[0].headers, requests[2].headers);
}

#[tokio::test]
async fn the_page_of_a_gateway_means_what_its_status_says() {
    let page = "<html><body><h1>Bad gateway</h1></body></html>";
    let html = [("content-type", "text/html")];

    assert_eq!(given_up(answer(502, &html, page), 3).await, UpstreamErrorKind::Unavailable);
    assert_eq!(given_up(answer(403, &html, page), 1).await, UpstreamErrorKind::Unauthorized);
    assert_eq!(given_up(answer(503, &html, &page.repeat(10_000)), 3).await, UpstreamErrorKind::Unavailable);
}

#[tokio::test]
async fn a_request_that_is_too_large_for_the_way_is_told_as_frames_that_do_not_fit() {
    let (looked, _) = looked([answer(413, &[], "Payload Too Large")]).await;

    assert!(matches!(looked.unwrap_err().kind, VisionErrorKind::TooLarge(_)));
}

#[tokio::test]
async fn a_spending_limit_is_no_matter_of_waiting() {
    for code in ["enforced_spend_limit_reached", "contract_spend_limit_reached"] {
        let body = json!({"type": "error", "error": {
            "type": "rate_limit_error", "message": "for people", "details": {"error_code": code},
        }});

        let kind = given_up(answer(429, &[], &body.to_string()), 1).await;

        assert_eq!(kind, UpstreamErrorKind::Exhausted);
    }
}

#[tokio::test]
async fn the_word_of_the_api_on_trying_again_counts_more_than_its_status() {
    let never = [("x-should-retry", "false")];
    let again = [("x-should-retry", "true")];

    assert_eq!(given_up(error(409, &again, "conflict_error"), 3).await, UpstreamErrorKind::Unavailable);
    let busy = UpstreamErrorKind::RateLimited { retry_after: None };
    assert_eq!(given_up(error(429, &never, "rate_limit_error"), 1).await, busy);
    assert_eq!(given_up(error(529, &never, "overloaded_error"), 1).await, UpstreamErrorKind::Unavailable);
}

#[tokio::test]
async fn the_wait_that_is_asked_for_in_any_form_is_understood() {
    let in_an_hour = (Utc::now() + TimeDelta::hours(1)).format("%a, %d %b %Y %H:%M:%S GMT").to_string();
    for (name, value, seconds) in [
        ("retry-after", "90", 90.0..=90.0),
        ("retry-after", "90.5", 90.5..=90.5),
        ("retry-after-ms", "90250", 90.25..=90.25),
        ("retry-after", in_an_hour.as_str(), 3540.0..=3600.0),
    ] {
        // Past the deadline of the policy, so nobody waits.
        let kind = given_up(error(429, &[(name, value)], "rate_limit_error"), 1).await;

        let UpstreamErrorKind::RateLimited { retry_after: Some(wait) } = kind else { panic!("{kind:?}") };
        assert!(seconds.contains(&wait.as_secs_f64()), "{name}: {value} is {wait:?}");
    }
}

#[tokio::test]
async fn a_wait_that_makes_no_sense_is_as_none() {
    for value in ["soon", "-5", "NaN", "1e300"] {
        let kind = given_up(error(429, &[("retry-after", value)], "rate_limit_error"), 3).await;

        assert_eq!(kind, UpstreamErrorKind::RateLimited { retry_after: None }, "{value}");
    }
}

#[tokio::test]
async fn milliseconds_count_more_than_seconds_and_are_waited_for() {
    let headers = [("retry-after-ms", "120"), ("retry-after", "3600")];
    let start = Instant::now();

    let (looked, _) = looked([error(429, &headers, "rate_limit_error"), whole()]).await;

    looked.unwrap();
    assert!(Duration::from_millis(120) <= start.elapsed());
}

#[tokio::test]
async fn a_date_that_has_passed_is_no_wait() {
    let date = [("retry-after", "Wed, 21 Oct 2015 07:28:00 GMT")];

    let (looked, _) = looked([error(429, &date, "rate_limit_error"), whole()]).await;

    looked.unwrap();
}

#[tokio::test]
async fn a_redirect_is_not_followed_so_that_the_key_stays_here() {
    let elsewhere = ClaudeServer::start([]).await;
    let location = elsewhere.url().join("v1/messages").unwrap();
    for status in [301, 302, 307, 308] {
        let kind = given_up(answer(status, &[("location", location.as_str())], ""), 1).await;

        assert_eq!(kind, UpstreamErrorKind::Rejected, "{status}");
    }
    assert!(elsewhere.requests().is_empty());
}

#[tokio::test]
async fn nothing_that_is_logged_shows_the_key_the_prompt_the_notes_or_a_picture() {
    let picture = STANDARD.encode(jpeg(1));
    let echo = format!("{KEY} {NOTES} You look at frames {picture}");
    let body = json!({"type": "error", "error": {"type": "api_error", "message": echo}}).to_string();
    let half_an_event = format!("data: {{\"type\": {echo:?}\n\n").into_bytes();
    for reply in [
        answer(400, &[], &body),
        answer(403, &[], &echo),
        stream(&events(&echo)),
        stream(&events(&json!({"summary": echo, &echo: 1}).to_string())),
        stream(&events(&EXAMPLE.replace("\"side\":", &format!("{}:", json!(echo))))),
        stream(&events(&EXAMPLE.replace("\"underwater\"", &json!(echo).to_string()))),
        vec![stream_head(), Step::Write(half_an_event), Step::Reset],
        vec![Step::Reset],
    ] {
        let server = ClaudeServer::start([reply]).await;
        let mut settings = settings(server.url());
        settings.retry.attempts = 1;
        let vision = vision(&settings);
        let look = look_at(1);

        let error = vision.look(&look, &Asking::default()).await.unwrap_err();

        let shown = format!("{error} {error:?} {} {vision:?} {settings:?} {look:?}", upstream::chain(&error));
        for secret in [KEY, "feels weak", "You look at", picture.get(..40).unwrap()] {
            assert!(!shown.contains(secret), "{secret} in {shown}");
        }
    }
}

#[tokio::test]
async fn an_error_does_not_name_the_address_which_may_be_a_private_gateway() {
    let server = ClaudeServer::start([vec![Step::Reset]]).await;
    let mut settings = settings(server.url());
    settings.retry.attempts = 1;

    let error = vision(&settings).look(&look_at(1), &Asking::default()).await.unwrap_err();

    let port = server.url().port().unwrap().to_string();
    assert!(!upstream::chain(&error).contains(&port), "{}", upstream::chain(&error));
}
