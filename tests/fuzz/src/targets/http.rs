//! Requests to the port of the probes.

/// Whatever is sent is answered, or refused.
pub fn play(bytes: &[u8]) {
    let answers = kubekit::http::fuzzing::answers(bytes);
    assert!(answers.is_empty() || answers.starts_with(b"HTTP/1."), "{:?}", String::from_utf8_lossy(&answers));
}
