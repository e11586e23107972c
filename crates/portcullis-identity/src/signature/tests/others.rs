//! What `docs/signing/sign.py` and `docs/signing/sign.mts` printed for [`Request::new`]: signatures by implementations that share nothing with
//! ours. `http-message-signatures` 3.0.0 (Python) and 1.0.6 (Node.js), the key of RFC 9421, B.1.4, as `ci` and that of B.1.3 as `cd`.

use portcullis_core::clock::Timestamp;
use portcullis_core::memory::Embedded;
use portcullis_core::refusal::ProofFailure;

use super::{Request, verifier, verify_at};

const DIGEST: &str = "sha-256=:uendAwx8IfeVG+LGfE90zy73aWDnNViHtq+jPAdN9VM=:";

/// Who signed, when, `Signature-Input` and `Signature`.
const SIGNATURES: [(&str, u64, &str, &str); 4] = [
    (
        "ci",
        1_795_381_319,
        r#"pyhms=("@method" "@target-uri" "mcp-protocol-version" "mcp-session-id" "content-digest");created=1795381319;keyid="ci";alg="ed25519";expires=1795381619;nonce="dTRakPRg3qjdnQr7qxiLxpou""#,
        "pyhms=:z6otI/m+bzLdvw4o4yHxhdNd25s/Vr/xUsxZRKti0ycsMXxCqcYKLTwDpHL8Q8sNZVpv5bY7U1KB+06h96K1Bg==:",
    ),
    (
        "cd",
        1_795_381_319,
        r#"pyhms=("@method" "@target-uri" "mcp-protocol-version" "mcp-session-id" "content-digest");created=1795381319;keyid="cd";alg="ecdsa-p256-sha256";expires=1795381619;nonce="6oeiMPaaVgWEmWMGvTe-_o8b""#,
        "pyhms=:UjQX8jbqoABwpoWVwQtmrnvqwID+ZhZUbXPRQRq6ZsiYvGv0eqxDxHdLxYidaAwvq33Zt8QvQdHXuTnaYbeScA==:",
    ),
    (
        "ci",
        1_795_381_312,
        r#"sig=("@method" "@target-uri" "mcp-protocol-version" "mcp-session-id" "content-digest");created=1795381312;expires=1795381612;nonce="B6aZRAypl-rjlfdF5Jttu9EJ";keyid="ci";alg="ed25519""#,
        "sig=:hG0PNV3wj4cMDvB2rg6bceY3atN8QEPDxLJPU+w6biG5QH96hno0JZrIYfiCmLGthft4mqyS836xjy//+bLWAg==:",
    ),
    (
        "cd",
        1_795_381_313,
        r#"sig=("@method" "@target-uri" "mcp-protocol-version" "mcp-session-id" "content-digest");created=1795381313;expires=1795381613;nonce="xRN8bda0TfY6exwH5cZMHf4g";keyid="cd";alg="ecdsa-p256-sha256""#,
        "sig=:rRH1nrDxyXVgvFCzzanvtLhsD6GwouF0dE16NTBeMrilL/h1fiGGxY8W7G3REGA37MEWDCNK8DcvZJ+WLBFgxg==:",
    ),
];

#[test]
fn what_other_implementations_sign_verifies_here_and_nothing_else_does() {
    for (key_id, created, input, signature) in SIGNATURES {
        let mut request = Request::new();
        request.set("content-digest", DIGEST);
        request.set("signature-input", input);
        request.set("signature", signature);
        let verify = |request: &Request| verify_at(&verifier(), request, Timestamp(created * 1000), &Embedded::new(1));
        assert_eq!(&*verify(&request).unwrap().unwrap().key_id, key_id, "{input}");
        let moved = Request { target: "https://gateway.example/mcp?team=b".into(), ..request.clone() };
        assert_eq!(verify(&moved), Err(ProofFailure::SignatureInvalid), "{input}");
        let changed = Request { body: b"{}".to_vec(), ..request };
        assert_eq!(verify(&changed), Err(ProofFailure::DigestMismatch), "{input}");
    }
}
