//! What a cheating server can try, and the tests that try it: none is lost silently.

use crate::sources::{root, rust};

fn table() -> Vec<(String, String)> {
    let document = std::fs::read_to_string(root().join("docs/evil-server.md")).unwrap();
    let rows = document.lines().filter_map(|line| line.strip_prefix("| E"));
    rows.map(|row| {
        let case = format!("E{}", row.split(' ').next().unwrap());
        (case, row.rsplit('|').nth(1).unwrap().to_owned())
    })
    .collect()
}

#[test]
fn every_case_of_a_cheating_server_is_in_the_table_once() {
    let cases: Vec<String> = table().into_iter().map(|(case, _)| case).collect();
    let all: Vec<String> = (1..=36).map(|n| format!("E{n:02}")).collect();
    assert_eq!(cases, all);
}

#[test]
fn every_case_but_checkpoints_has_tests_and_each_of_them_exists() {
    let sources = rust();
    for (case, tests) in table() {
        let named: Vec<&str> = tests.split('`').skip(1).step_by(2).collect();
        assert_eq!(named.is_empty(), case == "E28", "{case}");
        for test in named {
            let function = format!("fn {test}(");
            let exists = sources.iter().any(|source| source.text.contains(&function));
            assert!(exists, "docs/evil-server.md names {test}, which is no test");
        }
    }
}

#[test]
fn every_test_that_is_named_for_a_case_is_in_the_table() {
    let table: String = table().into_iter().map(|(_, tests)| tests).collect();
    let mut found = 0;
    for source in rust() {
        for name in source.text.split("fn ").skip(1).filter_map(|rest| rest.split('(').next()) {
            let mut letters = name.chars();
            let numbered = letters.next() == Some('e')
                && letters.by_ref().take(2).filter(char::is_ascii_digit).count() == 2
                && letters.next() == Some('_');
            if numbered {
                assert!(table.contains(&format!("`{name}`")), "docs/evil-server.md does not name {name}");
                found += 1;
            }
        }
    }
    assert!(found > 36, "{found}");
}
