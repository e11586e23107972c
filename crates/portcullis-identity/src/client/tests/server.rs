//! A token server on loopback: answers by script, writes down what it was asked.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

/// One request as it arrived.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    /// Scheme and authority it was sent to.
    pub(super) base: String,
    pub(super) path: String,
    pub(super) authorization: Option<String>,
    pub(super) form: BTreeMap<String, String>,
}

impl Asked {
    pub(super) fn field(&self, name: &str) -> Option<&str> {
        self.form.get(name).map(String::as_str)
    }
}

type Script = Arc<dyn Fn(usize, Asked) -> BoxFuture<'static, Response<Full<Bytes>>> + Send + Sync>;

pub(super) struct TokenServer {
    pub(super) base: String,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl TokenServer {
    /// `script` gets the number of requests before, and the request.
    pub(super) async fn scripted<F, Fut>(script: F) -> Self
    where
        F: Fn(usize, Asked) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Response<Full<Bytes>>> + Send + 'static,
    {
        let script: Script = Arc::new(move |before, asked| Box::pin(script(before, asked)));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let asked = Arc::<Mutex<Vec<Asked>>>::default();
        let log = Arc::clone(&asked);
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let (script, log) = (Arc::clone(&script), Arc::clone(&log));
                let service = service_fn(move |request| answer(Arc::clone(&script), Arc::clone(&log), request));
                tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(socket), service));
            }
        });
        Self { base, asked }
    }

    /// Answers from a function that needs not wait.
    pub(super) async fn answering(
        script: impl Fn(usize, &Asked) -> Response<Full<Bytes>> + Send + Sync + 'static,
    ) -> Self {
        Self::scripted(move |before, asked| {
            let answer = script(before, &asked);
            async move { answer }
        })
        .await
    }

    /// A new token each time: `t0`, `t1` and so on, good for an hour.
    pub(super) async fn counting() -> Self {
        Self::answering(|before, _| token(&format!("t{before}"), 3600)).await
    }

    pub(super) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }
}

async fn answer(
    script: Script,
    log: Arc<Mutex<Vec<Asked>>>,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.map(|body| body.to_bytes()).unwrap_or_default();
    let authorization = head.headers.get("authorization").map(|value| value.to_str().unwrap().to_owned());
    let form = url::form_urlencoded::parse(&body).into_owned().collect();
    let base = format!("http://{}", head.headers["host"].to_str().unwrap());
    let asked = Asked { base, path: head.uri.path().to_owned(), authorization, form };
    let before = {
        let mut log = log.lock().unwrap();
        log.push(asked.clone());
        log.len() - 1
    };
    Ok(script(before, asked).await)
}

pub(super) fn json(status: u16, body: impl Into<String>) -> Response<Full<Bytes>> {
    let answer = Response::builder().status(status).header("content-type", "application/json");
    answer.body(Full::from(body.into())).unwrap()
}

/// What both grants accept.
pub(super) fn token(token: &str, seconds: u64) -> Response<Full<Bytes>> {
    json(
        200,
        format!(
            r#"{{"access_token":"{token}","token_type":"Bearer","expires_in":{seconds},"issued_token_type":"urn:ietf:params:oauth:token-type:access_token"}}"#
        ),
    )
}
