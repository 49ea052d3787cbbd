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
