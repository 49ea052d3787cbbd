//! Looking after accounts, as an administrator types it, and what the owner sees of it.

use serde_json::Value;

use crate::{device::Device, server::Server};

const WHY: &str = "--reason=asked by telephone";

fn of<'a>(activity: &'a Value, kind: &str) -> &'a Value {
    let all = activity.as_array().unwrap();
    all.iter().find(|item| item["kind"] == kind).unwrap_or_else(|| panic!("no {kind}: {activity}"))
}

#[test]
fn an_administrator_looks_after_an_account_and_its_owner_reads_all_of_it() {
    let server = Server::start();
    let ada = Device::registered(&server);
    let root = Device::empty();
    root.ok(&root.enter("register", &server, "root@example.org"));
    assert_eq!(ada.run(&["admin", "user", "list"]).code, 8);
    root.ok(&["admin", "bootstrap", server.bootstrap_token().trim()]);
    assert_eq!(root.run(&["admin", "bootstrap", "lsb_00"]).code, 8);

    let list = root.json(&["admin", "user", "list"]);
    assert_eq!(list.as_array().unwrap().len(), 2);
    let shown = root.json(&["admin", "user", "show", crate::device::NAME, WHY]);
    assert_eq!((shown["role"].as_str(), shown["plan"].as_str()), (Some("user"), Some("standard")));
    root.ok(&["admin", "user", "set-plan", crate::device::NAME, "paid", "--days", "30", WHY]);
    root.ok(&["admin", "user", "set-flag", crate::device::NAME, "beta", "on", WHY]);
    let shown = root.ok(&["admin", "user", "show", crate::device::NAME, WHY]);
    assert!(shown.contains("plan until (UTC)\t20"), "{shown}");
    let plan = ada.json(&["plan"]);
    assert_eq!((plan["plan"].as_str(), plan["flags"]["beta"].as_bool()), (Some("paid"), Some(true)));
    let sessions = root.json(&["admin", "user", "sessions", crate::device::NAME, WHY]);
    assert_eq!(sessions.as_array().unwrap().len(), 1);

    let activity = ada.json(&["activity", "--limit", "1000"]);
    let set = of(&activity, "account.plan_set");
    assert_eq!(set["by"], "administrator");
    assert_eq!(set["reason"], "asked by telephone");
    of(&activity, "account.viewed");
    assert!(ada.ok(&["activity"]).contains("administrator"));

    root.ok(&["admin", "user", "disable", crate::device::NAME, WHY]);
    assert_eq!(ada.run(&["sync"]).code, 4);
    root.ok(&["admin", "user", "enable", crate::device::NAME, WHY]);
    assert_eq!(root.json(&["admin", "invitation", "list"]).as_array().unwrap().len(), 0);
    let token = root.ok(&["admin", "user", "add", "--plan", "paid", WHY]);
    let spare = root.json(&["admin", "invitation", "add", WHY])["invitation"].clone();
    let listed = root.json(&["admin", "invitation", "list"]);
    assert_eq!((listed.as_array().unwrap().len(), &listed[1]["invitation"]), (2, &spare));
    root.ok(&["admin", "invitation", "revoke", spare.as_str().unwrap(), WHY]);
    assert!(root.ok(&["admin", "invitation", "list", "--all"]).contains("revoked"));
    assert_eq!(root.json(&["admin", "proposal", "list"]).as_array().unwrap().len(), 0);
    let invited = Device::empty();
    let enter = invited.enter("register", &server, "invited@example.org");
    invited.ok(&[&enter[..], &["--invitation", token.trim()]].concat());
    assert_eq!(invited.json(&["plan"])["plan"], "paid");
    assert_eq!(root.json(&["admin", "invitation", "list", "--all"])[0]["state"], "used");
    assert!(invited.json(&["devices"])[0]["last_seen"].as_i64().is_some_and(|at| at > 0));
    root.ok(&["admin", "user", "delete", "invited@example.org", WHY]);
    let shown = root.ok(&["admin", "user", "show", "invited@example.org", WHY]);
    assert!(shown.contains("disabled, will be erased 20"), "{shown}");
}
