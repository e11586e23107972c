use super::{PING, start};
use crate::settings::ServerSettings;
use crate::testing::{Answer, Client, INITIALIZE, api_key, collect};

const APP: &str = "https://app.example.com";

fn settings() -> ServerSettings {
    ServerSettings { allowed_origins: Some(vec!["https://*.example.com".to_owned()]), ..ServerSettings::default() }
}

async fn preflight(client: &Client) -> Answer {
    let client = client
        .with("access-control-request-method", "POST")
        .with("access-control-request-headers", "content-type,mcp-session-id,mcp-param-region,cookie");
    collect(client.open("OPTIONS", "").await).await
}

#[tokio::test]
async fn a2_a_page_on_an_allowed_origin_may_ask_first_and_needs_no_key_for_that() {
    let mut settings = settings();
    settings.identity.anonymous = Some(false);
    settings.identity.keys = vec![api_key("alice")];
    let running = start(settings).await;
    let answer = preflight(&running.client().with("origin", APP)).await;
    assert_eq!((answer.status, answer.body.as_str()), (204, ""));
    for (name, value) in [
        ("access-control-allow-origin", APP),
        ("access-control-allow-methods", "GET, POST, DELETE"),
        ("access-control-allow-headers", "content-type, mcp-session-id, mcp-param-region"),
    ] {
        assert_eq!(answer.headers[name], value, "{name}");
    }
    let vary: Vec<_> = answer.headers.get_all("vary").iter().collect();
    assert!(vary.iter().any(|value| *value == "origin"), "{vary:?}");
    // What follows needs the key, and the page can read that it does.
    let refused = running.client().with("origin", APP).post(INITIALIZE).await;
    assert_eq!(refused.status, 401, "{refused:?}");
    assert_eq!(refused.headers["access-control-allow-origin"], APP);
    assert!(refused.headers["access-control-expose-headers"].to_str().unwrap().contains("www-authenticate"));
}

#[tokio::test]
async fn a_page_can_read_every_answer_the_errors_included_and_never_with_credentials() {
    let running = start(settings()).await;
    let page = running.client().with("origin", APP);
    for (client, body, status) in [
        (page.clone(), INITIALIZE, 200),
        (page.clone(), "{", 400),
        (page.with("accept", "text/html"), PING, 406),
        (page.with("content-type", "text/plain"), PING, 415),
        (page.with("mcp-session-id", "forged").with("mcp-protocol-version", "2025-11-25"), PING, 404),
    ] {
        let answer = client.post(body).await;
        assert_eq!(answer.status, status, "{answer:?}");
        assert_eq!(answer.headers["access-control-allow-origin"], APP, "{status}");
        assert!(!answer.headers.contains_key("access-control-allow-credentials"));
    }
    let without = running.client().post(INITIALIZE).await;
    assert!(!without.headers.contains_key("access-control-allow-origin"));
}

#[tokio::test]
async fn a3_a_foreign_page_is_refused_at_the_preflight_with_an_error_that_has_no_id() {
    let running = start(settings()).await;
    for origin in ["https://example.com", "https://app.example.com.evil.example", "http://app.example.com", "null"] {
        let answer = preflight(&running.client().with("origin", origin)).await;
        assert_eq!(answer.status, 403, "{origin}");
        assert!(answer.body.contains("origin_refused") && !answer.body.contains(r#""id":"#), "{}", answer.body);
        assert!(!answer.headers.contains_key("access-control-allow-origin"), "{origin}");
    }
}

#[tokio::test]
async fn options_without_a_page_that_asks_first_is_no_method_here() {
    let running = start(settings()).await;
    let asks = running.client().with("access-control-request-method", "POST");
    for client in [running.client(), asks, running.client().with("origin", APP)] {
        let answer = collect(client.open("OPTIONS", "").await).await;
        assert_eq!(answer.status, 405, "{answer:?}");
    }
}
