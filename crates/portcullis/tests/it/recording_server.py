"""A legacy MCP server that writes down what it was made to do: python3 recording_server.py LOG [PORT [CERT KEY]]

It speaks over stdio, or, with a port, as `recording_network.py` says. Each `work` is one line of LOG, written before it is answered, so that what
was carried out is known even of a server that was killed."""

import json
import os
import sys
import time

LOG = os.open(sys.argv[1], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
TOOLS = [{"name": "work", "inputSchema": {"type": "object", "properties": {"call": {"type": "string"}}}}]


def carry_out(arguments):
    os.write(LOG, (arguments["call"] + "\n").encode())
    time.sleep(0.002)
    return {"content": [{"type": "text", "text": "did " + arguments["call"]}]}


def result(message):
    method = message.get("method")
    if method == "initialize":
        hello = {"protocolVersion": "2025-11-25", "capabilities": {"tools": {}}}
        return hello | {"serverInfo": {"name": "recording", "version": "1"}}
    if method == "tools/list":
        return {"tools": TOOLS}
    if method == "tools/call":
        return carry_out(message["params"]["arguments"])
    return {}


def answer(text):
    """The answer to a message; nothing to one that asks for none."""
    message = json.loads(text)
    if "id" not in message:
        return b""
    return json.dumps({"jsonrpc": "2.0", "id": message["id"], "result": result(message)}).encode()


def pipes():
    for line in sys.stdin:
        if reply := answer(line):
            print(reply.decode(), flush=True)


if sys.argv[2:]:
    sys.dont_write_bytecode = True
    # Here, because what it needs takes long to load, and of the others many are started at once.
    from recording_network import serve

    serve(answer, *sys.argv[2:])
else:
    pipes()
