//! Administrators: let in before path, query or body are looked at, so that nobody else learns anything by these.

use axum::extract::{FromRef, FromRequestParts};
use axum::http::request::Parts;

use super::bearer::BearerToken;
use crate::auth::{Acting, Auth};
use crate::domain::{Client, SessionId};
use crate::http::problem::Problem;

/// An administrator who may see.
#[derive(Debug)]
pub struct Reading {
    /// The session that asks.
    pub session_id: SessionId,
}

impl<S: Send + Sync> FromRequestParts<S> for Reading
where
    Auth: FromRef<S>,
{
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let token = BearerToken::from_request_parts(parts, state).await?;
        let client = Client::from_request_parts(parts, state).await?;
        let auth = Auth::from_ref(state);
        let session_id = auth.admit_reader(&client, token.expose()).await?;
        Ok(Self { session_id })
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Acting
where
    Auth: FromRef<S>,
{
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let token = BearerToken::from_request_parts(parts, state).await?;
        let client = Client::from_request_parts(parts, state).await?;
        let auth = Auth::from_ref(state);
        Ok(auth.admit_actor(&client, token.expose()).await?)
    }
}
