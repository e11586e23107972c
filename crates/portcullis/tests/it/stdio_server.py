"""A stdio MCP server of a few lines for the tests: one tool, which tells its process id. Says hello on standard error."""

import json
import os
import sys

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
        answer["result"] = {"tools": [{"name": "pid", "inputSchema": {"type": "object", "properties": {}}}]}
    elif method == "tools/call":
        environment = ",".join(sorted(os.environ))
        answer["result"] = {"content": [{"type": "text", "text": f"pid={os.getpid()} env={environment}"}]}
    else:
        answer["error"] = {"code": -32601, "message": "Method not found"}
    print(json.dumps(answer), flush=True)
