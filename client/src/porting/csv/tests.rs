use super::*;

fn login(item: &Item) -> &Login {
    match &item.body {
        Body::Login(login) => login,
        other => panic!("expected a login, not a {}", other.word()),
    }
}

#[test]
fn firefox_rows_get_the_host_as_a_name_and_keep_their_technical_columns() {
    let text = "\"url\",\"username\",\"password\",\"httpRealm\",\"formActionOrigin\",\"guid\",\"timeCreated\",\
        \"timeLastUsed\",\"timePasswordChanged\"\r\n\"https://a.example/x\",\"ada\",\"p,\"\"1\"\"\",,\"\",\"{1}\",\"1\",\"2\",\"3\"\r\n";
    let imported = parse(text).unwrap();
    assert_eq!(imported.source, "Firefox CSV");
    assert_eq!(imported.items[0].name.as_str(), "a.example");
    assert_eq!(login(&imported.items[0]).password.as_str(), "p,\"1\"");
    assert_eq!(imported.items[0].extra.0["firefox-csv"]["guid"], "{1}");
}

#[test]
fn chrome_and_semicolon_files_are_recognised_and_unknown_columns_become_fields() {
    let chrome = parse("name,url,username,password,note\nA,https://a,ada,1,\"two\nlines\"\n").unwrap();
    assert_eq!((chrome.source.as_str(), chrome.items[0].notes.as_str()), ("Chrome CSV", "two\nlines"));
    let other = parse("Title;Login Name;Password;PIN\nÄ;ада;🔑;0042\n").unwrap();
    assert_eq!(login(&other.items[0]).password.as_str(), "🔑");
    assert_eq!(other.items[0].get("PIN").unwrap().value.as_str(), "0042");
}

#[test]
fn bitwarden_csv_gives_fields_notes_and_several_addresses() {
    let text = "folder,favorite,type,name,notes,fields,reprompt,login_uri,login_username,login_password,login_totp\n\
        Work,1,login,A,,pin: 1,0,\"https://a,https://b\",ada,x,JBSW\n,,note,N,text,,0,,,,\n";
    let imported = parse(text).unwrap();
    assert_eq!(login(&imported.items[0]).uris.len(), 2);
    assert_eq!(imported.items[0].get("pin").unwrap().value.as_str(), "1");
    assert!(imported.items[0].favourite);
    assert_eq!(imported.items[1].body.word(), "note");
}

#[test]
fn a_line_with_too_many_values_or_an_open_quote_is_refused_with_its_line() {
    let error = parse("name,password\na,1\nb,2,3\n").unwrap_err();
    assert_eq!(error.place, Place::Line(3));
    assert_eq!(parse("name,password\na,\"1\nb,2\n").unwrap_err().place, Place::Line(2));
    assert_eq!(parse("name,password\nfive\" disk,\"1\"\"\"\n").unwrap().items.len(), 1);
    assert_eq!(parse("foo,bar\n1,2\n").unwrap_err().place, Place::Line(1));
}

#[test]
fn keepass_1_escapes_with_a_backslash_what_others_double() {
    let text = concat!(
        r#""Account","Login Name","Password","Web Site","Comments""#,
        "\r\n",
        r#""Mail","AD\\ada","p\"1\\","https://a","two"#,
        "\n",
        r#"lines, \\""#,
        "\r\n",
        r#""Shop \"best\"","","\\\"","","""#,
        "\r\n",
    );
    let imported = parse(text).unwrap();
    assert_eq!((imported.source.as_str(), imported.notes.len()), ("KeePass CSV", 0));
    let [mail, shop] = imported.items.as_slice() else { panic!("two items") };
    assert_eq!((login(mail).username.as_str(), login(mail).password.as_str()), ("AD\\ada", "p\"1\\"));
    assert_eq!(mail.notes.as_str(), "two\nlines, \\");
    assert_eq!((shop.name.as_str(), login(shop).password.as_str()), ("Shop \"best\"", "\\\""));
    // The quote that seems to close the last value is part of it.
    let open = parse(&text.replace(r#""\\\"","","""#, r#""\\\"\""#)).unwrap_err();
    assert_eq!((open.place, open.problem.contains("never closed")), (Place::Line(4), true), "{open}");
    // Elsewhere a backslash is a backslash.
    let other = parse("name,password\na,\"1\\\"\nb,2\n").unwrap();
    assert_eq!((other.items.len(), login(&other.items[0]).password.as_str()), (2, "1\\"));
}

#[test]
fn a_type_and_a_mark_that_nobody_knows_are_kept_as_fields_and_said() {
    let text =
        "title,password,type,favourite\nA,1,Card,\u{2605}\nB,2,LOGIN,no\nC,3,identity,YES\nD,,note,0\n";
    let imported = parse(text).unwrap();
    let value = |nth: usize, name: &str| {
        imported.items[nth]
            .fields
            .iter()
            .find(|field| field.name.as_str() == name)
            .map(|field| field.value.as_str())
    };
    assert_eq!((value(0, "type"), value(0, "favourite")), (Some("Card"), Some("\u{2605}")));
    assert_eq!((value(1, "type"), value(1, "favourite")), (None, None));
    assert_eq!((value(2, "type"), imported.items[2].favourite), (Some("identity"), true));
    assert_eq!(imported.items[3].body.word(), "note");
    assert_eq!(imported.notes.len(), 2, "{:?}", imported.notes);
    assert!(imported.notes[0].starts_with("2 items have a type"), "{:?}", imported.notes);
}

#[test]
fn a_line_that_holds_nothing_is_left_out_and_counted_though_firefox_says_when_it_was_made() {
    let header =
        "url,username,password,httpRealm,formActionOrigin,guid,timeCreated,timeLastUsed,timePasswordChanged";
    let empty = ",,,,,{2},1,2,3";
    let imported = parse(&format!("{header}\nhttps://a.example,ada,1,,,{{1}},1,2,3\n{empty}\n")).unwrap();
    assert_eq!(imported.items.len(), 1);
    assert_eq!(imported.notes, ["1 line holds nothing: it is left out"]);
    let imported = parse(&format!("{header}\n{empty}\n,,,,,,,,\n")).unwrap();
    assert!(imported.items.is_empty());
    assert_eq!(imported.notes, ["2 lines hold nothing: they are left out"]);
    // A password alone is something.
    assert_eq!(parse(&format!("{header}\n,,p,,,,,,\n")).unwrap().items.len(), 1);
}
