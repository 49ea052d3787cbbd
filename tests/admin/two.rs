//! The rule of two administrators.

use lockstep_api::{
    Code,
    admin::{Done, Proposals, Settle},
};
use lockstep_events::event::Role;
use lockstepd::config::Layer;
use reqwest::{Response, StatusCode};

use crate::{
    ending::pass,
    in_both_modes,
    office::{WHY, first_admin, why},
    support::{Mode, Node, Person, assert_problem, body},
};

in_both_modes! {
    a_role_and_a_deletion_take_two_administrators_and_happen_once;
    one_administrator_is_told_that_nobody_could_approve_and_what_to_do;
    a_proposal_about_somebody_who_was_erased_meanwhile_is_withdrawn_and_not_approved;
    whom_a_withdrawn_proposal_was_about_has_both_its_reasons_in_the_export;
    what_waits_for_another_administrator_is_listed_with_its_reason_until_it_is_settled;
}

impl Person {
    async fn settle(&self, node: &Node, done: &Done, approve: bool) -> Response {
        let path = format!("/v1/admin/proposals/{}", done.proposal.unwrap());
        self.post(node, &path, &Settle { approve, reason: WHY.into() }).await
    }
}

async fn a_role_and_a_deletion_take_two_administrators_and_happen_once(mode: Mode) {
    let mut node = Node::start(mode).await;
    let (admin, bob) = (first_admin(&node).await, Person::register(&node).await);
    let ada = Person::register(&node).await;
    admin.grants(&node, bob.account, Role::Admin).await;
    node.restart_with(Layer { two_admins: Some(true), ..Layer::default() }).await;
    let (admin, bob) = (admin.again(&node).await, bob.again(&node).await);
    let proposed = admin.grants(&node, ada.account, Role::Auditor).await;
    assert_eq!(ada.plan(&node).await.role, Role::User, "it is only proposed");
    assert_problem(admin.settle(&node, &proposed, true).await, Code::Forbidden).await;
    let both = tokio::join!(bob.settle(&node, &proposed, true), bob.settle(&node, &proposed, true));
    let mut codes = [both.0.status(), both.1.status()];
    codes.sort_unstable();
    assert_eq!(codes, [StatusCode::OK, StatusCode::PRECONDITION_FAILED]);
    let ada = ada.again(&node).await;
    assert_eq!(ada.plan(&node).await.role, Role::Auditor);
    let carol = Person::register(&node).await;
    let proposed: Done = body(bob.act(&node, carol.account, "delete", &why()).await, StatusCode::OK).await;
    assert_eq!(bob.settle(&node, &proposed, false).await.status(), StatusCode::OK);
    assert_problem(admin.settle(&node, &proposed, true).await, Code::PreconditionFailed).await;
    assert_eq!(carol.get(&node, "/v1/account").await.status(), StatusCode::OK);
    let proposed = bob.acts(&node, carol.account, "delete", &why()).await;
    assert_eq!(admin.settle(&node, &proposed, true).await.status(), StatusCode::OK);
    assert_problem(carol.get(&node, "/v1/account").await, Code::Revoked).await;
    assert_problem(carol.login(&node, &carol.password, true).await, Code::AccountDisabled).await;
}

async fn one_administrator_is_told_that_nobody_could_approve_and_what_to_do(mode: Mode) {
    let mut node = Node::start(mode).await;
    let (admin, ada) = (first_admin(&node).await, Person::register(&node).await);
    node.restart_with(Layer { two_admins: Some(true), ..Layer::default() }).await;
    let admin = admin.again(&node).await;
    let refused = admin.act(&node, ada.account, "delete", &why()).await;
    assert_eq!(refused.status(), StatusCode::PRECONDITION_FAILED);
    let problem: lockstep_api::Problem = refused.json().await.unwrap();
    assert!(problem.detail.is_some_and(|detail| detail.contains("two_admins = false")));
    assert_eq!(waiting(&node, &admin).await, Proposals { proposals: Vec::new(), after: None });
}

