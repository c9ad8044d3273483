//! `/admin/users` and `/admin/users/{id}`: the list, the invitation, one user.

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use chrono::TimeDelta;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::{
    AFTER_RULE, BadFields, PREFIX_RULE, STATE_RULE, UserParam, UserPath, cursor_after, cut,
    read_cursor, refuse_query, to_read,
};
use crate::admin::{Administration, Change, Explanation, MailState, Obstacle};
use crate::auth::Acting;
use crate::domain::{EmailAddress, TwoFactor, UserState};
use crate::http::endpoints::me::TwoFactorWord;
use crate::http::endpoints::openapi::{ADMINISTRATION, Address, JSON_BODY};
use crate::http::endpoints::sample;
use crate::http::endpoints::tokens::WireTime;
use crate::http::extract::administrator::Reading;
use crate::http::extract::body::{ApiJson, BodyFields, FromBody};
use crate::http::problem::Problem;
use crate::store::{MailRecord, UserSearch, UserSummary};

/// Characters of a prefix at most: the length of the longest address.
const LONGEST_PREFIX: usize = 254;

/// The query of `GET /admin/users`.
#[derive(Debug, Deserialize)]
pub struct UsersQuery {
    after: Option<String>,
    limit: Option<String>,
    email: Option<String>,
    state: Option<String>,
}

impl UsersQuery {
    fn parse(&self) -> Result<(UserSearch, u8), Problem> {
        let mut bad = BadFields::default();
        let limit = bad.limit(self.limit.as_deref());
        let after = bad.read("after", self.after.as_deref(), read_cursor, AFTER_RULE);
        let prefix = bad.read("email", self.email.as_deref(), read_prefix, PREFIX_RULE);
        let state = self.state.as_deref();
        let state = bad.read("state", state, UserState::from_stored, STATE_RULE);
        let search = UserSearch {
            prefix: prefix.unwrap_or_default(),
            state,
            after,
        };
        bad.or((search, limit))
    }
}

fn read_prefix(text: &str) -> Option<String> {
    let is_prefix = text.len() <= LONGEST_PREFIX && text.bytes().all(|b| b.is_ascii_graphic());
    is_prefix.then(|| text.to_ascii_lowercase())
}

/// The state of an account. Of several that are so, the first of this order: `disabled`; `invited`, who has no password
/// yet; `locked`, after too many wrong codes in a row; `active`.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = UserState)]
enum StateWord {
    Disabled,
    Invited,
    Locked,
    Active,
}

impl From<UserState> for StateWord {
    fn from(state: UserState) -> Self {
        match state {
            UserState::Disabled => Self::Disabled,
            UserState::Invited => Self::Invited,
            UserState::Locked => Self::Locked,
            UserState::Active => Self::Active,
        }
    }
}

/// A user, as administrators see them.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = ManagedUser)]
pub struct ManagedUser {
    /// The user's number in decimal.
    #[schema(pattern = r"^-?[0-9]{1,19}$")]
    id: String,
    /// The address.
    #[schema(max_length = 254)]
    email: String,
    state: StateWord,
    /// Whether the user manages others. Nothing here changes an administrator.
    administrator: bool,
    /// How a sign-in is confirmed where there is neither an authenticator app nor a passkey.
    two_factor: TwoFactorWord,
    /// Whether the user has an authenticator app.
    totp: bool,
    /// How many passkeys the user has.
    #[schema(minimum = 0)]
    passkeys: i64,
    /// Recovery codes that were not used.
    #[schema(minimum = 0)]
    recovery_codes_left: i64,
    created_at: WireTime,
    /// When the password was last set; absent if there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    password_changed_at: Option<WireTime>,
    /// When a session was last opened; absent if none was.
    #[serde(skip_serializing_if = "Option::is_none")]
    last_sign_in_at: Option<WireTime>,
}

impl From<UserSummary> for ManagedUser {
    fn from(user: UserSummary) -> Self {
        Self {
            id: user.user_id.to_string(),
            email: user.email.to_string(),
            state: user.state.into(),
            administrator: user.is_administrator,
            two_factor: user.two_factor.into(),
            totp: user.has_totp,
            passkeys: user.passkeys,
            recovery_codes_left: user.recovery_codes_left,
            created_at: user.created_at.into(),
            password_changed_at: user.password_changed_at.map(WireTime::from),
            last_sign_in_at: user.last_signin_at.map(WireTime::from),
        }
    }
}

