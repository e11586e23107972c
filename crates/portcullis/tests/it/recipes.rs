//! docs/identity.md: every configuration on the page is whole, and passes `portcullis check` with the policy beside it.

use std::path::Path;

use crate::support::{Folder, run};

/// What the policies speak of.
const TOOLS: &str = r#"{"tools":[
{"name":"pay","inputSchema":{"type":"object"}},
{"name":"read_note","inputSchema":{"type":"object"}},
{"name":"write_note","inputSchema":{"type":"object"}}
]}"#;

/// The text of each block in one language, and where it ends.
fn blocks<'a>(page: &'a str, language: &str) -> Vec<&'a str> {
    let fence = format!("```{language}\n");
    page.split(&fence).skip(1).map(|rest| rest.split("\n```").next().unwrap()).collect()
}

/// What the recipes name beside the configuration.
fn furnish(folder: &Folder) {
    folder.write("tools.json", TOOLS);
    folder.write("keys.yaml", "");
    folder.write("client.secret", "s3cret\n");
    folder.write("workload.jwt", "a.b.c\n");
    folder.write("client.pem", &rcgen::KeyPair::generate().unwrap().serialize_pem());
    folder.write("introspection.secret", "s3cret\n");
    folder.write("inner.key", "pck_of_the_next_gateway\n");
    folder.write("partner-1.secret", "0123456789abcdef0123456789abcdef\n");
    let pair = || rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
    for name in ["edge-2026", "hub-2026", "billing-2026"] {
        let pair = pair();
        folder.write(&format!("{name}.pem"), &pair.serialize_pem());
        folder.write(&format!("{name}.pub.pem"), &pair.public_key_pem());
    }
    let certified = rcgen::generate_simple_self_signed(["mcp.example.com".to_owned()]).unwrap();
    folder.write("tls/server.pem", &certified.cert.pem());
    folder.write("tls/mesh.pem", &certified.cert.pem());
    folder.write("tls/server.key", &certified.signing_key.serialize_pem());
}

#[test]
fn every_recipe_is_a_whole_configuration_that_passes_the_check() {
    let page = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/identity.md")).unwrap();
    let folder = Folder::new();
    furnish(&folder);
    let mut checked = 0;
    for recipe in page.split("\n## ").skip(1) {
        let title = recipe.lines().next().unwrap();
        let policies = blocks(recipe, "cedar");
        assert!(policies.len() <= 1, "{title}: which policy is it?");
        folder.write("policy.cedar", policies.first().copied().unwrap_or_default());
        for configuration in blocks(recipe, "yaml") {
            folder.write("portcullis.yaml", configuration);
            let ended = run(&folder, &["check", "--config", "portcullis.yaml", "--catalogue", "tools.json"]);
            assert!(ended.code == 0 && ended.out.starts_with("ok\n"), "{title}:\n{configuration}\n{ended:?}");
            checked += 1;
        }
    }
    assert!(checked >= 11, "{checked} recipes");
}

/// A check that lets everything pass would prove nothing: each recipe without one of its parts is wrong, or lets nobody in.
#[test]
fn a_recipe_with_a_contradiction_does_not_pass() {
    let folder = Folder::new();
    furnish(&folder);
    let page = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/identity.md")).unwrap();
    let recipes = blocks(&page, "yaml");
    let policy = "@id(\"any\") permit (principal, action, resource);";
    folder.write("policy.cedar", policy);
    for (with, left_out, key) in [
        ("client_certificates: required", "  client_certificates: required\n", "tls.client_ca"),
        ("scope_implies", "public_url: https://mcp.example.com/mcp\n", "identity.oauth.resource"),
        ("gateway: hub", "    gateway: hub\n", "identity.chains"),
        (
            "billing-2026",
            "    signers:\n      - key_id: billing-2026\n        public_key: { file: billing-2026.pub.pem }\n        workload: spiffe://example.com/billing\n",
            "identity.signatures",
        ),
    ] {
        let whole = recipes.iter().find(|recipe| recipe.contains(with)).unwrap();
        // The last line of a block has no end.
        let cut = format!("{whole}\n").replace(left_out, "");
        assert_ne!(cut.trim_end(), whole.trim_end(), "{left_out} is not in the recipe");
        folder.write("portcullis.yaml", &cut);
        let ended = run(&folder, &["check", "--config", "portcullis.yaml"]);
        assert!(ended.code == 1 && ended.out.contains(key), "without {left_out}: {ended:?}");
    }
}
