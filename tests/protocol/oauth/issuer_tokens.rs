//! Access tokens of an issuer: who is let in, and what becomes of it when keys change or the issuer is away.

use super::*;
use std::sync::Arc;

#[tokio::test]
async fn token_of_the_issuer_lets_in_under_every_algorithm() {
    let keys = ["rsa-1", "p256", "p384", "ed25519"].map(SigningKey::of);
    let issuer = Issuer::start(&keys.each_ref()).await;
    let server = serve(&trusting(issuer.config())).await;
    for key in &keys {
        let reply = users(&server, &key.sign(&issuer.claims())).await;
        assert_eq!(reply.status, 200, "{}: {}", key.id, reply.text);
    }
    for algorithm in [Algorithm::RS384, Algorithm::RS512] {
        // The key says RS256, so it is for nothing else.
        let key = SigningKey { algorithm, ..keys[0].clone() };
        assert_eq!(users(&server, &key.sign(&issuer.claims())).await.error(), NOT_ITS_TOKEN);
    }
    let log = server.log();
    assert_eq!(log[0]["credential"], "provisioner", "the client is who acts");
}

#[tokio::test]
async fn token_that_is_wrong_before_its_signature_is_told_what_strangers_are_told() {
    let (key, other) = (SigningKey::of("rsa-1"), SigningKey::of("rsa-2"));
    let issuer = Issuer::start(&[&key]).await;
    let server = serve(&trusting(issuer.config())).await;
    assert_eq!(users(&server, &key.sign(&issuer.claims())).await.status, 200);

    let claims = issuer.claims();
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let unsigned = |header: Value| format!("{}.{}.", part(&header), part(&claims));
    // The public key, as the issuer publishes it, taken for the secret of an HMAC.
    let hmac = |secret: &[u8]| {
        let mut header = Header::new(Algorithm::HS256);
        header.kid = Some(key.id.to_owned());
        encode(&header, &claims, &EncodingKey::from_secret(secret)).unwrap()
    };
    let good = key.sign(&claims);
    let (message, signature) = good.rsplit_once('.').unwrap();
    let (header, _) = message.split_once('.').unwrap();
    let raised = part(&issuer.claims_with(&json!({"scope": "scim.write", "sub": "admin"})));
    let stolen = SigningKey { id: "rsa-1", ..other.clone() };
    let critical = {
        let header = part(&json!({"alg": "RS256", "kid": "rsa-1", "crit": ["x"], "x": 1}));
        let message = format!("{header}.{}", part(&claims));
        let signature = jsonwebtoken::crypto::sign(message.as_bytes(), &key.key, Algorithm::RS256).unwrap();
        format!("{message}.{signature}")
    };
    let logout = {
        let mut header = Header::new(Algorithm::RS256);
        (header.kid, header.typ) = (Some("rsa-1".to_owned()), Some("logout+jwt".to_owned()));
        encode(&header, &claims, &key.key).unwrap()
    };
    for (what, token) in [
        ("alg none", unsigned(json!({"alg": "none", "kid": "rsa-1"}))),
        ("alg None", unsigned(json!({"alg": "None", "kid": "rsa-1"}))),
        ("no signature", unsigned(json!({"alg": "RS256", "kid": "rsa-1"}))),
        ("HS256 with the PEM of the key", hmac(&pem("rsa-1"))),
        ("HS256 with the modulus", hmac(key.jwk()["n"].as_str().unwrap().as_bytes())),
        ("HS256 with the JWK", hmac(key.jwk().to_string().as_bytes())),
        ("other claims", format!("{header}.{raised}.{signature}")),
        ("signature of another key", stolen.sign(&claims)),
        ("the encryption key", SigningKey { id: "encryption", ..other }.sign(&claims)),
        ("another issuer", key.sign(&issuer.claims_with(&json!({"iss": "https://evil.example"})))),
        (
            "the issuer with a slash",
            key.sign(&issuer.claims_with(&json!({"iss": format!("{}/", issuer.url)}))),
        ),
        ("critical header", critical),
        ("logout token", logout),
        ("no kid at all", encode(&Header::new(Algorithm::PS256), &claims, &key.key).unwrap()),
        ("garbage", "a.b.c".to_owned()),
    ] {
        let reply = users(&server, &token).await;
        assert_eq!(reply.error(), NOT_ITS_TOKEN, "{what}");
        let challenge = reply.header("www-authenticate").unwrap();
        assert!(challenge.contains("error=\"invalid_token\""), "{what}: {challenge}");
        let unknown = users_of(&server, "nobody", &token).await;
        assert_eq!(
            (unknown.text, unknown.status),
            (reply.text, 401),
            "{what}: an unknown tenant says the same"
        );
    }
}