/// A page of users, in the order of their addresses.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ManagedUsers)]
pub struct UsersResponse {
    #[schema(max_items = 200)]
    users: Vec<ManagedUser>,
    /// The value for `after`; absent on the last page.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

/// Lists users, by the beginning of the address and by state.
///
/// In the order of their addresses: on the way through the pages nobody is skipped or told twice, unless an address
/// changes meanwhile.
#[utoipa::path(
    get,
    path = "/admin/users",
    operation_id = "listUsers",
    tag = ADMINISTRATION,
    security(("accessToken" = [])),
    params(
        (
            "after" = Option<String>,
            Query,
            description = "`next` of the page before",
            max_length = 340,
            pattern = r"^[A-Za-z0-9_-]+$",
            example = "YWRtaW5AYmFyLmNvbQ",
        ),
        ("limit" = Option<u8>, Query, description = "Users at most", minimum = 1, maximum = 200, example = 50),
        (
            "email" = Option<String>,
            Query,
            description = "The beginning of the address, in upper or lower case",
            max_length = 254,
            pattern = r"^[!-~]*$",
            example = "foo@",
        ),
        (
            "state" = Option<StateWord>,
            Query,
            description = "Only users of this state",
            example = "active",
        ),
    ),
    responses((status = OK, description = "A page of users", body = UsersResponse, example = example_users)),
)]
pub async fn list(
    State(administration): State<Administration>,
    _: Reading,
    query: Result<Query<UsersQuery>, QueryRejection>,
) -> Result<Json<UsersResponse>, Problem> {
    let (search, limit) = query.map_err(refuse_query)?.0.parse()?;
    let mut users = administration.search(&search, to_read(limit)).await?;
    let last = cut(&mut users, limit);
    Ok(Json(UsersResponse {
        next: last.map(|user| cursor_after(&user.email)),
        users: users.into_iter().map(ManagedUser::from).collect(),
    }))
}

/// The body of `POST /admin/users`.
#[derive(Debug, Clone, ToSchema)]
#[schema(as = InvitationRequest, rename_all = "camelCase")]
pub struct InvitationRequest {
    /// The address: one that sign-in takes.
    #[schema(value_type = Address)]
    email: EmailAddress,
    /// How a sign-in is to be confirmed where there is neither an authenticator app nor a passkey. `email`, unless
    /// it is told.
    #[schema(value_type = TwoFactorWord, required = false)]
    two_factor: Option<TwoFactor>,
}

impl FromBody for InvitationRequest {
    fn from_body(fields: &mut BodyFields) -> Option<Self> {
        let email = fields.required("email", str::parse);
        let two_factor = fields.optional("twoFactor", str::parse);
        Some(Self {
            email: email?,
            two_factor: two_factor?,
        })
    }
}

/// Makes a user without a password, and mails a link to set one.
///
/// 404 where `links.password_url` is not set.
#[utoipa::path(
    post,
    path = "/admin/users",
    operation_id = "inviteUser",
    tag = ADMINISTRATION,
    security(("accessToken" = [])),
    request_body(content = InvitationRequest, description = JSON_BODY, example = example_invitation),
    responses((status = CREATED, description = "The user, and the mail on its way", body = ManagedUser, example = example_invited)),
)]
pub async fn invite(
    State(administration): State<Administration>,
    acting: Acting,
    ApiJson(body): ApiJson<InvitationRequest>,
) -> Result<(StatusCode, Json<ManagedUser>), Problem> {
    let two_factor = body.two_factor.unwrap_or(TwoFactor::Email);
    let user = administration
        .invite(acting, &body.email, two_factor)
        .await?;
    Ok((StatusCode::CREATED, Json(user.into())))
}

/// A mail to the user.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = ManagedMail)]
pub struct ManagedMail {
    /// The kind: `sign_in_code`, `reset_link`, `invitation_link` or `notice`. More may come.
    kind: String,
    /// When it was asked for.
    created_at: WireTime,
    state: MailWord,
    /// How often it was tried to send it.
    #[schema(minimum = 0)]
    attempts: i32,
    /// The last words of the mail server; absent if there were none.
    #[serde(skip_serializing_if = "Option::is_none")]
    last_reply: Option<String>,
}

