//! What those who look after others are given who ask for everything, and those who were invited.

use lockstep_api::{
    admin::{Invite, Invited, SetPlan},
    privacy::ExportLine,
};
use lockstep_events::{AccountId, StreamId, event::Role};
use reqwest::StatusCode;

use crate::{
    in_both_modes,
    office::{WHY, first_admin},
    support::{Mode, Node, Person, body},
};

in_both_modes! {
    an_export_has_what_somebody_did_as_administrator_or_auditor_and_what_the_server_s_own_log_says_of_them;
}

async fn export(node: &Node, person: &Person) -> Vec<ExportLine> {
    let text = person.get(node, "/v1/me/export").await.text().await.unwrap();
    assert!(text.lines().last().unwrap().contains("manifest"), "{text}");
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Events of a kind that are the person's to read, each with what is sealed in it.
fn told(lines: &[ExportLine], wanted: &str) -> Vec<Option<String>> {
    let one = |line: &ExportLine| match line {
        ExportLine::Event { kind, personal, .. } if kind == wanted => {
            Some(personal.as_ref().and_then(|personal| personal.text.clone()))
        }
        _ => None,
    };
    lines.iter().filter_map(one).collect()
}

/// What the person did to others: where, and what it is called.
fn acts(lines: &[ExportLine]) -> Vec<(StreamId, &str)> {
    let mut acts = Vec::new();
    for line in lines {
        if let ExportLine::Act { stream, kind, .. } = line {
            acts.push((*stream, kind.as_str()));
        }
    }
    acts
}

async fn an_export_has_what_somebody_did_as_administrator_or_auditor_and_what_the_server_s_own_log_says_of_them(
    mode: Mode,
) {
    let node = Node::start(mode).await;
    let (admin, carl) = (first_admin(&node).await, Person::register(&node).await);
    let invite = Invite { plan: None, plan_until: None, hours: 1, reason: WHY.into() };
    let made: Invited =
        body(admin.post(&node, "/v1/admin/invitations", &invite).await, StatusCode::CREATED).await;
    let mut start = Person::start(&node, "invited@example.org").await;
    start.finish.invitation = Some(made.token);
    let invited = start.send(&node).await;
    let plan = SetPlan { plan: "paid".into(), until: None, reason: WHY.into() };
    admin.acts(&node, invited.account, "plan", &plan).await;
    admin.grants(&node, carl.account, Role::Auditor).await;
    assert_eq!(admin.looks(&node, "/v1/admin/invitations").await.status(), StatusCode::OK);
    let carl = carl.again(&node).await;
    assert_eq!(carl.looks(&node, "/v1/audit/events").await.status(), StatusCode::OK);
    let of = |account: AccountId| StreamId::from(account);
    assert_eq!(
        carl.looks(&node, &format!("/v1/admin/accounts/{}", invited.account)).await.status(),
        StatusCode::OK
    );

    let (why, mut lines) = (Some(WHY.to_owned()), export(&node, &admin).await);
    assert_eq!(told(&lines, "admin.bootstrapped"), [None]);
    for own in ["admin.invitation_made", "admin.listed"] {
        assert_eq!(told(&lines, own), std::slice::from_ref(&why), "{own}");
    }
    for others in ["admin.invitation_used", "admin.roll_changed", "audit.log_read"] {
        assert_eq!(told(&lines, others), [], "{others}");
    }
    let mut done = acts(&lines);
    done.sort_unstable();
    let mut expected = vec![
        (of(invited.account), "account.plan_set"),
        (of(carl.account), "account.role_set"),
        (of(carl.account), "account.sessions_ended"),
        (StreamId::SYSTEM, "admin.roll_changed"),
    ];
    expected.sort_unstable();
    assert_eq!(done, expected);

    let seen = export(&node, &carl).await;
    assert_eq!(told(&seen, "audit.log_read"), std::slice::from_ref(&why));
    assert_eq!(told(&seen, "admin.roll_changed"), [why]);
    assert_eq!(acts(&seen), [(of(invited.account), "account.viewed")]);

    let guest = export(&node, &invited).await;
    assert_eq!(told(&guest, "admin.invitation_used"), [None]);
    assert!(acts(&guest).is_empty() && told(&guest, "admin.invitation_made").is_empty());
    lines.extend(guest);
    for line in lines {
        if let ExportLine::Event { event_id, chain, .. } | ExportLine::Act { event_id, chain, .. } = line {
            let stands = node.running().server.log.find(&[event_id]).await.unwrap().pop().unwrap();
            assert_eq!(chain, stands.chain);
        }
    }
}
