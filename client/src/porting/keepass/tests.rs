use super::*;
use crate::porting::item::CustomKind;

const FILE: &str = r#"<?xml version="1.0" encoding="utf-8" standalone="yes"?>
<KeePassFile><Meta><RecycleBinUUID>BIN=</RecycleBinUUID><Binaries><Binary ID="0">c2Nhbg==</Binary></Binaries></Meta><Root><Group><UUID>R</UUID><Name>Database</Name>
<Group><UUID>W</UUID><Name>Work &amp; more</Name><Entry><UUID>E1</UUID><Tags>a;b</Tags>
<String><Key>Title</Key><Value>Caf&#233;</Value></String>
<String><Key>Password</Key><Value ProtectInMemory="True">p&lt;&quot;1</Value></String>
<String><Key>URL</Key><Value>https://a</Value></String><String><Key>KP2A_URL_1</Key><Value>https://b</Value></String>
<String><Key>PIN</Key><Value ProtectInMemory="True">1</Value></String><String><Key>Empty</Key><Value /></String>
<Binary><Key>scan.pdf</Key><Value Ref="0"/></Binary>
<History><Entry><Times><LastModificationTime>2020-01-01T00:00:00Z</LastModificationTime></Times>
<String><Key>Title</Key><Value>Old</Value></String><String><Key>Password</Key><Value>p0</Value></String></Entry></History>
</Entry></Group>
<Group><UUID>BIN=</UUID><Name>Recycle Bin</Name><Entry><UUID>E2</UUID></Entry></Group>
</Group></Root></KeePassFile>"#;

/// Everything that an entry and its group can say, with an earlier state that differs in all of it.
const FULL: &str = r#"<KeePassFile><Meta><RecycleBinUUID>BIN</RecycleBinUUID><CustomData><Item><Key>theme</Key><Value>dark</Value></Item></CustomData></Meta>
<Root><Group><UUID>R</UUID><Notes>about</Notes><Tags>t</Tags><CustomData><Item><Key>of the group</Key><Value>x</Value></Item></CustomData>
<Entry><UUID>E1</UUID><IconID>0</IconID><CustomIconUUID>I</CustomIconUUID><ForegroundColor>#FF0000</ForegroundColor><BackgroundColor />
<OverrideURL>cmd://ssh</OverrideURL><QualityCheck>True</QualityCheck><Tags>a</Tags>
<Times><CreationTime>2019-01-01T00:00:00Z</CreationTime><ExpiryTime>5CCt1Q4AAAA=</ExpiryTime><Expires>True</Expires></Times>
<String><Key>Title</Key><Value>now</Value></String><String><Key>Password</Key><Value>p1</Value></String>
<String><Key>TimeOtp-Length</Key><Value>8</Value></String><String><Key>TimeOtp-Secret-Base32</Key><Value ProtectInMemory="True">JBSW</Value></String>
<AutoType><Enabled>True</Enabled><DefaultSequence /><Association><Window>Bank*</Window><KeystrokeSequence>{PASSWORD}</KeystrokeSequence></Association></AutoType>
<CustomData><Item><Key>plugin</Key><Value>{"a":1}</Value></Item><Item><Key>key</Key><Value ProtectInMemory="True">k</Value></Item></CustomData>
<History><Entry><UUID>E1</UUID><OverrideURL>cmd://telnet</OverrideURL><Times><LastModificationTime>2020-01-01T00:00:00Z</LastModificationTime></Times>
<String><Key>UserName</Key><Value>before</Value></String><String><Key>Password</Key><Value>p0</Value></String></Entry>
<Entry><Times><Expires>False</Expires></Times><String><Key>Title</Key><Value>now</Value></String><String><Key>Password</Key><Value>p00</Value></String></Entry></History></Entry>
<Group><UUID>BIN</UUID><Notes>of the bin</Notes></Group>
</Group></Root></KeePassFile>"#;