/// The state of a mail: it waits; the mail server took it; the mail server had all of it and did not say whether it
/// takes it; the mail server refused it for good; nobody wanted it any more before it could leave.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = MailState)]
enum MailWord {
    Waiting,
    Sent,
    Unclear,
    Refused,
    Expired,
}

impl From<MailState> for MailWord {
    fn from(state: MailState) -> Self {
        match state {
            MailState::Waiting => Self::Waiting,
            MailState::Sent => Self::Sent,
            MailState::Unclear => Self::Unclear,
            MailState::Refused => Self::Refused,
            MailState::Expired => Self::Expired,
        }
    }
}

impl From<&MailRecord> for ManagedMail {
    fn from(mail: &MailRecord) -> Self {
        Self {
            kind: mail.kind.clone(),
            created_at: mail.created_at.into(),
            state: MailState::of(mail).into(),
            attempts: mail.attempts,
            last_reply: mail.last_reply.clone(),
        }
    }
}

/// An obstacle to signing in. More kinds may come.
#[derive(Debug, Serialize, ToSchema)]
#[serde(
    tag = "kind",
    rename_all = "snake_case",
    rename_all_fields = "camelCase"
)]
#[schema(as = Obstacle)]
enum ObstacleBody {
    /// The user is disabled.
    Disabled { since: WireTime },
    /// The user has no password.
    NoPassword,
    /// Too many codes in a row were wrong.
    SecondFactorLocked {
        #[schema(rename = "wrongCodes")]
        wrong_codes: i32,
    },
    /// A limit refuses.
    Limited {
        /// The limit's name, as in the audit log: `signin`, `signin_failures`, `confirm`, …
        limit: &'static str,
        /// When it ends.
        until: WireTime,
        /// The network that it refuses; absent where it refuses all, or one that is not known.
        #[serde(skip_serializing_if = "Option::is_none")]
        network: Option<String>,
    },
    /// The last mail with a code has not left.
    MailStuck { mail: ManagedMail },
}

impl ObstacleBody {
    /// `None` for what cannot be, since the user is there.
    fn of(obstacle: &Obstacle, mails: &[MailRecord]) -> Option<Self> {
        Some(match obstacle {
            Obstacle::NoUser => return None,
            Obstacle::Disabled { since } => Self::Disabled {
                since: (*since).into(),
            },
            Obstacle::NoPassword => Self::NoPassword,
            Obstacle::SecondFactorLocked { wrong_codes } => Self::SecondFactorLocked {
                wrong_codes: *wrong_codes,
            },
            Obstacle::Limited {
                scope,
                network,
                until,
            } => Self::Limited {
                limit: scope.as_str(),
                until: (*until).into(),
                network: network.map(|network| network.to_string()),
            },
            Obstacle::MailStuck(_) => Self::MailStuck {
                mail: mails.iter().rev().find(|mail| mail.is_code())?.into(),
            },
        })
    }
}

/// One user, with the obstacles to signing in now.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = ManagedUserDetails)]
pub struct UserResponse {
    #[serde(flatten)]
    user: ManagedUser,
    /// Since when the user is disabled; absent if they are not.
    #[serde(skip_serializing_if = "Option::is_none")]
    disabled_at: Option<WireTime>,
    /// The obstacles to signing in now. Empty: there are none.
    obstacles: Vec<ObstacleBody>,
    /// Mails to the user in the last days, newest first.
    #[schema(max_items = 20)]
    mails: Vec<ManagedMail>,
}

impl From<(UserSummary, Explanation)> for UserResponse {
    fn from((user, found): (UserSummary, Explanation)) -> Self {
        let disabled_at = found.user.as_ref().and_then(|user| user.disabled_at);
        let obstacles = found.obstacles.iter();
        Self {
            user: user.into(),
            disabled_at: disabled_at.map(WireTime::from),
            obstacles: obstacles
                .filter_map(|obstacle| ObstacleBody::of(obstacle, &found.mails))
                .collect(),
            mails: found.mails.iter().rev().map(ManagedMail::from).collect(),
        }
    }
}

/// Shows a user, and the obstacles to signing in now.
#[utoipa::path(
    get,
    path = "/admin/users/{id}",
    operation_id = "showUser",
    tag = ADMINISTRATION,
    security(("accessToken" = [])),
    params(UserParam),
    responses((status = OK, description = "The user as they are now", body = UserResponse, example = example_user)),
)]
pub async fn show(
    State(administration): State<Administration>,
    _: Reading,
    UserPath(user_id): UserPath,
) -> Result<Json<UserResponse>, Problem> {
    Ok(Json(administration.show(user_id).await?.into()))
}

