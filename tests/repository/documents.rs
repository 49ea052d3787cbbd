//! A document that points at something points at something that exists.

use crate::sources::{Source, ending_with, expect_none, root};
use std::path::Path;

/// The targets of `[text](target)` outside code.
fn links(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut in_code = false;
    for line in text.lines() {
        in_code ^= line.trim_start().starts_with("```");
        if in_code {
            continue;
        }
        for (at, _) in line.match_indices("](") {
            let rest = &line[at + 2..];
            found.extend(rest.find(')').map(|end| rest[..end].to_owned()));
        }
    }
    found
}

/// The anchor that a heading gets: lower case, spaces to hyphens, punctuation gone.
fn anchor(heading: &str) -> String {
    let kept = heading.trim().to_lowercase();
    let kept = kept.chars().filter(|letter| letter.is_alphanumeric() || matches!(letter, ' ' | '-' | '_'));
    kept.map(|letter| if letter == ' ' { '-' } else { letter }).collect()
}

fn has_anchor(document: &Path, wanted: &str) -> bool {
    let text = std::fs::read_to_string(document).unwrap_or_default();
    let headings = text.lines().filter(|line| line.starts_with('#'));
    headings.map(|line| anchor(line.trim_start_matches('#'))).any(|heading| heading == wanted)
}

fn is_broken(source: &Source, target: &str) -> bool {
    if target.contains("://") || target.starts_with("mailto:") {
        return false;
    }
    let (file, heading) =
        target.split_once('#').map_or((target, None), |(file, heading)| (file, Some(heading)));
    let here = root().join(&source.path);
    let pointed = if file.is_empty() { here.clone() } else { here.parent().unwrap().join(file) };
    !pointed.exists() || heading.is_some_and(|heading| !has_anchor(&pointed, heading))
}

#[test]
fn every_link_leads_somewhere() {
    let mut broken = Vec::new();
    for source in ending_with(&[".md"]) {
        let wrong = links(&source.text).into_iter().filter(|target| is_broken(&source, target));
        broken.extend(wrong.map(|target| format!("{} → {target}", source.path)));
    }
    expect_none("every relative link in a document exists", &broken);
}

#[test]
fn a_link_in_code_is_not_a_link_and_an_anchor_is_spelled_as_the_web_does() {
    assert_eq!(links("see [a](b.md#c)\n```\n[x](y)\n```\n[d](e)"), ["b.md#c", "e"]);
    assert_eq!(anchor(" Life of a push (§2)"), "life-of-a-push-2");
}
