//! A real HTTP server on loopback that answers as a test says, and remembers what it was asked.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::header::{AUTHORIZATION, LOCATION};
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use url::Url;

/// What a path answers. Paths that nothing was said about answer 404.
#[derive(Clone)]
pub(crate) enum Answer {
    Text(u16, String),
    Redirect(String),
    Silence,
    /// Answers as often as the semaphore has permits.
    Gated(Arc<Semaphore>, String),
}

#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) path: String,
    pub(crate) authorization: Option<String>,
    pub(crate) body: String,
}

#[derive(Clone)]
pub(crate) struct Server {
    pub(crate) base: String,
    answers: Arc<Mutex<HashMap<String, Answer>>>,
    asked: Arc<Mutex<Vec<Asked>>>,
    arrivals: Arc<Semaphore>,
}

impl Server {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = Self {
            base: format!("http://{}", listener.local_addr().unwrap()),
            answers: Arc::default(),
            asked: Arc::default(),
            arrivals: Arc::new(Semaphore::new(0)),
        };
        let serving = server.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let serving = serving.clone();
                tokio::spawn(http1::Builder::new().serve_connection(
                    TokioIo::new(stream),
                    service_fn(move |request| {
                        let serving = serving.clone();
                        async move { serving.answer(request).await }
                    }),
                ));
            }
        });
        server
    }

    pub(crate) fn url(&self, path: &str) -> Url {
        Url::parse(&format!("{}{path}", self.base)).unwrap()
    }

    pub(crate) fn set(&self, path: &str, answer: Answer) {
        self.answers.lock().unwrap().insert(path.to_owned(), answer);
    }

    pub(crate) fn json(&self, path: &str, text: impl ToString) {
        self.set(path, Answer::Text(200, text.to_string()));
    }

    pub(crate) fn asked(&self, path: &str) -> Vec<Asked> {
        self.asked.lock().unwrap().iter().filter(|asked| asked.path == path).cloned().collect()
    }

    /// Returns when one more request has arrived.
    pub(crate) async fn arrival(&self) {
        self.arrivals.acquire().await.unwrap().forget();
    }

    async fn answer(&self, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
        let path = request.uri().path().to_owned();
        let authorization = request.headers().get(AUTHORIZATION).map(|value| value.to_str().unwrap().to_owned());
        let body = request.into_body().collect().await.unwrap().to_bytes();
        let body = String::from_utf8(body.to_vec()).unwrap();
        self.asked.lock().unwrap().push(Asked { path: path.clone(), authorization, body });
        self.arrivals.add_permits(1);
        let answer = self.answers.lock().unwrap().get(&path).cloned();
        let (status, location, text) = match answer {
            None => (404, None, String::new()),
            Some(Answer::Text(status, text)) => (status, None, text),
            Some(Answer::Redirect(location)) => (302, Some(location), String::new()),
            Some(Answer::Silence) => std::future::pending().await,
            Some(Answer::Gated(gate, text)) => {
                gate.acquire().await.unwrap().forget();
                (200, None, text)
            }
        };
        let mut response = Response::builder().status(status);
        if let Some(location) = location {
            response = response.header(LOCATION, location);
        }
        Ok(response.body(Full::from(text)).unwrap())
    }
}
