//! Embedded, and over Postgres, NATS and S3: the same server, the same tests.

use lockstepd::adapters::s3::{S3Blobs, S3Options};
use uuid::Uuid;

use super::database;

/// What the server stands on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    Embedded,
    Distributed,
}

/// Both.
pub const MODES: [Mode; 2] = [Mode::Embedded, Mode::Distributed];

fn service(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set: run cargo xtask test"))
}

impl Mode {
    /// The options of a server on fresh ground: a database and a bucket of its own.
    pub async fn options(self) -> Vec<(String, String)> {
        if self == Self::Embedded {
            return Vec::new();
        }
        let name = format!("sync-{}", Uuid::new_v4());
        let database = database::fresh("sync").await;
        let s3 = S3Options {
            endpoint: service("LOCKSTEP_TEST_S3"),
            public_endpoint: String::new(),
            region: "us-east-1".to_owned(),
            bucket: name.clone(),
            access_key: service("LOCKSTEP_TEST_S3_KEY"),
            secret_key: service("LOCKSTEP_TEST_S3_SECRET"),
        };
        S3Blobs::new(&s3).make_bucket().await.unwrap();
        let options = [
            ("LOG", database.clone()),
            ("READS", database.clone()),
            ("CREDENTIALS", database),
            ("BUS", service("LOCKSTEP_TEST_NATS")),
            ("BLOBS", format!("s3://{name}")),
            ("S3_ENDPOINT", s3.endpoint.clone()),
            ("S3_PUBLIC_ENDPOINT", s3.endpoint),
            ("S3_ACCESS_KEY", s3.access_key),
            ("S3_SECRET_KEY", s3.secret_key),
        ];
        options.map(|(name, value)| (format!("LOCKSTEP_{name}"), value)).to_vec()
    }
}