#[test]
fn what_stands_beside_the_strings_of_an_entry_comes_along_or_is_named() {
    let imported = parse(FULL, Options::default()).unwrap();
    let item = &imported.items[0];
    let fields: Vec<(&str, &str, bool)> = item
        .fields
        .iter()
        .map(|field| (field.name.as_str(), field.value.as_str(), field.kind == CustomKind::Hidden))
        .collect();
    let wanted = [
        ("Override URL", "cmd://ssh", false),
        ("plugin", "{\"a\":1}", false),
        ("key", "k", true),
        ("Expires", "2020-01-12T14:15:00Z", false),
    ];
    assert_eq!(fields, wanted);
    assert_eq!(item.get("totp").unwrap().value.as_str(), "otpauth://totp/now?secret=JBSW&digits=8");
    let old: Vec<&str> = item.history.iter().map(|old| old.password.as_str()).collect();
    assert_eq!(old, ["p00", "p0"]);
    let notes = [
        "1 earlier state of an entry differs in more than its password, user name and address: only those are kept",
        "1 entry has auto-type settings, which are left out",
        "1 entry has an icon or colours of its own, which are left out",
        "2 notes and lists of tags of groups are left out",
    ];
    assert_eq!(imported.notes, notes);
    let never = FULL.replace("<Expires>True", "<Expires>False");
    assert!(parse(&never, Options::default()).unwrap().items[0].get("Expires").is_none());
    let locked = FULL.replace("<Key>key</Key><Value ProtectInMemory", "<Key>key</Key><Value Protected");
    assert!(parse(&locked, Options::default()).unwrap_err().problem.contains("still encrypted"));
}

#[test]
fn an_earlier_password_says_for_whom_and_where_it_was_if_that_has_changed() {
    let state = |user: &str, url: &str, password: &str| {
        format!(
            "<String><Key>UserName</Key><Value>{user}</Value></String><String><Key>URL</Key><Value>{url}</Value></String>\
             <String><Key>Password</Key><Value>{password}</Value></String>"
        )
    };
    let read = |history: &[String]| {
        let history: String = history.iter().map(|state| format!("<Entry>{state}</Entry>")).collect();
        let text = format!(
            "<KeePassFile><Root><Group><Entry>{}<History>{history}</History></Entry></Group></Root></KeePassFile>",
            state("ada", "https://new", "p3")
        );
        parse(&text, Options::default()).unwrap()
    };
    let imported = read(&[state("eve", "https://old", "p1"), state("ada", "https://old", "p2")]);
    let history = &imported.items[0].history;
    let said: Vec<String> = history.iter().map(|old| serde_json::to_string(&old.extra).unwrap()).collect();
    assert_eq!(said, [r#"{"uri":"https://old"}"#, r#"{"uri":"https://old","username":"eve"}"#]);
    assert!(imported.notes.is_empty(), "nothing is left out: {:?}", imported.notes);
    // A name without a password of its own has no place.
    let imported = read(&[state("eve", "https://new", "p1"), state("bob", "https://new", "p1")]);
    assert_eq!((imported.items[0].history.len(), imported.notes.len()), (1, 1));
}

#[test]
fn groups_become_folders_and_the_strings_files_tags_and_old_passwords_of_an_entry_come_along() {
    let imported = parse(FILE, Options::default()).unwrap();
    assert_eq!(imported.items.len(), 1);
    let item = &imported.items[0];
    let value = |name: &str| item.get(name).map(|field| field.value.as_str().to_owned()).unwrap_or_default();
    assert_eq!((value("name"), value("folder")), ("Café".into(), "Work & more".into()));
    assert_eq!((value("password"), value("uri2")), ("p<\"1".into(), "https://b".into()));
    assert_eq!(value("tags"), "a, b");
    assert!(item.get("PIN").unwrap().masked);
    assert_eq!(item.history[0].password.as_str(), "p0");
    assert_eq!(item.attachments[0].name.as_str(), "scan.pdf");
    assert_eq!(item.fields.len(), 2, "the PIN and the empty one");
    assert_eq!(imported.notes.len(), 2, "the title that it had, and the bin: {:?}", imported.notes);
}

#[test]
fn the_recycle_bin_comes_along_only_when_asked() {
    assert_eq!(parse(FILE, Options { with_trash: true, ..Options::default() }).unwrap().items.len(), 2);
}

#[test]
fn entity_bombs_encrypted_values_deep_nesting_and_cut_files_are_refused() {
    let problem = |text: &str| parse(text, Options::default()).unwrap_err().to_string();
    let bomb = "<?xml version=\"1.0\"?>\n<!DOCTYPE x [<!ENTITY a \"aaaa\">]><KeePassFile>&a;</KeePassFile>";
    assert!(problem(bomb).contains("line 2: has a document type"));
    assert!(problem("<KeePassFile>&a;</KeePassFile>").contains("entity"));
    let locked = FILE.replace("ProtectInMemory=\"True\"", "Protected=\"True\"");
    assert!(problem(&locked).contains("still encrypted"));
    let deep = format!("<KeePassFile>{}", "<Group>".repeat(100_000));
    assert!(problem(&deep).contains("nested deeper"));
    assert!(problem(&FILE[..FILE.len() - 30]).contains("Nothing was imported"));
    assert!(problem("<html></html>").contains("not a KeePass 2 file"));
}
