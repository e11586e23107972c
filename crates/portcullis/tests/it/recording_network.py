"""Streamable HTTP, HTTP+SSE (a GET of /sse) and WebSocket (a GET with an upgrade), all at one port, over TLS if there is a certificate."""

import base64
import hashlib
import queue
import secrets
import ssl
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    streams = {}

    def head(self, status, **fields):
        self.send_response(status)
        for name, value in fields.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()

    def do_POST(self):
        replies = self.server.answers(self.rfile.read(int(self.headers["content-length"])))
        body = b""
        if self.path in self.streams:
            for reply in replies:
                self.streams[self.path].put(reply)
        else:
            body = next(replies, b"")
        self.head(200 if body else 202, content_type="application/json", content_length=len(body))
        self.wfile.write(body)

    def do_GET(self):
        if self.headers["upgrade"]:
            self.websocket()
        elif self.path == "/sse":
            self.events()
        else:
            self.send_error(405)

    def do_DELETE(self):
        self.send_error(405)

    def events(self):
        """HTTP+SSE of 2024-11-05: answers come here, whatever they answer."""
        path = "/messages/" + secrets.token_hex(8)
        said = self.streams[path] = queue.SimpleQueue()
        self.head(200, content_type="text/event-stream", connection="close")
        self.wfile.write(f"event: endpoint\ndata: {path}\n\n".encode())
        while True:
            self.wfile.write(b"event: message\ndata: " + said.get() + b"\n\n")

    def websocket(self):
        """RFC 6455, as far as a client of short text frames needs it. Longer lengths are written in the longest form."""
        key = self.headers["sec-websocket-key"] + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
        accept = base64.b64encode(hashlib.sha1(key.encode()).digest()).decode()
        self.head(
            101, upgrade="websocket", connection="upgrade", sec_websocket_accept=accept, sec_websocket_protocol="mcp"
        )
        self.close_connection = True
        while head := self.rfile.read(2):
            length = head[1] & 127
            if length == 126:
                length = int.from_bytes(self.rfile.read(2), "big")
            mask = self.rfile.read(4)
            payload = bytes(byte ^ mask[at % 4] for at, byte in enumerate(self.rfile.read(length)))
            opcode = head[0] & 15
            if opcode == 1:
                for reply in self.server.answers(payload):
                    self.frame(1, reply)
            elif opcode == 8:
                return self.frame(8, payload)
            elif opcode == 9:
                self.frame(10, payload)

    def frame(self, opcode, payload):
        size = len(payload)
        length = bytes([size]) if size < 126 else b"\x7f" + size.to_bytes(8, "big")
        self.wfile.write(bytes([0x80 | opcode]) + length + payload)

    def log_message(self, *_):
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, *_):
        """Clients leave; that is no news."""


def serve(answers, port, *certificate):
    """Answers each message with what `answers` makes of it, and prints the port, which it chooses if it is 0."""
    server = Server(("127.0.0.1", int(port)), Handler)
    server.answers = answers
    if certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*certificate)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    print(server.server_address[1], flush=True)
    server.serve_forever()
