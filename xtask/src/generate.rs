//! Files that are made from code and committed, so that a change of them is seen in a review.

use crate::build;
use crate::process::{self, Doing, Result, fail};
use crate::steps::Achieved;
use clap::Args;
use std::process::Command;

#[derive(Args)]
pub struct Options {
    /// Changes nothing; fails if a file is not what the code would write.
    #[arg(long)]
    check: bool,
}

/// One committed file, and the program of ours with the arguments that print it.
struct Generated {
    file: &'static str,
    program: &'static str,
    arguments: &'static [&'static str],
}

/// Add a line here for every file that a command of ours prints.
const GENERATED: &[Generated] = &[
    Generated { file: "docs/openapi.json", program: "lockstepd", arguments: &["openapi"] },
    Generated { file: "docs/asyncapi.json", program: "lockstepd", arguments: &["asyncapi"] },
];

/// `cargo xtask generate`.
pub fn run(options: &Options) -> Result<()> {
    if options.check {
        return check().map(|summary| println!("{summary}"));
    }
    for generated in GENERATED {
        let path = process::root().join(generated.file);
        let text = generated.print()?;
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).doing(format!("create {}", folder.display()))?;
        }
        std::fs::write(&path, text).doing(format!("write {}", generated.file))?;
        println!("wrote {}", generated.file);
    }
    Ok(())
}

/// Compares every file with what its command prints now.
pub fn check() -> Achieved {
    let mut stale = Vec::new();
    for generated in GENERATED {
        let committed = std::fs::read_to_string(process::root().join(generated.file)).unwrap_or_default();
        if committed != generated.print()? {
            stale.push(generated.file);
        }
    }
    if stale.is_empty() {
        return Ok(format!("{} files", GENERATED.len()));
    }
    fail(format!("stale: {}; run cargo xtask generate", stale.join(", ")))
}

impl Generated {
    fn print(&self) -> Result<String> {
        process::answer(Command::new(build::program(self.program)?).args(self.arguments))
    }
}
