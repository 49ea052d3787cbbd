//! An object store that gives what it has and takes nothing: some answer so when their disk is full.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use axum::{
    Router,
    extract::State,
    http::{Method, StatusCode},
};
use lockstepd::{
    adapters::s3::{S3Blobs, S3Options},
    blobs::{BlobStore, Touch, Watch},
    causes::with_causes,
};

const INTERNAL: &str =
    "<Error><Code>InternalError</Code><Message>We encountered an internal error</Message></Error>";

async fn answer(State(takes): State<Arc<AtomicBool>>, method: Method) -> (StatusCode, &'static str) {
    if method == Method::PUT && !takes.load(Ordering::SeqCst) {
        return (StatusCode::INTERNAL_SERVER_ERROR, INTERNAL);
    }
    (StatusCode::OK, "")
}

async fn store(takes: Arc<AtomicBool>) -> Watch {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let app = Router::new().fallback(answer).with_state(takes);
    tokio::spawn(async move { axum::serve(listener, app).await });
    Watch::new(Arc::new(S3Blobs::new(&S3Options {
        endpoint,
        public_endpoint: String::new(),
        region: "us-east-1".to_owned(),
        bucket: "blobs".to_owned(),
        access_key: "a-test".to_owned(),
        secret_key: "a-secret-of-a-test".to_owned(),
    })))
}

#[tokio::test]
async fn a_store_that_answers_and_takes_nothing_refuses_until_it_takes_something_and_says_where_to_look() {
    let takes = Arc::new(AtomicBool::new(false));
    let store = store(Arc::clone(&takes)).await;
    store.ready().await.unwrap();
    assert_eq!(store.touch(), Touch::Answers);
    let refused = with_causes(&store.put("packs/a", "bytes".into()).await.unwrap_err());
    assert!(refused.contains("InternalError"), "{refused}");
    assert!(refused.ends_with("see the store's own log, and whether it has room"), "{refused}");
    store.ready().await.unwrap();
    assert_eq!(store.touch(), Touch::Refuses, "although it answers");
    assert!(store.start_parts("packs/b", &[1], 60).await.unwrap().is_none());
    assert_eq!(store.touch(), Touch::Refuses, "nothing was asked of it");
    takes.store(true, Ordering::SeqCst);
    store.put("packs/a", "bytes".into()).await.unwrap();
    assert_eq!(store.touch(), Touch::Answers);
}
