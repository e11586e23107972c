//! A client of the WebSocket listener.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::handshake::client::Response;
use tokio_tungstenite::tungstenite::{Error, Message};

use super::Running;
use crate::settings::ServerSettings;
use crate::websocket::WebSocketListener;

/// Far longer than anything takes.
const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) struct Socket(pub(crate) WebSocketStream<TcpStream>);

pub(crate) fn sockets(websocket: WebSocketListener) -> ServerSettings {
    ServerSettings { websocket: WebSocketListener { enabled: true, ..websocket }, ..ServerSettings::default() }
}

impl Running {
    pub(crate) async fn shake(
        &self,
        path: &str,
        headers: &[(&'static str, &str)],
    ) -> Result<(Socket, Response), Error> {
        let mut request = format!("ws://{}{path}", self.addr).into_client_request().unwrap();
        for (name, value) in headers {
            request.headers_mut().append(*name, value.parse().unwrap());
        }
        let stream = TcpStream::connect(self.addr).await.unwrap();
        let (socket, response) = tokio_tungstenite::client_async(request, stream).await?;
        Ok((Socket(socket), response))
    }

    pub(crate) async fn socket(&self, subprotocol: &str) -> Socket {
        self.shake("/mcp/ws", &[("sec-websocket-protocol", subprotocol)]).await.unwrap().0
    }

    /// Status and code of a refused handshake.
    pub(crate) async fn unshaken(&self, path: &str, headers: &[(&'static str, &str)]) -> (u16, String) {
        match self.shake(path, headers).await {
            Err(Error::Http(response)) => {
                let body = String::from_utf8(response.body().clone().unwrap_or_default()).unwrap();
                let code = body.split(r#""data":{"code":""#).nth(1).and_then(|rest| rest.split('"').next());
                (response.status().as_u16(), code.unwrap_or_default().to_owned())
            }
            other => panic!("{:?}", other.map(|(_, response)| response)),
        }
    }
}

impl Socket {
    pub(crate) async fn say(&mut self, text: &str) {
        self.0.send(Message::text(text)).await.unwrap();
    }

    /// The next message, as text.
    pub(crate) async fn hear(&mut self) -> String {
        match self.frame().await {
            Message::Text(text) => text.to_string(),
            other => panic!("{other:?}"),
        }
    }

    pub(crate) async fn ask(&mut self, text: &str) -> String {
        self.say(text).await;
        self.hear().await
    }

    /// The next frame that is no ping or pong of the library's own.
    pub(crate) async fn frame(&mut self) -> Message {
        loop {
            let frame = tokio::time::timeout(PATIENCE, self.0.next()).await.expect("nothing came");
            match frame.expect("ended without a close frame").unwrap() {
                Message::Ping(_) | Message::Pong(_) => {}
                frame => return frame,
            }
        }
    }

    /// Code and reason of the close frame that comes next.
    pub(crate) async fn closed(&mut self) -> (u16, String) {
        match self.frame().await {
            Message::Close(Some(frame)) => (frame.code.into(), frame.reason.to_string()),
            other => panic!("{other:?}"),
        }
    }

    /// Closes it and waits until the gateway has let go.
    pub(crate) async fn left(mut self) {
        let _already = self.0.close(None).await;
        while let Some(Ok(_)) = self.0.next().await {}
    }

    /// With a session of its own.
    pub(crate) async fn initialized(mut self) -> Self {
        let answer = self.ask(super::INITIALIZE).await;
        assert!(answer.contains(r#""protocolVersion":"2025-11-25""#), "{answer}");
        self.say(r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#).await;
        self
    }
}