/// Removes a user, and ends the sessions.
#[utoipa::path(
    delete,
    path = "/admin/users/{id}",
    operation_id = "deleteUser",
    tag = ADMINISTRATION,
    security(("accessToken" = [])),
    params(UserParam),
    responses((status = NO_CONTENT, description = "The user is gone")),
)]
pub async fn delete(
    State(administration): State<Administration>,
    acting: Acting,
    UserPath(user_id): UserPath,
) -> Result<StatusCode, Problem> {
    administration
        .change(acting, user_id, Change::Delete)
        .await?;
    Ok(StatusCode::NO_CONTENT)
}

fn sample_user(state: UserState) -> UserSummary {
    let has_password = state != UserState::Invited;
    UserSummary {
        user_id: sample::claims().sub,
        email: sample::EMAIL.parse().expect("it is an address"),
        state,
        is_administrator: false,
        two_factor: TwoFactor::Email,
        has_totp: false,
        passkeys: 0,
        recovery_codes_left: 0,
        created_at: sample::at(-86_400),
        password_changed_at: has_password.then(|| sample::at(-86_000)),
        last_signin_at: has_password.then(|| sample::at(0)),
    }
}

/// From `GET /admin/users`.
fn example_users() -> Value {
    sample::wire(UsersResponse {
        users: vec![sample_user(UserState::Active).into()],
        next: Some(cursor_after(&sample_user(UserState::Active).email)),
    })
}

/// To `POST /admin/users`.
fn example_invitation() -> Value {
    json!({"email": sample::EMAIL, "twoFactor": "email"})
}

/// From `POST /admin/users`.
fn example_invited() -> Value {
    sample::wire(ManagedUser::from(sample_user(UserState::Invited)))
}

/// From `GET /admin/users/{id}`.
fn example_user() -> Value {
    let mail = || ManagedMail {
        kind: "sign_in_code".to_owned(),
        created_at: sample::at(0).into(),
        state: MailWord::Waiting,
        attempts: 2,
        last_reply: Some("451 4.7.1 Greylisted, try again later".to_owned()),
    };
    sample::wire(UserResponse {
        user: sample_user(UserState::Active).into(),
        disabled_at: None,
        obstacles: vec![
            ObstacleBody::Limited {
                limit: "signin",
                until: (sample::at(0) + TimeDelta::seconds(300)).into(),
                network: Some("203.0.113.7".to_owned()),
            },
            ObstacleBody::MailStuck { mail: mail() },
        ],
        mails: vec![mail()],
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(query: &UsersQuery) -> Result<(UserSearch, u8), Vec<&'static str>> {
        query.parse().map_err(|problem| {
            let errors = problem.errors().iter();
            errors.map(|error| error.field).collect()
        })
    }

    const EMPTY: UsersQuery = UsersQuery {
        after: None,
        limit: None,
        email: None,
        state: None,
    };

    #[test]
    fn without_a_query_the_first_page_of_all_users_is_meant() {
        let (search, limit) = parse(&EMPTY).unwrap();
        assert_eq!((search.prefix.as_str(), limit), ("", 50));
        assert!(search.state.is_none() && search.after.is_none());
    }

    #[test]
    fn all_bad_fields_of_a_query_are_named_at_once() {
        let text = |text: &str| Some(text.to_owned());
        let bad = UsersQuery {
            after: text("a@b.c"),
            limit: text("201"),
            email: text("a b"),
            state: text("Active"),
        };
        assert_eq!(
            parse(&bad).unwrap_err(),
            ["limit", "after", "email", "state"]
        );
        for limit in ["0", "", "-1", "ten", "256"] {
            let query = UsersQuery {
                limit: text(limit),
                ..EMPTY
            };
            assert_eq!(parse(&query).unwrap_err(), ["limit"], "{limit}");
        }
        let good = UsersQuery {
            limit: text("200"),
            email: text("Foo@"),
            ..EMPTY
        };
        let (search, limit) = parse(&good).unwrap();
        assert_eq!((search.prefix.as_str(), limit), ("foo@", 200));
    }
}