#[tokio::test]
async fn token_of_the_issuer_that_is_not_for_us_is_told_why() {
    let key = SigningKey::of("p256");
    let issuer = Issuer::start(&[&key]).await;
    let mut trusted = issuer.config();
    trusted.required_scopes = vec!["email".to_owned()];
    trusted.required_claims = vec![RequiredClaim { name: "azp".into(), values: vec!["provisioner".into()] }];
    let server = serve(&trusting(trusted)).await;
    assert_eq!(users(&server, &key.sign(&issuer.claims())).await.status, 200);
    for (changes, expected) in [
        (json!({"exp": now() - 31}), "the token has expired"),
        (json!({"nbf": now() + 90}), "the token is not valid yet"),
        (json!({"aud": "account"}), "the token was made for another audience"),
        (json!({"exp": "soon"}), "the token lacks exp, aud or a subject"),
        (json!({"scope": "scim.read"}), "the token lacks a scope that this tenant requires"),
        (json!({"azp": "somebody"}), "a claim of the token does not have the value"),
    ] {
        let token = key.sign(&issuer.claims_with(&changes));
        let reply = users(&server, &token).await;
        assert!(
            reply.error().starts_with(&format!("401: not authenticated: {expected}")),
            "{}",
            reply.error()
        );
        let challenge = reply.header("www-authenticate").unwrap();
        assert!(challenge.contains("invalid_token") && challenge.contains(expected), "{challenge}");
        assert!(!reply.text.contains(&token), "the token is not repeated");
    }
    // Within the skew.
    assert_eq!(users(&server, &key.sign(&issuer.claims_with(&json!({"exp": now() - 20})))).await.status, 200);
    let metrics = server.app.metrics().encode().unwrap();
    for outcome in
        ["valid", "expired", "not_yet_valid", "audience", "claims", "required_scope", "required_claim"]
    {
        let line =
            format!("scim_oauth_tokens_verified_total{{tenant=\"identity/acme\",outcome=\"{outcome}\"}}");
        assert!(metrics.contains(&line), "{line}\n{metrics}");
    }
}

#[tokio::test]
async fn token_that_only_reads_cannot_write() {
    let key = SigningKey::of("rsa-1");
    let issuer = Issuer::start(&[&key]).await;
    let server = serve(&trusting(issuer.config())).await;
    let reads = key.sign(&issuer.claims_with(&json!({"scope": "scim.read"})));
    assert_eq!(users(&server, &reads).await.status, 200);
    let url = format!("{}/Users", server.base("acme"));
    let user = json!({"schemas": [USER], "userName": "a"});
    let reply = server.anonymous("POST", &url).bearer_auth(&reads).scim(&user).reply().await;
    assert_eq!(reply.status, 403, "{}", reply.text);
    let challenge = reply.header("www-authenticate").unwrap();
    assert!(challenge.contains("error=\"insufficient_scope\", scope=\"scim.write\""), "{challenge}");
    let both = key.sign(&issuer.claims());
    assert_eq!(server.anonymous("POST", &url).bearer_auth(&both).scim(&user).reply().await.status, 201);
    let none = key.sign(&issuer.claims_with(&json!({"scope": "openid"})));
    assert_eq!(users(&server, &none).await.status, 403);
}

#[tokio::test]
async fn tenants_do_not_accept_each_others_issuers() {
    let (key, other_key) = (SigningKey::of("rsa-1"), SigningKey::of("rsa-2"));
    let (issuer, other) = (Issuer::start(&[&key]).await, Issuer::start(&[&other_key]).await);
    let mut config = trusting(issuer.config());
    Arc::make_mut(&mut config.tenants[1]).oauth2 =
        Some(OAuth2Config { issuers: vec![other.config()], clients: Vec::new(), access_token_seconds: 60 });
    let server = serve(&config).await;
    let (acme, globex) = (key.sign(&issuer.claims()), other_key.sign(&other.claims()));
    assert_eq!(users_of(&server, "acme", &acme).await.status, 200);
    assert_eq!(users_of(&server, "globex", &globex).await.status, 200);
    assert_eq!(users_of(&server, "globex", &acme).await.error(), NOT_ITS_TOKEN);
    assert_eq!(users_of(&server, "acme", &globex).await.error(), NOT_ITS_TOKEN);
    // A key of acme's issuer signs for globex's.
    assert_eq!(users_of(&server, "globex", &key.sign(&other.claims())).await.error(), NOT_ITS_TOKEN);
}

#[tokio::test]
async fn rotated_key_is_found_at_once_and_a_withdrawn_one_lets_nobody_in() {
    let (old, new) = (SigningKey::of("rsa-1"), SigningKey::of("p256"));
    let issuer = Issuer::start(&[&old]).await;
    let server = serve(&trusting(issuer.config())).await;
    let token = old.sign(&issuer.claims());
    assert_eq!(users(&server, &token).await.status, 200);
    issuer.publish(&[&new, &old]);
    assert_eq!(users(&server, &new.sign(&issuer.claims())).await.status, 200, "looked up again");
    assert_eq!(users(&server, &token).await.status, 200, "the old one is still published");
    issuer.publish(&[&new]);
    // Another unknown key makes us look again; the token was verified before and remembered.
    let unknown = SigningKey { id: "other", ..new.clone() };
    assert_eq!(users(&server, &unknown.sign(&issuer.claims())).await.error(), NOT_ITS_TOKEN);
    assert_eq!(users(&server, &token).await.error(), NOT_ITS_TOKEN, "its key is withdrawn");
}

