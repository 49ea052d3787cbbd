//! The repository's own files, read once for each test.

use std::path::{Path, PathBuf};

/// A text file, by its path from the root with forward slashes.
pub struct Source {
    pub path: String,
    pub text: String,
}

pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every text file whose path ends with one of `endings`, except what is built or downloaded.
pub fn ending_with(endings: &[&str]) -> Vec<Source> {
    let mut found = Vec::new();
    let mut folders = vec![root().to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let entry = entry.unwrap();
            let name = entry.file_name().to_string_lossy().into_owned();
            if entry.file_type().unwrap().is_dir() {
                let is_ours = !matches!(name.as_str(), "target" | ".git" | "lockstep-data" | "node_modules");
                folders.extend(is_ours.then(|| entry.path()));
            } else if endings.iter().any(|ending| name.ends_with(ending)) {
                found.push(read(&entry.path()));
            }
        }
    }
    found.sort_by(|one, other| one.path.cmp(&other.path));
    assert!(!found.is_empty(), "no files ending with {endings:?} below {}", root().display());
    found
}

/// All Rust files.
pub fn rust() -> Vec<Source> {
    ending_with(&[".rs"])
}

fn read(file: &PathBuf) -> Source {
    let path = file.strip_prefix(root()).unwrap().to_string_lossy().replace('\\', "/");
    let text =
        String::from_utf8(std::fs::read(file).unwrap()).unwrap_or_else(|_| panic!("{path} is not UTF-8"));
    Source { path, text }
}

impl Source {
    /// Whether it lies in `room`: the file `room.rs` or anything in the folder `room/`.
    pub fn is_in(&self, room: &str) -> bool {
        self.path.strip_prefix(room).is_some_and(|rest| rest.starts_with('/') || rest == ".rs")
    }

    /// Whether it is only compiled for tests: a test binary, a contract suite, or a file of tests beside its module.
    pub fn is_test(&self) -> bool {
        let in_folder =
            |folder: &str| self.path.starts_with(folder) || self.path.contains(&format!("/{folder}"));
        let name = self.path.rsplit('/').next().unwrap();
        let is_named = name == "tests.rs" || name.ends_with("_tests.rs") || name == "testing.rs";
        is_named || ["tests/", "testing/", "benches/", "examples/"].into_iter().any(in_folder)
    }

    /// The code that ships: without comments, and without the tests that stand at the end of the file.
    pub fn shipped(&self) -> String {
        let code = match self.text.find("#[cfg(test)]\nmod ") {
            Some(at) if self.text[at..].lines().nth(1).is_some_and(|line| line.ends_with('{')) => {
                &self.text[..at]
            }
            _ => &self.text,
        };
        let lines = code.lines().map(|line| match line.trim_start() {
            comment if comment.starts_with("//") => "",
            _ => line.split(" // ").next().unwrap(),
        });
        lines.collect::<Vec<_>>().join("\n")
    }
}

/// `path:line` of every line of `text` that `is_wrong` points at.
pub fn lines_where(path: &str, text: &str, is_wrong: impl Fn(&str) -> bool) -> Vec<String> {
    let numbered = text.lines().enumerate().filter(|(_, line)| is_wrong(line));
    numbered.map(|(index, line)| format!("{path}:{}: {}", index + 1, line.trim())).collect()
}

/// Fails with a list of what was found.
pub fn expect_none(rule: &str, found: &[String]) {
    assert!(found.is_empty(), "{rule}\n  {}\n", found.join("\n  "));
}
