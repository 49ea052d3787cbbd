//! What a server asks of the system for itself before it opens anything.

use rustix::{
    fs::Mode,
    process::{Resource, Rlimit, getrlimit, setrlimit, umask},
};

/// Open files beside connections: databases, blobs, uploads.
const OTHERS: u64 = 256;

/// What it makes only its owner may read, whatever folder it is in; and it may have as many files open as the system lets
/// it. Each connection is one.
pub fn prepare(connections: usize) {
    umask(Mode::RWXG | Mode::RWXO);
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    let raised = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
    let open = getrlimit(Resource::Nofile).current;
    let wanted = connections as u64 + OTHERS;
    if raised.is_err() || open.is_some_and(|open| open < wanted) {
        tracing::warn!(
            open,
            wanted,
            "fewer files may be open than max_connections needs: raise the limit (ulimit -n)"
        );
    }
}

/// A crash writes no core dump: the server's keys stand in its memory. On Linux the process is also none that another
/// program of its user can attach to. A system that refuses this is as safe as it was, so nothing is said.
pub fn keep_memory_private() {
    let _ = setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) });
    #[cfg(target_os = "linux")]
    let _ = rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable);
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use rustix::process::{DumpableBehavior, dumpable_behavior};

    use super::*;

    #[test]
    fn a_server_leaves_no_core_dump_and_cannot_be_attached_to() {
        keep_memory_private();
        let core = getrlimit(Resource::Core);
        assert_eq!((core.current, core.maximum), (Some(0), Some(0)));
        assert_eq!(dumpable_behavior().unwrap(), DumpableBehavior::NotDumpable);
    }
}
