use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::StatusCode;
use url::Url;

use super::testing::{Answer, Server};
use super::{FetchError, Fetcher, MOST_BYTES};

fn fetcher() -> Fetcher {
    Fetcher::new(None).unwrap()
}

#[tokio::test]
async fn a_redirect_is_not_followed_f40() {
    let server = Server::start().await;
    server.json("/target", "{}");
    server.set("/keys", Answer::Redirect(format!("{}/target", server.base)));
    let redirected = FetchError::Redirect(StatusCode::FOUND);
    assert_eq!(fetcher().get(&server.url("/keys")).await, Err(redirected.clone()));
    assert_eq!(fetcher().post_form(&server.url("/keys"), &[], None).await, Err(redirected));
    assert_eq!(server.asked("/target").len(), 0);
}

#[tokio::test]
async fn an_answer_may_have_256_kib_and_no_byte_more() {
    let server = Server::start().await;
    server.json("/most", "x".repeat(MOST_BYTES));
    server.json("/more", "x".repeat(MOST_BYTES + 1));
    assert_eq!(fetcher().get(&server.url("/most")).await.unwrap().len(), MOST_BYTES);
    assert_eq!(fetcher().get(&server.url("/more")).await, Err(FetchError::TooLarge));
}

#[tokio::test(start_paused = true)]
async fn a_server_that_does_not_answer_is_given_up() {
    let server = Server::start().await;
    server.set("/keys", Answer::Silence);
    assert_eq!(fetcher().get(&server.url("/keys")).await, Err(FetchError::TimedOut));
}

#[tokio::test]
async fn a_server_that_is_down_is_an_error() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = Url::parse(&format!("http://{}/", listener.local_addr().unwrap())).unwrap();
    drop(listener);
    assert!(matches!(fetcher().get(&url).await, Err(FetchError::Unreachable(_))));
}

#[tokio::test]
async fn plain_http_to_another_machine_is_not_even_tried_f11() {
    for url in [
        "http://192.0.2.1/keys",
        "http://localhost.example.com/keys",
        "http://user@127.0.0.1/keys",
        "https://user:password@login.example.com/keys",
        "ftp://127.0.0.1/keys",
        "file:///etc/passwd",
    ] {
        assert_eq!(fetcher().get(&Url::parse(url).unwrap()).await, Err(FetchError::Insecure), "{url}");
    }
}

#[tokio::test]
async fn another_status_than_200_is_no_answer_to_get_and_is_told_after_a_form() {
    let server = Server::start().await;
    server.set("/it", Answer::Text(400, "no".to_owned()));
    assert_eq!(fetcher().get(&server.url("/it")).await, Err(FetchError::Status(StatusCode::BAD_REQUEST)));
    let (status, body) = fetcher().post_form(&server.url("/it"), &[], None).await.unwrap();
    assert_eq!((status, &body[..]), (StatusCode::BAD_REQUEST, &b"no"[..]));
}

#[tokio::test]
async fn form_fields_and_both_halves_of_the_credentials_are_encoded() {
    let server = Server::start().await;
    server.json("/token", "{}");
    let form = [("token", "a&b=c"), ("hint", "ü")];
    fetcher().post_form(&server.url("/token"), &form, Some(("id:1", "p ss%"))).await.unwrap();
    let asked = server.asked("/token").remove(0);
    assert_eq!(asked.body, "token=a%26b%3Dc&hint=%C3%BC");
    let credentials = asked.authorization.unwrap();
    let decoded = STANDARD.decode(credentials.strip_prefix("Basic ").unwrap()).unwrap();
    assert_eq!(decoded, b"id%3A1:p+ss%25");
}

#[test]
fn roots_that_cannot_be_used_are_an_error_at_construction() {
    let folder = tempfile::tempdir().unwrap();
    let empty = folder.path().join("empty.pem");
    std::fs::write(&empty, "no certificate").unwrap();
    assert!(Fetcher::new(Some(&empty)).unwrap_err().contains("no certificate"));
    assert!(Fetcher::new(Some(&folder.path().join("absent.pem"))).unwrap_err().contains("absent.pem"));
}
