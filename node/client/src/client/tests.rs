use super::*;

#[test]
fn only_urls_of_http_servers_are_taken() {
    for url in ["", "127.0.0.1:4000", "ftp://example.org", "http://"] {
        let error = Client::new(url, None).unwrap_err();
        assert_eq!(error.code(), "url", "{url}");
    }
    let client = Client::new("http://localhost:4000/", None).unwrap();
    assert_eq!(client.url(), "http://localhost:4000");
}

#[test]
fn loopback_peers_are_local() {
    let is_local = |url| Client::new(url, None).unwrap().is_local();
    for url in ["http://127.0.0.1:1", "http://[::1]:1", "http://localhost:1"] {
        assert!(is_local(url), "{url}");
    }
    assert!(!is_local("https://peer.example"));
}

#[test]
fn texts_of_all_kinds_fit_into_a_path() {
    assert_eq!(escape("a b/c?ü"), "a%20b%2Fc%3F%C3%BC");
}

#[test]
fn a_refusal_speaks_with_the_peers_words() {
    let body = br#"{"error":{"code":"quota","message":"too much","hint":"wait"}}"#;
    let error = ClientError::from_body(StatusCode::TOO_MANY_REQUESTS, body, Some(5), "/relay");
    assert_eq!(error.code(), "quota");
    assert_eq!(error.to_string(), "too much");
    assert_eq!(error.hint().as_deref(), Some("wait"));
    assert!(error.is_retryable());
    let bare = ClientError::from_body(StatusCode::NOT_FOUND, b"<html>", None, "/x");
    assert!(bare.is_not_found());
    assert_eq!(bare.to_string(), "the peer answered 404 Not Found to /x");
}

#[test]
fn whoever_lacks_the_token_is_told_where_it_lies() {
    let body = br#"{"error":{"code":"token_needed","message":"no","hint":"send a header"}}"#;
    let error = ClientError::from_body(StatusCode::UNAUTHORIZED, body, None, "/v1/control/roots");
    let hint = error.hint().unwrap();
    assert!(
        hint.contains("`--token`") && hint.contains("file `token`"),
        "{hint}"
    );
}

#[tokio::test]
async fn an_absent_peer_is_named() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let error = Client::new(&url, None).unwrap().node().await.unwrap_err();
    assert_eq!(error.code(), "unreachable");
    assert!(error.to_string().contains(&url), "{error}");
}
