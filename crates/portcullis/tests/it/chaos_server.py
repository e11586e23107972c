"""A legacy MCP server that writes down what it was made to do: python3 chaos_server.py PORT LOG prints its port.

Each `work` is one line of LOG, written before it is answered, so that what was carried out is known even of a server that was killed."""

import json
import os
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

LOG = os.open(sys.argv[2], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
TOOLS = [{"name": "work", "inputSchema": {"type": "object", "properties": {"call": {"type": "string"}}}}]


def carry_out(arguments):
    os.write(LOG, (arguments["call"] + "\n").encode())
    time.sleep(0.002)
    return {"content": [{"type": "text", "text": "did " + arguments["call"]}]}


def answer(message):
    method = message.get("method")
    if method == "initialize":
        hello = {"protocolVersion": "2025-11-25", "capabilities": {"tools": {}}}
        return hello | {"serverInfo": {"name": "chaos", "version": "1"}}
    if method == "tools/list":
        return {"tools": TOOLS}
    if method == "tools/call":
        return carry_out(message["params"]["arguments"])
    return {}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        message = json.loads(self.rfile.read(int(self.headers["content-length"])))
        body = b""
        if "id" in message:
            body = json.dumps({"jsonrpc": "2.0", "id": message["id"], "result": answer(message)}).encode()
        self.send_response(200 if body else 202)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        self.send_error(405)

    do_DELETE = do_GET

    def log_message(self, *_):
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128


server = Server(("127.0.0.1", int(sys.argv[1])), Handler)
print(server.server_address[1], flush=True)
server.serve_forever()
