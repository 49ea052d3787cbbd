//! What an operator deploys: docker-compose.yml, Dockerfile and deploy/, read as Docker and the server would read them.

mod compose;
mod image;

use crate::sources::root;

fn text(file: &str) -> String {
    std::fs::read_to_string(root().join(file)).unwrap_or_else(|error| panic!("read {file}: {error}"))
}
