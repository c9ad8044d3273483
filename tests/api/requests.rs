//! The accepted forms of a request, and the refusals of all others.

use insta::assert_json_snapshot;
use serde_json::{Value, json};

use crate::support::{Answer, Held, Jwt, PASSWORD, TestApp, post, request, send};

const SIGNIN: &str = "/api/v2/signin";

async fn signin(app: &TestApp, headers: &[(&str, &str)], body: &[u8]) -> Answer {
    let network = app.new_network();
    let mut all = vec![("X-Forwarded-For", network.as_str())];
    all.extend(headers);
    send(app.public_addr(), &post(SIGNIN, &all, body)).await
}

fn credentials() -> Vec<u8> {
    json!({"email": "alice@example.com", "password": PASSWORD})
        .to_string()
        .into_bytes()
}

#[tokio::test]
async fn json_is_read_whether_it_is_called_json_or_a_form_or_nothing() {
    let app = TestApp::start().await;
    app.user("alice@example.com").await;
    for content_type in [
        "application/json",
        "application/json; charset=utf-8",
        "Application/JSON;charset=\"UTF-8\";v=2",
        "application/x-www-form-urlencoded",
    ] {
        let headers = [("Content-Type", content_type)];
        signin(&app, &headers, &credentials()).await.pair();
    }
    signin(&app, &[], &credentials()).await.pair();
}

#[tokio::test]
async fn any_other_content_type_is_415_and_told_what_is_accepted() {
    let app = TestApp::start().await;
    app.user("alice@example.com").await;
    let form = "email=alice%40example.com&password=x";
    for (content_type, body) in [
        ("text/plain", credentials()),
        ("application/xml", credentials()),
        ("multipart/form-data; boundary=x", credentials()),
        ("application/json+x", credentials()),
        ("", credentials()),
        ("multipart/form-data", form.into()),
    ] {
        let answer = signin(&app, &[("Content-Type", content_type)], &body).await;
        answer.problem(415, "unsupported_media_type");
        assert_eq!(
            answer.header("accept"),
            Some("application/json"),
            "{content_type}"
        );
    }
    // A real form is no JSON.
    let headers = [("Content-Type", "application/x-www-form-urlencoded")];
    let answer = signin(&app, &headers, form.as_bytes()).await;
    answer.problem(400, "malformed_request");
}

#[tokio::test]
async fn any_content_encoding_is_415() {
    let app = TestApp::start().await;
    app.user("alice@example.com").await;
    for encoding in ["gzip", "br", "identity"] {
        let answer = signin(&app, &[("Content-Encoding", encoding)], &credentials()).await;
        assert_eq!(answer.header("accept"), Some("application/json"));
        let body = answer.problem(415, "unsupported_media_type");
        assert_eq!(
            body["detail"],
            "This kind of body, or its `Content-Encoding`, is not accepted; `Accept` lists what is."
        );
    }
}

