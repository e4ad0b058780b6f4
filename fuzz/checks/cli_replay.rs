//! A line of an access log holds a request that can be decided, or none.

use portcullis::cli::replayed;

pub fn check(bytes: &[u8]) {
    let line = bytes.split(|&byte| byte == b'\n').next().unwrap_or_default();
    let Some([host, method, target]) = replayed(line) else {
        return;
    };
    assert!(!method.is_empty() && !target.is_empty());
    // Nothing comes out that did not go in, escapes undone.
    assert!(host.len() + method.len() + target.len() <= line.len() + 1);
}