#[tokio::test]
async fn flood_of_unknown_keys_makes_few_fetches() {
    let key = SigningKey::of("p256");
    let issuer = Issuer::start(&[&key]).await;
    let server = serve(&trusting(issuer.config())).await;
    assert_eq!(users(&server, &key.sign(&issuer.claims())).await.status, 200);
    for _ in 0..100 {
        let unknown = SigningKey { id: "unknown", ..key.clone() };
        assert_eq!(users(&server, &unknown.sign(&issuer.claims())).await.status, 401);
    }
    // One at the start, a burst of three, and one each ten seconds.
    assert!(issuer.fetches() <= 5, "{} fetches", issuer.fetches());
    assert_eq!(users(&server, &key.sign(&issuer.claims())).await.status, 200);
    // What could not be accepted anyway makes none.
    let before = issuer.fetches();
    let expired = SigningKey { id: "unknown", ..key.clone() }.sign(&issuer.claims_with(&json!({"exp": 1})));
    assert_eq!(users(&server, &expired).await.error(), NOT_ITS_TOKEN);
    assert_eq!(issuer.fetches(), before);
}

#[tokio::test]
async fn outage_of_the_issuer_is_survived_with_the_keys_that_are_known() {
    let key = SigningKey::of("rsa-1");
    let issuer = Issuer::start(&[&key]).await;
    let server = serve(&trusting(issuer.config())).await;
    assert_eq!(users(&server, &key.sign(&issuer.claims())).await.status, 200);
    issuer.fail(503);
    let other = key.sign(&issuer.claims_with(&json!({"jti": "another token"})));
    assert_eq!(users(&server, &other).await.status, 200, "the key is known");
    // Nobody can tell whether this key is new or made up.
    let new = SigningKey { id: "new", ..key.clone() };
    let reply = users(&server, &new.sign(&issuer.claims())).await;
    assert_eq!(reply.error(), "503: the keys of the token's issuer cannot be fetched now; try again");
    assert_eq!(reply.header("retry-after"), Some("10"));
}

#[tokio::test]
async fn issuer_that_was_never_reached_lets_nobody_in_and_says_to_wait() {
    let key = SigningKey::of("rsa-1");
    let issuer = Issuer::start(&[&key]).await;
    issuer.fail(500);
    let server = serve(&trusting(issuer.config())).await;
    assert_eq!(users(&server, &key.sign(&issuer.claims())).await.status, 503);
    let stranger = key.sign(&issuer.claims_with(&json!({"aud": "other"})));
    assert_eq!(users(&server, &stranger).await.error(), NOT_ITS_TOKEN, "who knows nothing learns nothing");
    assert_eq!(users(&server, "acme-token").await.status, 200, "bearer tokens need no issuer");
    issuer.fail(200);
    for _ in 0..100 {
        if users(&server, &key.sign(&issuer.claims())).await.status == 200 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("the issuer is back and its tokens are not accepted");
}

#[tokio::test]
async fn metadata_that_redirects_or_lies_is_not_followed() {
    let key = SigningKey::of("rsa-1");
    let issuer = Issuer::start(&[&key]).await;
    issuer.fail(302);
    let server = serve(&trusting(issuer.config())).await;
    assert_eq!(users(&server, &key.sign(&issuer.claims())).await.status, 503);
    // The realm calls itself otherwise than the manifest does.
    let honest = Issuer::start(&[&key]).await;
    let mut config = honest.config();
    config.issuer = honest.url.replace("127.0.0.1", "localhost");
    let server = serve(&trusting(config.clone())).await;
    let token = key.sign(&honest.claims_with(&json!({"iss": config.issuer})));
    assert_eq!(users(&server, &token).await.status, 503);
}

#[tokio::test]
async fn removed_issuer_ends_its_tokens_with_the_next_request() {
    let key = SigningKey::of("rsa-1");
    let issuer = Issuer::start(&[&key]).await;
    let server = serve(&trusting(issuer.config())).await;
    let token = key.sign(&issuer.claims());
    assert_eq!(users(&server, &token).await.status, 200);
    let mut narrowed = issuer.config();
    narrowed.audiences = vec!["another".to_owned()];
    server.app.apply(&trusting(narrowed)).await.unwrap();
    assert_eq!(users(&server, &token).await.status, 401);
    server.app.apply(&trusting(issuer.config())).await.unwrap();
    assert_eq!(users(&server, &token).await.status, 200);
    server.app.apply(&config()).await.unwrap();
    assert_eq!(users(&server, &token).await.error(), NOT_ITS_TOKEN);
}