#[tokio::test]
async fn a_body_that_is_not_a_json_object_with_distinct_keys_is_malformed() {
    let app = TestApp::start().await;
    let deep = format!("{{\"a\": {}1{}}}", "[".repeat(200), "]".repeat(200));
    for body in [
        &b""[..],
        b"{",
        b"null",
        b"[]",
        b"\"text\"",
        b"{} {}",
        b"{'email': 'x'}",
        b"{\"email\": \"a@b.c\", \"password\": \"x\",}",
        b"{\"email\": \"a@b.c\", \"email\": \"d@e.f\", \"password\": \"x\"}",
        b"{\"email\": \"a@b.c\", \"\\u0065mail\": \"a@b.c\", \"password\": \"x\"}",
        b"{\"email\": \"a@b.c\", \"password\": \"x\", \"more\": {\"a\": 1, \"a\": 1}}",
        b"{\"email\": \"a@b.c\", \"password\": \"\xff\"}",
        b"{\"email\": \"a@b.c\", \"password\": \"\\ud800\"}",
        b"\xef\xbb\xbf{\"email\": \"a@b.c\", \"password\": \"x\"}",
        deep.as_bytes(),
    ] {
        let answer = signin(&app, &[], body).await;
        answer.problem(400, "malformed_request");
    }
    let answer = signin(&app, &[], b"hunter2").await;
    assert_json_snapshot!(answer.problem(400, "malformed_request"), @r#"
    {
      "code": "malformed_request",
      "detail": "The request cannot be read. A JSON body must be an object without repeated keys.",
      "requestId": "(id)",
      "status": 400,
      "title": "Bad Request",
      "type": "about:blank"
    }
    "#);
}

#[tokio::test]
async fn every_bad_field_is_named_and_none_is_repeated() {
    let app = TestApp::start().await;
    let answer = signin(&app, &[], br#"{"email": "hunter1", "password": null}"#).await;
    assert_json_snapshot!(answer.problem(422, "invalid_request"), @r#"
    {
      "code": "invalid_request",
      "detail": "Some fields are missing or not valid; `errors` names each.",
      "errors": [
        {
          "field": "email",
          "message": "must have exactly one @ with something on both sides"
        },
        {
          "field": "password",
          "message": "must be a string"
        }
      ],
      "requestId": "(id)",
      "status": 422,
      "title": "Unprocessable Entity",
      "type": "about:blank"
    }
    "#);
}

/// The fields that a request to `path` is refused for.
async fn bad_fields(app: &TestApp, path: &str, body: &Value) -> Vec<String> {
    let answer = app.post(path, &app.new_network(), body).await;
    let problem = answer.problem(422, "invalid_request");
    let errors = problem["errors"].as_array().unwrap();
    errors
        .iter()
        .map(|error| error["field"].as_str().unwrap().to_owned())
        .collect()
}

#[tokio::test]
async fn a_field_that_is_missing_null_or_no_string_is_422() {
    let app = TestApp::start().await;
    for (path, fields) in [
        (SIGNIN, &["email", "password"][..]),
        ("/api/v2/2fa/confirm", &["token", "code"]),
        ("/api/v2/refresh", &["refreshToken"]),
    ] {
        assert_eq!(bad_fields(&app, path, &json!({})).await, fields);
        for bad in [Value::Null, json!(1), json!(true), json!([]), json!({})] {
            let body = fields
                .iter()
                .map(|field| ((*field).to_owned(), bad.clone()))
                .collect();
            assert_eq!(
                bad_fields(&app, path, &Value::Object(body)).await,
                fields,
                "{bad}"
            );
        }
    }
    // Names are taken as they are written.
    let body = json!({"Email": "a@b.c", "password": "x"});
    assert_eq!(bad_fields(&app, SIGNIN, &body).await, ["email"]);
}

#[tokio::test]
async fn an_address_or_password_out_of_its_bounds_is_422() {
    let app = TestApp::start().await;
    let long = format!("{}@example.com", "x".repeat(243));
    for email in [
        "",
        "a",
        "@",
        "a@",
        "@b",
        "a@b@c",
        "a b@c.d",
        " a@b.c",
        "a@b.c ",
        "a@b.c\n",
        "a\u{0}@b.c",
        "\u{e4}@b.c",
        "a@b\u{e4}.c",
        "a@b.c,d@e.f",
        "<a@b.c>",
        &long,
    ] {
        let body = json!({"email": email, "password": "x"});
        assert_eq!(
            bad_fields(&app, SIGNIN, &body).await,
            ["email"],
            "{email:?}"
        );
    }
    for password in [String::new(), "x".repeat(1025), "\u{e4}".repeat(513)] {
        let body = json!({"email": "a@b.c", "password": password});
        assert_eq!(bad_fields(&app, SIGNIN, &body).await, ["password"]);
    }
    for (email, password) in [
        (&long[1..], "x"),
        ("a@b.c", &"x".repeat(1024)),
        ("a@b", " "),
    ] {
        let body = json!({"email": email, "password": password});
        let answer = app.post(SIGNIN, &app.new_network(), &body).await;
        answer.problem(401, "invalid_credentials");
    }
}

#[tokio::test]
async fn unknown_fields_are_ignored() {
    let app = TestApp::start().await;
    app.user("alice@example.com").await;
    let body = json!({"email": "alice@example.com", "password": PASSWORD, "remember": [1, {}]});
    app.post(SIGNIN, &app.new_network(), &body).await.pair();
}

#[tokio::test]
async fn a_body_over_16_kib_is_413() {
    let app = TestApp::start().await;
    app.user("alice@example.com").await;
    let mut body = credentials();
    body.resize(16 * 1024, b' ');
    signin(&app, &[], &body).await.pair();
    body.push(b' ');
    let answer = signin(&app, &[], &body).await;
    assert_json_snapshot!(answer.problem(413, "body_too_large"), @r#"
    {
      "code": "body_too_large",
      "detail": "The body must be at most 16 KiB long.",
      "requestId": "(id)",
      "status": 413,
      "title": "Payload Too Large",
      "type": "about:blank"
    }
    "#);
}

#[tokio::test]
async fn a_body_that_says_it_is_too_large_is_refused_unread() {
    let app = TestApp::start().await;
    for path in [SIGNIN, "/api/v2/signout"] {
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 20000000\r\n\r\n"
        );
        // Not one byte of it is sent.
        send(app.public_addr(), head.as_bytes())
            .await
            .problem(413, "body_too_large");
    }
}

#[tokio::test]
async fn a_body_in_chunks_is_read_until_it_is_too_large() {
    let app = TestApp::start().await;
    app.user("alice@example.com").await;
    let chunked = |body: &[u8], end: &str| {
        let head = format!(
            "POST {SIGNIN} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\
             Transfer-Encoding: chunked\r\n\r\n{:x}\r\n",
            body.len()
        );
        [head.as_bytes(), body, b"\r\n", end.as_bytes()].concat()
    };
    let good = chunked(&credentials(), "0\r\n\r\n");
    send(app.public_addr(), &good).await.pair();
    // It never ends.
    let long = chunked(&vec![b' '; 16 * 1024 + 1], "");
    send(app.public_addr(), &long)
        .await
        .problem(413, "body_too_large");
}

#[tokio::test]
async fn an_unknown_path_is_404_and_a_wrong_method_405_with_allow() {
    let app = TestApp::start().await;
    for path in [
        "/",
        "/api",
        "/api/v2",
        "/api/v1/signin",
        "/api/v2/signin/",
        "/api/v2/SIGNIN",
    ] {
        app.get(path).await.problem(404, "not_found");
    }
    for path in [
        SIGNIN,
        "/api/v2/2fa/confirm",
        "/api/v2/refresh",
        "/api/v2/signout",
    ] {
        for method in ["GET", "PUT", "DELETE", "PATCH", "OPTIONS"] {
            let request = app.request(method, path, &app.new_network());
            let answer = app.send(request).await;
            answer.problem(405, "method_not_allowed");
            assert_eq!(answer.header("allow"), Some("POST"), "{method} {path}");
        }
    }
}

#[tokio::test]
async fn probes_and_metrics_are_not_public() {
    let app = TestApp::start().await;
    for path in ["/health/live", "/health/ready", "/metrics"] {
        app.get(path).await.problem(404, "not_found");
        assert_eq!(app.probe(path).await, 200);
    }
}

#[tokio::test]
async fn a_request_id_is_taken_over_from_a_trusted_proxy_alone_and_only_if_it_is_sound() {
    let trusting = TestApp::start().await;
    let nobody = [("http.trusted_proxies", "")];
    let plain = trusting.try_second_instance(&nobody).await.unwrap();
    for (app, id, is_kept) in [
        (&trusting, "req-1.2_3", true),
        (&trusting, &*"x".repeat(128), true),
        (&trusting, &*"x".repeat(129), false),
        (&trusting, "a b", false),
        (&trusting, "a\"b", false),
        (&trusting, "", false),
        (&plain, "req-1.2_3", false),
    ] {
        let answer = signin(app, &[("X-Request-Id", id)], b"").await;
        answer.problem(400, "malformed_request");
        assert_eq!(answer.header("x-request-id") == Some(id), is_kept, "{id}");
    }
}

#[tokio::test]
async fn forwarding_headers_mean_nothing_from_anyone_but_a_trusted_proxy() {
    let app = TestApp::with(&[("http.trusted_proxies", "")]).await;
    let alice = app.user("alice@example.com").await;
    for _ in 0..5 {
        alice.elsewhere().signin().await.pair();
    }
    // All came from the peer's own address, although they named others.
    alice.elsewhere().signin().await.limited();
}

#[tokio::test]
async fn a_request_whose_body_is_cut_short_counts_for_nothing() {
    let app = TestApp::start().await;
    let request = post(SIGNIN, &[], &credentials());
    let held = Held::open(app.public_addr(), &request).await;
    drop(held);
    let alice = app.user("alice@example.com").await;
    alice.signin().await.pair();
    let attempts = "SELECT count(*) FROM attempts WHERE scope = 'signin'";
    assert_eq!(app.count(attempts).await, 1);
}

#[tokio::test]
async fn a_defect_of_ours_is_500_and_tells_nothing_of_it() {
    let app = TestApp::start().await;
    let alice = app.user("alice@example.com").await;
    app.execute("DROP TABLE attempts").await;
    let answer = alice.signin().await;
    assert_json_snapshot!(answer.problem(500, "internal"), @r#"
    {
      "code": "internal",
      "detail": "Something went wrong on our side. Quote the request id to report it.",
      "requestId": "(id)",
      "status": 500,
      "title": "Internal Server Error",
      "type": "about:blank"
    }
    "#);
}

/// The headers by which a browser marks a request of a page of another origin.
const FOREIGN: [&[(&str, &str)]; 4] = [
    &[("Origin", "https://evil.example")],
    &[
        ("Origin", "https://evil.example"),
        ("Sec-Fetch-Site", "cross-site"),
    ],
    &[("Origin", "null")],
    &[("Sec-Fetch-Site", "same-site")],
];

/// Red with the layer taken out: the sixth is a 429, and the owner is locked out with them.
#[tokio::test]
async fn a_page_of_a_foreign_origin_spends_none_of_its_visitors_attempts() {
    let app = TestApp::with(&[
        ("limits.flood_burst", "2"),
        ("limits.flood_per_second", "1"),
    ])
    .await;
    let alice = app.user("alice@example.com").await;
    for headers in FOREIGN.repeat(3) {
        let mut all = vec![("X-Forwarded-For", alice.network.as_str())];
        all.extend(headers);
        for path in [
            SIGNIN,
            "/api/v2/2fa/confirm",
            "/api/v2/refresh",
            "/api/v2/signout",
        ] {
            let answer = send(app.public_addr(), &post(path, &all, &credentials())).await;
            answer.problem(403, "forbidden_origin");
        }
    }
    assert_eq!(app.count("SELECT count(*) FROM attempts").await, 0);
    let events = "SELECT count(*) FROM audit_events WHERE kind = 'signin'";
    assert_eq!(app.count(events).await, 0);
    let pair = alice.signin().await.pair();
    // Also with a token that the page has got hold of.
    let bearer = format!("Bearer {}", pair.access);
    for path in [
        "/api/v2/sessions",
        "/api/v2/sessions/x",
        "/oauth2/introspect",
    ] {
        let headers = [FOREIGN[0][0], ("Authorization", bearer.as_str())];
        let answer = send(app.public_addr(), &request("DELETE", path, &headers, b"")).await;
        answer.problem(403, "forbidden_origin");
    }
    let headers = [FOREIGN[0][0], ("Authorization", bearer.as_str())];
    for (method, path) in [("GET", "/api/v2/session"), ("POST", "/auth/verify")] {
        let answer = send(app.public_addr(), &request(method, path, &headers, b"")).await;
        assert_eq!(answer.status, 200, "{path}");
    }
}

#[tokio::test]
async fn pages_of_the_servers_own_origin_and_of_those_allowed_may_sign_in() {
    let app = TestApp::with(&[("http.allowed_origins", "https://office.example")]).await;
    app.user("alice@example.com").await;
    let own = format!("http://{}", app.public_addr());
    for headers in [
        &[("Origin", "https://office.example")][..],
        &[
            ("Origin", "https://office.example"),
            ("Sec-Fetch-Site", "cross-site"),
        ],
        &[("Origin", &own)],
        &[("Origin", &own), ("Sec-Fetch-Site", "same-origin")],
    ] {
        let signin = signin_at_own_host(&app, headers);
        send(app.public_addr(), &signin).await.pair();
    }
}

/// A sign-in for the host that the server listens on, as a browser sends it.
fn signin_at_own_host(app: &TestApp, headers: &[(&str, &str)]) -> Vec<u8> {
    let (network, body) = (app.new_network(), credentials());
    let mut head = format!(
        "POST {SIGNIN} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\nContent-Length: {}\r\n\
         X-Forwarded-For: {network}\r\n",
        app.public_addr(),
        body.len(),
    );
    for (name, value) in headers {
        head.extend([*name, ": ", *value, "\r\n"]);
    }
    [head.as_bytes(), b"\r\n", &body].concat()
}

/// Red with `Uuid::try_parse` alone.
#[tokio::test]
async fn an_id_in_another_form_is_none() {
    let app = TestApp::start().await;
    let (alice, pair) = app.signed_in("alice@example.com").await;
    let claims = Jwt::read(&pair.access).claims;
    let id = claims["sid"].as_str().unwrap();
    let simple = id.replace('-', "");
    for form in [&*simple, &format!("{{{id}}}"), &format!("urn:uuid:{id}")] {
        let path = format!("/api/v2/sessions/{form}");
        let ask = app.request("DELETE", &path, &alice.network);
        let answer = app.send(ask.bearer_auth(&pair.access)).await;
        answer.problem(404, "not_found");
    }
    let request = app.request("DELETE", &format!("/api/v2/sessions/{id}"), &alice.network);
    assert_eq!(
        app.send(request.bearer_auth(&pair.access)).await.status,
        204
    );
}
