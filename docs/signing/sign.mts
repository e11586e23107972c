// Signs one request for Portcullis and prints the headers to add. The body comes from standard input. Node 22.18 or newer runs it as it is:
//
//     npm install http-message-signatures@1.0.6
//     node sign.mts POST https://gateway.example/mcp key.pem ci 'MCP-Protocol-Version: 2025-11-25' < body.json

import { createHash, createPrivateKey, randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { pathToFileURL } from 'node:url';
import signatures from 'http-message-signatures';

const coveredWhenPresent = ['mcp-protocol-version', 'mcp-session-id'];

/** The headers that sign the request; `headers` are those it has already. */
export async function sign(
    method: string,
    url: string,
    headers: Record<string, string>,
    body: Buffer,
    keyId: string,
    pem: string,
    seconds = 300,
): Promise<Record<string, string>> {
    const key = createPrivateKey(pem);
    const algorithm = key.asymmetricKeyType === 'ed25519' ? 'ed25519' : 'ecdsa-p256-sha256';
    const all: Record<string, string> = {};
    for (const [name, value] of Object.entries(headers)) all[name.toLowerCase()] = value;
    const added: Record<string, string> = {};
    const fields = ['@method', '@target-uri', ...coveredWhenPresent.filter((name) => name in all)];
    if (body.length > 0) {
        added['content-digest'] = `sha-256=:${createHash('sha256').update(body).digest('base64')}:`;
        fields.push('content-digest');
    }
    const now = Date.now();
    const signed = await signatures.httpbis.signMessage(
        {
            key: signatures.createSigner(key, algorithm, keyId),
            fields,
            params: ['created', 'expires', 'nonce', 'keyid', 'alg'],
            paramValues: {
                created: new Date(now),
                expires: new Date(now + seconds * 1000),
                nonce: randomBytes(18).toString('base64url'),
            },
        },
        { method, url, headers: { ...all, ...added } },
    );
    for (const [name, value] of Object.entries(signed.headers)) {
        if (!(name.toLowerCase() in all)) added[name.toLowerCase()] = String(value);
    }
    return added;
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
    const [method, url, key, keyId, ...lines] = process.argv.slice(2);
    const headers: Record<string, string> = {};
    for (const line of lines) {
        const [name, ...value] = line.split(':');
        headers[name.trim()] = value.join(':').trim();
    }
    const added = await sign(method, url, headers, readFileSync(0), keyId, readFileSync(key, 'utf8'));
    for (const [name, value] of Object.entries(added)) console.log(`${name}: ${value}`);
}
