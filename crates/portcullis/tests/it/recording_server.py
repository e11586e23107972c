"""A legacy MCP server that writes down what it was made to do: python3 recording_server.py LOG [PORT [CERT KEY]]

It speaks over stdio, or, with a port, as `recording_network.py` says. Each `work` is one line of LOG, written before it is answered, so that what
was carried out is known even of a server that was killed. How its list of tools misbehaves is in LOG.list, if that is there."""

import json
import os
import sys
import time

LOG = os.open(sys.argv[1], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
LIST = open(sys.argv[1] + ".list").read().split() if os.path.exists(sys.argv[1] + ".list") else []


def tools(cursor):
    def named(name):
        return {"name": name, "inputSchema": {"type": "object"}}

    match LIST:
        case ["hoard", count]:
            return {"tools": [named(f"work{number}") for number in range(int(count))]}
        case ["circle"]:
            return {"tools": [named("work")], "nextCursor": "again"}
        case ["endless"]:
            return {"tools": [named(f"work{cursor}")], "nextCursor": str(int(cursor) + 1)}
    return {"tools": [named("work")]}


def carry_out(arguments):
    os.write(LOG, (arguments["call"] + "\n").encode())
    time.sleep(0.002)
    while "until" in arguments and not os.path.exists(arguments["until"]):
        time.sleep(0.01)
    return {"content": [{"type": "text", "text": "did " + arguments["call"]}]}


def result(message):
    method = message.get("method")
    if method == "initialize":
        hello = {"protocolVersion": "2025-11-25", "capabilities": {"tools": {}}}
        return hello | {"serverInfo": {"name": "recording", "version": "1"}}
    if method == "tools/list":
        return tools(message.get("params", {}).get("cursor", "0"))
    if method == "tools/call":
        return carry_out(message["params"]["arguments"])
    return {}


def answers(text):
    """The answer to a message, after one to the id of somebody else's if the call wants that; nothing to one that asks for none."""
    message = json.loads(text)
    others = message.get("params", {}).get("arguments", {}).get("others", [])
    if "id" in message:
        told = result(message)
        for id in [*others, message["id"]]:
            yield json.dumps({"jsonrpc": "2.0", "id": id, "result": told}).encode()


def pipes():
    for line in sys.stdin:
        for reply in answers(line):
            print(reply.decode(), flush=True)


if sys.argv[2:]:
    sys.dont_write_bytecode = True
    # Here, because what it needs takes long to load, and of the others many are started at once.
    from recording_network import serve

    serve(answers, *sys.argv[2:])
else:
    pipes()
