//! Uploads as nobody means them.

use crate::support::app::TestApp;
use crate::support::hostile;
use axum::body::Body;
use axum::http::{Request, StatusCode};
use futures_util::{StreamExt, stream};
use std::collections::BTreeMap;

#[tokio::test]
async fn a_thousand_hostile_uploads_break_nothing_and_leave_nothing_but_what_was_acknowledged() {
    let app = TestApp::new();
    let send = async |hostile: hostile::Hostile| {
        let mut request = Request::post("/api/v1/analysis/upload")
            .header("content-type", &hostile.content_type)
            .header("content-length", hostile.body.len());
        for (name, value) in &hostile.headers {
            request = request.header(*name, value);
        }
        app.send(request.body(Body::from(hostile.body)).unwrap()).await
    };

    let replies: Vec<_> =
        stream::iter(hostile::uploads(0x5717, 1_000)).map(send).buffer_unordered(8).collect().await;

    let mut outcomes: BTreeMap<u16, usize> = BTreeMap::new();
    let mut made = Vec::new();
    for reply in replies {
        assert!(!reply.status.is_server_error(), "{reply:?}");
        *outcomes.entry(reply.status.as_u16()).or_default() += 1;
        if reply.status == StatusCode::CREATED {
            made.push(reply.json()["session_id"].as_str().unwrap().to_owned());
        }
    }
    assert!(outcomes[&201] < 300 && 3 < outcomes.len(), "{outcomes:?}");
    for id in &made {
        let detail = app.show(id).await.json();
        assert!(0 < detail["frame_count"].as_u64().unwrap());
        app.delete(id).await;
    }
    app.assert_empty().await;
}
