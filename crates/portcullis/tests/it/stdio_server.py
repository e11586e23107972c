"""A stdio MCP server of a few lines for the tests. `pid` tells its process id and environment, `wait` answers once a file named
`go` is there. Says on standard error what it does."""

import json
import os
import sys
import time

print("hello from the child", file=sys.stderr, flush=True)
for line in sys.stdin:
    message = json.loads(line)
    if "id" not in message:
        continue
    answer = {"jsonrpc": "2.0", "id": message["id"]}
    method = message.get("method")
    if method == "initialize":
        answer["result"] = {
            "protocolVersion": "2025-11-25",
            "capabilities": {"tools": {}},
            "serverInfo": {"name": "stdio-test", "version": "1"},
        }
    elif method == "tools/list":
        answer["result"] = {
            "tools": [{"name": name, "inputSchema": {"type": "object", "properties": {}}} for name in ("pid", "wait")]
        }
    elif method == "tools/call" and message["params"]["name"] == "wait":
        print("waiting for go", file=sys.stderr, flush=True)
        while not os.path.exists("go"):
            time.sleep(0.01)
        answer["result"] = {"content": [{"type": "text", "text": "gone"}]}
    elif method == "tools/call":
        environment = ",".join(sorted(os.environ))
        answer["result"] = {"content": [{"type": "text", "text": f"pid={os.getpid()} env={environment}"}]}
    else:
        answer["error"] = {"code": -32601, "message": "Method not found"}
    print(json.dumps(answer), flush=True)
