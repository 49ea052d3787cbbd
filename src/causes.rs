//! What an error says to whoever operates the server.

/// An error with its causes. Libraries repeat a cause in the words of what it caused: it is said once.
pub fn with_causes(error: &(dyn std::error::Error + 'static)) -> String {
    let mut said = error.to_string();
    let mut cause = error.source();
    while let Some(source) = cause {
        let words = source.to_string();
        if !said.ends_with(&words) {
            said = format!("{said}: {words}");
        }
        cause = source.source();
    }
    said
}