async fn a_proposal_about_somebody_who_was_erased_meanwhile_is_withdrawn_and_not_approved(mode: Mode) {
    let soon = || Layer { erasure_wait_hours: Some(1), ..Layer::default() };
    let mut node = Node::start_with(mode, soon()).await;
    let (admin, bob) = (first_admin(&node).await, Person::register(&node).await);
    let carol = Person::register(&node).await;
    admin.grants(&node, bob.account, Role::Admin).await;
    admin.acts(&node, carol.account, "delete", &why()).await;
    node.restart_with(Layer { two_admins: Some(true), ..soon() }).await;
    let admin = admin.again(&node).await;
    let proposed = admin.grants(&node, carol.account, Role::Auditor).await;
    pass(&node, carol.account).await;
    let (admin, bob) = (admin.again(&node).await, bob.again(&node).await);
    assert_eq!(waiting(&node, &bob).await.proposals, [], "of whom was erased nothing is told");
    assert_problem(bob.settle(&node, &proposed, true).await, Code::NotFound).await;
    assert_eq!(admin.settle(&node, &proposed, false).await.status(), StatusCode::OK);
    assert_problem(admin.settle(&node, &proposed, false).await, Code::PreconditionFailed).await;
}

async fn whom_a_withdrawn_proposal_was_about_has_both_its_reasons_in_the_export(mode: Mode) {
    let mut node = Node::start(mode).await;
    let (admin, bob) = (first_admin(&node).await, Person::register(&node).await);
    admin.grants(&node, bob.account, Role::Admin).await;
    node.restart_with(Layer { two_admins: Some(true), ..Layer::default() }).await;
    let (bob, carol) = (bob.again(&node).await, Person::register(&node).await);
    let proposed = bob.acts(&node, carol.account, "delete", &why()).await;
    let path = format!("/v1/admin/proposals/{}", proposed.proposal.unwrap());
    let withdrawn = Settle { approve: false, reason: "asked by mistake".into() };
    let _: Done = body(bob.post(&node, &path, &withdrawn).await, StatusCode::OK).await;
    let export = carol.get(&node, "/v1/me/export").await;
    assert_eq!(export.status(), StatusCode::OK);
    let export = export.text().await.unwrap();
    for (kind, reason) in [("admin.proposed", WHY), ("admin.proposal_settled", "asked by mistake")] {
        let line =
            export.lines().find(|line| line.contains(kind)).unwrap_or_else(|| panic!("{kind}: {export}"));
        assert!(line.contains(reason), "{line}");
    }
}

async fn waiting(node: &Node, admin: &Person) -> Proposals {
    body(admin.looks(node, "/v1/admin/proposals").await, StatusCode::OK).await
}

async fn what_waits_for_another_administrator_is_listed_with_its_reason_until_it_is_settled(mode: Mode) {
    let mut node = Node::start(mode).await;
    let (admin, bob) = (first_admin(&node).await, Person::register(&node).await);
    let (ada, carol) = (Person::register(&node).await, Person::register(&node).await);
    admin.grants(&node, bob.account, Role::Admin).await;
    node.restart_with(Layer { two_admins: Some(true), ..Layer::default() }).await;
    let (admin, bob) = (admin.again(&node).await, bob.again(&node).await);
    assert_eq!(waiting(&node, &bob).await, Proposals { proposals: Vec::new(), after: None });
    let role = admin.grants(&node, ada.account, Role::Auditor).await;
    let delete = admin.acts(&node, carol.account, "delete", &why()).await;
    let list = waiting(&node, &bob).await.proposals;
    let shown: Vec<_> = list.iter().map(|one| (Some(one.proposal), one.account, one.role)).collect();
    let expected =
        [(role.proposal, ada.account, Some(Role::Auditor)), (delete.proposal, carol.account, None)];
    assert_eq!(shown, expected);
    assert!(
        list.iter().all(|one| one.reason.as_deref() == Some(WHY) && one.proposed_by == Some(admin.account))
    );
    // Whom it concerns reads that it was looked at, by whom, and why.
    let activity = ada.activity(&node).await;
    let looked = activity.iter().find(|item| item.kind == "account.viewed").unwrap();
    assert_eq!((looked.actor, looked.reason.as_deref()), (Some(bob.account), Some(WHY)));
    assert_problem(ada.looks(&node, "/v1/admin/proposals").await, Code::Forbidden).await;
    assert_problem(bob.get(&node, "/v1/admin/proposals").await, Code::InvalidHeader).await;
    assert_eq!(bob.settle(&node, &role, true).await.status(), StatusCode::OK);
    assert_eq!(waiting(&node, &admin).await.proposals.len(), 1);
    // What nobody approved within a week is not shown any more.
    node.clock.pass(7 * 24 * 3600 + 1);
    assert_eq!(waiting(&node, &bob.again(&node).await).await.proposals, []);
}
