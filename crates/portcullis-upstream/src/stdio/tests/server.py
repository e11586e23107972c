# A server for tests: both eras, one behaviour for each tool name.
import json, os, signal, subprocess, sys, time

def write(message):
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()

def result(message, value):
    write({"jsonrpc": "2.0", "id": message["id"], "result": value})

def note(method, params):
    write({"jsonrpc": "2.0", "method": method, "params": params})

def error(message, code):
    write({"jsonrpc": "2.0", "id": message["id"], "error": {"code": code, "message": "no"}})

held = []
MODE = os.environ.get("MODE", "legacy")
if MODE == "dies":
    sys.exit(3)

def call(message):
    tool, token = message["params"]["name"], message["params"].get("_meta", {}).get("progressToken")
    if tool == "env":
        result(message, {"env": dict(os.environ), "cwd": os.getcwd(), "pid": os.getpid()})
    elif tool == "progress":
        for step in range(3):
            note("notifications/progress", {"progressToken": token, "progress": step})
        result(message, {"token": token})
    elif tool == "crash":
        os._exit(9)
    elif tool == "hang":
        pass
    elif tool == "hold":
        held.append(message)
    elif tool == "release":
        result(message, {"who": "release"})
        for other in held:
            result(other, {"who": "hold"})
    elif tool == "flood":
        for step in range(10000):
            note("notifications/progress", {"progressToken": token, "progress": step, "message": "x" * 100})
        result(message, {})
    elif tool == "stderr":
        for number in range(1000):
            print("line %d" % number, file=sys.stderr)
        result(message, {})
    elif tool == "noise":
        print("Server listening!")
        print('{"level":30,"msg":"a log"}')
        result(message, {})
    elif tool == "babble":
        for number in range(200):
            print("babble")
    elif tool == "twice":
        result(message, {"n": 1})
        result(message, {"n": 2})
    elif tool == "nobody":
        write({"jsonrpc": "2.0", "id": "nobody", "result": {}})
        result(message, {})
    elif tool == "duplicate":
        sys.stdout.write('{"jsonrpc":"2.0","id":%s,"result":{"a":1,"a":2}}\n' % json.dumps(message["id"]))
        sys.stdout.flush()
    elif tool == "big":
        result(message, {"x": "x" * 300000})
    elif tool == "ask":
        write({"jsonrpc": "2.0", "id": "s1", "method": "roots/list"})
        held.append(message)
    elif tool == "changed":
        note("notifications/tools/list_changed", {})
        result(message, {})
    elif tool == "log":
        note("notifications/message", {"level": "info", "data": "for whom?"})
        result(message, {})
    elif tool == "fork":
        child = subprocess.Popen([sys.executable, "-c", "import signal,time;signal.signal(signal.SIGTERM,signal.SIG_IGN);time.sleep(600)"],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        result(message, {"pid": os.getpid(), "child": child.pid})
    elif tool == "deaf":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        result(message, {"pid": os.getpid()})
        while True:
            time.sleep(600)
    else:
        error(message, -32602)

for line in sys.stdin:
    message = json.loads(line)
    method = message.get("method")
    if method is None:
        for other in held:
            result(other, {"answer": message})
        held.clear()
    elif method == "server/discover" and MODE == "modern":
        result(message, {"resultType": "complete", "supportedVersions": ["2026-07-28"], "capabilities": {"tools": {}}})
    elif method == "server/discover" and MODE == "silent":
        pass
    elif method == "server/discover" and MODE == "fragile":
        os._exit(1)
    elif method == "initialize" and MODE == "modern":
        error(message, -32601)
    elif method == "initialize":
        version = "1999-01-01" if MODE == "old" else message["params"]["protocolVersion"]
        result(message, {"protocolVersion": version, "capabilities": {"tools": {}}, "serverInfo": {"name": "t", "version": "1"}})
    elif method == "tools/list":
        result(message, {"resultType": "complete", "tools": [{"name": "env", "inputSchema": {"type": "object"}}]})
    elif method == "tools/call":
        call(message)
    elif method == "subscriptions/listen":
        meta = {"io.modelcontextprotocol/subscriptionId": message["id"]}
        note("notifications/subscriptions/acknowledged", {"_meta": meta, "notifications": {}})
        note("notifications/resources/updated", {"_meta": meta, "uri": "file:///x"})
        held.append(message)
    elif method == "notifications/cancelled":
        print("cancelled " + json.dumps(message["params"]["requestId"]), file=sys.stderr)
    elif "id" in message:
        error(message, -32601)
