//! A defect of the server: the panic's message may hold anything, and is never written.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use lockstep_api::Code;
use lockstep_events::{Clock, Micros};
use tracing_subscriber::{Layer, filter::filter_fn, fmt, layer::SubscriberExt};

use super::planted::Planted;
use crate::support::{Mode, Node, assert_problem, page::Page};

/// A clock that breaks, and whose last words are a secret.
struct Breaking {
    broken: Arc<AtomicBool>,
    secret: String,
}

impl Clock for Breaking {
    fn now(&self) -> Micros {
        assert!(!self.broken.load(Ordering::SeqCst), "{}", self.secret);
        lockstepd::clock::SystemClock.now()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_is_logged_by_its_place_alone_and_a_planted_leak_is_found() {
    let page = Page::default();
    let writer = page.clone();
    let lines = fmt::layer().with_ansi(false).with_writer(move || writer.clone());
    let lines = lines.with_filter(filter_fn(lockstepd::cli::may_be_logged));
    tracing::subscriber::set_global_default(tracing_subscriber::registry().with(lines)).unwrap();
    lockstepd::cli::keep_panics_quiet();
    let mut planted = Planted::default();
    let secret = planted.text("the message of a panic");
    let broken = Arc::new(AtomicBool::new(false));
    let clock = Breaking { broken: Arc::clone(&broken), secret };
    let node = Node::start_at(Mode::Embedded, Arc::new(clock)).await;
    let account = planted.text("a token");
    broken.store(true, Ordering::SeqCst);
    let answer = node.get("/v1/account").bearer_auth(account).send().await.unwrap();
    assert_problem(answer, Code::Internal).await;
    broken.store(false, Ordering::SeqCst);
    let written = || String::from_utf8(page.0.lock().unwrap().clone()).unwrap();
    assert!(written().contains("a defect of the server") && written().contains("canary/panics.rs"));
    assert_eq!(planted.found_in(&written()), Vec::<String>::new());
    let leak = planted.text("a leak");
    tracing::info!(target: "lockstepd", leak, "planted");
    assert_eq!(planted.found_in(&written()), ["a leak"], "what is leaked is found");
    let theirs = planted.text("a library's leak");
    tracing::debug!(target: "hyper", theirs, "planted");
    assert_eq!(planted.found_in(&written()), ["a leak"], "what libraries say in detail is not written");
}
