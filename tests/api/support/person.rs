//! The people who use the server: an address, and the network that they come from.

use serde_json::{Value, json};

use super::scanner::{self, Kind};
use super::{Answer, TestApp};

/// The right password of every user here.
pub const PASSWORD: &str = "violet-anvil-67";

/// Somebody at one instance's door.
#[derive(Clone)]
pub struct Person<'a> {
    pub app: &'a TestApp,
    pub email: String,
    pub network: String,
}

impl<'a> Person<'a> {
    pub fn new(app: &'a TestApp, email: &str, network: String) -> Self {
        scanner::know(Kind::Address, email);
        Self {
            app,
            email: email.to_owned(),
            network,
        }
    }

    /// The same person in a network where nobody was before.
    pub fn elsewhere(&self) -> Self {
        Self::new(self.app, &self.email, self.app.new_network())
    }

    /// The same person, served by another instance.
    pub fn at<'b>(&self, app: &'b TestApp) -> Person<'b> {
        Person::new(app, &self.email, self.network.clone())
    }

    /// Signs in with the right password.
    pub async fn signin(&self) -> Answer {
        self.signin_with(PASSWORD).await
    }

    pub async fn signin_with(&self, password: &str) -> Answer {
        if password.len() >= 8 {
            scanner::know(Kind::Password, password);
        }
        let body = json!({"email": self.email, "password": password});
        self.app.post("/api/v2/signin", &self.network, &body).await
    }

    /// Signs in with the right password and gets the 2FA token.
    pub async fn challenge(&self) -> String {
        let body = self.signin().await.ok();
        body["2faDetails"]["token"].as_str().unwrap().to_owned()
    }

    /// Signs in with the right password and gets the 2FA token and the mailed code.
    pub async fn challenge_and_code(&self) -> (String, String) {
        (self.challenge().await, self.code().await)
    }

    /// The code in the next mail.
    pub async fn code(&self) -> String {
        self.app.code_for(&self.email).await
    }

    pub async fn confirm(&self, token: &str, code: &str) -> Answer {
        let body = json!({"token": token, "code": code});
        let path = "/api/v2/2fa/confirm";
        self.app.post(path, &self.network, &body).await
    }

    pub async fn refresh(&self, token: &str) -> Answer {
        let body = json!({"refreshToken": token});
        self.app.post("/api/v2/refresh", &self.network, &body).await
    }

    pub async fn signout(&self, token: &str) -> Answer {
        let request = self.app.request("POST", "/api/v2/signout", &self.network);
        self.app.send(request.bearer_auth(token)).await
    }

    /// Asks for something with an access token.
    pub async fn ask(&self, token: &str, method: &str, path: &str, body: Option<Value>) -> Answer {
        let path = format!("/api/v2/{path}");
        let request = self.app.request(method, &path, &self.network);
        let request = request.bearer_auth(token);
        let request = match body {
            Some(body) => request.json(&body),
            None => request,
        };
        self.app.send(request).await
    }

    /// `GET /me`.
    pub async fn me(&self, token: &str) -> Answer {
        let request = self.app.request("GET", "/api/v2/me", &self.network);
        self.app.send(request.bearer_auth(token)).await
    }

    pub async fn change_password(&self, token: &str, current: &str, new: &str) -> Answer {
        for password in [current, new] {
            // An address is no secret, even as a password that is refused.
            if password.len() >= 8 && password != self.email {
                scanner::know(Kind::Password, password);
            }
        }
        let body = json!({"currentPassword": current, "newPassword": new});
        let path = "/api/v2/me/password";
        let request = self.app.request("POST", path, &self.network);
        self.app.send(request.bearer_auth(token).json(&body)).await
    }

    // Refusals, by the one answer of each method. Each tells the problem.

    pub async fn fails_to_signin_with(&self, password: &str) -> Value {
        let refused = self.signin_with(password).await;
        refused.problem(401, "invalid_credentials")
    }

    pub async fn fails_to_confirm(&self, token: &str, code: &str) -> Value {
        let refused = self.confirm(token, code).await;
        refused.problem(401, "invalid_two_factor")
    }

    pub async fn fails_to_refresh(&self, token: &str) -> Value {
        let refused = self.refresh(token).await;
        refused.problem(401, "invalid_refresh_token")
    }

    pub async fn fails_to_signout(&self, token: &str) -> Value {
        let refused = self.signout(token).await;
        refused.problem(401, "invalid_access_token")
    }
}

/// A code that is not this one.
pub fn other_than(code: &str) -> String {
    let number: u32 = code.parse().unwrap();
    format!("{:06}", (number + 1) % 1_000_000)
}
