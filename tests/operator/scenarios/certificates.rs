//! Certificates: issued and renewed by cert-manager, brought by the user, missing, broken, expired.

use std::process::Command;

use serde_json::{Value, json};

use super::{ENDPOINT, TENANT};
use crate::support::{Scene, until};
use crate::{Scenario, rows};

const ENDPOINT_WITH_SECRET: &str = "
apiVersion: scim-operator.io/v1alpha1
kind: ScimEndpoint
metadata: {name: main}
spec:
  host: $HOST
  exposure: {ingress: {className: traefik}}
  tls: {secretName: scim-tls}
";

/// Times of certificates.
const FOR_LONG: (&str, &str) = ("20260101000000Z", "20760101000000Z");
const PAST: (&str, &str) = ("20250101000000Z", "20260101000000Z");

pub(super) fn all() -> Vec<Scenario> {
    rows![
        certificate_of_cert_manager_is_renewed_under_load_and_nothing_fails,
        certificate_missing_is_said_until_it_is_there,
        certificate_broken_or_expired_is_said_before_users_notice,
        issuer_that_is_not_there_is_said,
    ]
}

async fn certificate_of_cert_manager_is_renewed_under_load_and_nothing_fails(scene: Scene) {
    // To the pod too, so that both ends have to take the new one without dropping a request.
    scene.apply(&ENDPOINT.replace("kind: ClusterIssuer}", "kind: ClusterIssuer}, endToEnd: true")).await;
    scene.apply(TENANT).await;
    let tenant = scene.tenant("acme").await;
    tenant.answers(200).await;
    let before = scene.secret("main-scim-tls", "tls.crt").await;
    let load = scene.load(&tenant);
    // What cert-manager does when the time has come: a renewal is a Certificate that is to be issued.
    let due = json!({"status": {"conditions": [{"type": "Issuing", "status": "True", "reason": "Due",
        "message": "renewal is due", "lastTransitionTime": "2026-01-01T00:00:00Z"}]}});
    scene.edit_status("Certificate", "main-scim-tls", due).await;
    until("there is another certificate", async || {
        if scene.secret("main-scim-tls", "tls.crt").await == before {
            Err("the same".to_owned())
        } else {
            Ok(())
        }
    })
    .await;
    let now = scene.secret("main-scim-tls", "tls.crt").await;
    let pod = scene.server_pods().await.remove(0);
    let pod = format!("{}:8443", pod["status"]["podIP"].as_str().unwrap_or_default());
    for (whom, address) in [("Traefik", "10.98.0.2:443"), ("the pod", &pod)] {
        until(&format!("{whom} shows the new certificate"), async || {
            if shown(address, &scene.host()).contains(now.lines().nth(1).unwrap_or("?")) {
                Ok(())
            } else {
                Err("it does not".to_owned())
            }
        })
        .await;
    }
    load.finish().await.nothing_failed();
    scene.ready("ScimEndpoint", "main").await;
}

/// The certificate that a server shows to somebody who asks for a host.
fn shown(address: &str, host: &str) -> String {
    let output = Command::new("openssl")
        .args(["s_client", "-connect", address, "-servername", host, "-showcerts"])
        .stdin(std::process::Stdio::null())
        .output()
        .expect("openssl is installed");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

async fn certificate_missing_is_said_until_it_is_there(scene: Scene) {
    scene.apply(ENDPOINT_WITH_SECRET).await;
    scene.apply(TENANT).await;
    let said = scene.condition(("ScimEndpoint", "main"), "Ready", "False", "CertificateNotFound").await;
    assert!(said.contains("scim-tls"), "{said}");
    scene.apply_value(certificate(&scene.host(), FOR_LONG)).await;
    scene.ready("ScimEndpoint", "main").await;
    scene.ready("ScimTenant", "acme").await;
}

async fn certificate_broken_or_expired_is_said_before_users_notice(scene: Scene) {
    scene.apply_value(certificate(&scene.host(), FOR_LONG)).await;
    scene.apply(ENDPOINT_WITH_SECRET).await;
    scene.ready("ScimEndpoint", "main").await;
    let endpoint = ("ScimEndpoint", "main");

    scene.apply_value(certificate(&scene.host(), PAST)).await;
    let said = scene.condition(endpoint, "Ready", "False", "CertificateExpired").await;
    assert!(said.contains("scim-tls"), "{said}");

    scene.apply_value(certificate("other.example.com", FOR_LONG)).await;
    let said = scene.condition(endpoint, "Ready", "False", "CertificateInvalid").await;
    assert!(said.contains(&scene.host()), "{said}");

    scene.apply_value(certificate(&scene.host(), FOR_LONG)).await;
    scene.ready("ScimEndpoint", "main").await;
    let mut broken = certificate(&scene.host(), FOR_LONG);
    broken["stringData"]["tls.crt"] = json!("this is no certificate");
    scene.apply_value(broken).await;
    let said = scene.condition(endpoint, "Ready", "False", "CertificateInvalid").await;
    assert!(said.contains("tls.crt"), "{said}");

    scene.apply_value(certificate(&scene.host(), FOR_LONG)).await;
    scene.ready("ScimEndpoint", "main").await;
}

async fn issuer_that_is_not_there_is_said(scene: Scene) {
    scene.apply(&ENDPOINT.replace("name: ca,", "name: not-there,")).await;
    let said = scene.condition(("ScimEndpoint", "main"), "Ready", "False", "CertificateNotFound").await;
    assert!(said.contains("main-scim-tls"), "{said}");
}

/// A Secret with a certificate of its own for a host, from and to a time as in `20260101000000Z`.
fn certificate(host: &str, (from, to): (&str, &str)) -> Value {
    let folder = tempfile::tempdir().expect("the temporary folder is writable");
    let write =
        |name: &str, text: &str| std::fs::write(folder.path().join(name), text).expect("it is writable");
    // `req -x509` makes none that has expired; `ca` does.
    write("index", "");
    write(
        "settings",
        "[ca]\ndefault_ca=it\n[it]\ndatabase=index\nnew_certs_dir=.\ndefault_md=sha256\nrand_serial=yes\n\
         policy=names\ncopy_extensions=copy\n[names]\ncommonName=supplied\n",
    );
    let name = format!("subjectAltName=DNS:{host}");
    let openssl = |arguments: &[&str]| {
        let made = Command::new("openssl").args(arguments).current_dir(folder.path()).output();
        let made = made.expect("openssl is installed");
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    };
    let key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", "key"];
    openssl(&[&["req", "-new", "-subj", "/CN=test", "-addext", &name, "-out", "request"][..], &key].concat());
    let times = ["-startdate", from, "-enddate", to];
    let sign =
        ["ca", "-batch", "-selfsign", "-notext", "-config", "settings", "-keyfile", "key", "-in", "request"];
    openssl(&[&sign[..], &times, &["-out", "crt"]].concat());
    let read = |name: &str| std::fs::read_to_string(folder.path().join(name)).expect("openssl writes it");
    json!({
        "apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/tls", "metadata": {"name": "scim-tls"},
        "stringData": {"tls.crt": read("crt"), "tls.key": read("key")},
    })
}
