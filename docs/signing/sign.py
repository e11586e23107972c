"""Signs one request for Portcullis and prints the headers to add. The body comes from standard input.

    pip install http-message-signatures==3.0.0
    python sign.py POST https://gateway.example/mcp --key key.pem --key-id ci -H 'MCP-Protocol-Version: 2025-11-25' < body.json
"""

import argparse
import datetime
import secrets
import sys
from types import SimpleNamespace

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from http_message_signatures import HTTPMessageSigner, MappingKeyResolver, algorithms

COVERED_WHEN_PRESENT = ("mcp-protocol-version", "mcp-session-id")


def sign(method, url, headers, body, key_id, pem, seconds=300):
    """The headers that sign the request; `headers` are those it has already."""
    key = load_pem_private_key(pem, password=None)
    algorithm = algorithms.ED25519 if isinstance(key, Ed25519PrivateKey) else algorithms.ECDSA_P256_SHA256
    request = SimpleNamespace(method=method, url=url, headers={name.lower(): value for name, value in headers.items()})
    before = set(request.headers)
    now = datetime.datetime.now(datetime.timezone.utc)
    HTTPMessageSigner(
        signature_algorithm=algorithm, key_resolver=MappingKeyResolver(public_keys={}, private_keys={key_id: key})
    ).sign(
        request,
        key_id=key_id,
        created=now,
        expires=now + datetime.timedelta(seconds=seconds),
        nonce=secrets.token_urlsafe(18),
        covered_component_ids=["@method", "@target-uri", *(name for name in COVERED_WHEN_PRESENT if name in before)],
        body=body or None,  # adds Content-Digest, and covers it
    )
    return {name: value for name, value in request.headers.items() if name not in before}


if __name__ == "__main__":
    options = argparse.ArgumentParser()
    options.add_argument("method")
    options.add_argument("url")
    options.add_argument("--key", required=True, help="private key in PEM: Ed25519 or P-256")
    options.add_argument("--key-id", required=True)
    options.add_argument("-H", "--header", action="append", default=[])
    given = options.parse_args()
    with open(given.key, "rb") as file:
        pem = file.read()
    headers = dict((part.strip() for part in header.split(":", 1)) for header in given.header)
    for name, value in sign(given.method, given.url, headers, sys.stdin.buffer.read(), given.key_id, pem).items():
        print(f"{name}: {value}")
