//! Administrators: the conditions for acting as one, and for acting on a user.

use std::time::Duration;

use super::words::words;
use super::{AttemptInFlight, Client, ClientNetwork, Operator, RequestId, SessionId, UserId};

words! {
    /// Why an administrator's request was refused.
    pub enum AdministrationRefusal {
        /// The caller is no administrator.
        NotAdministrator = "not_administrator",
        /// The caller is an administrator without an authenticator app or a passkey.
        NoStrongFactor = "no_strong_factor",
        /// The caller has an authenticator app or a passkey, and signed in without it.
        WithoutFactor = "signed_in_without_factor",
        /// The caller's session was opened too long ago for an act.
        NotFresh = "not_fresh",
        /// The act was meant for an administrator: oneself or another one.
        OnAdministrator = "on_administrator",
        /// Nobody has the number.
        UnknownUser = "unknown_user",
        /// Somebody has the address already.
        AddressTaken = "address_taken",
        /// So many links were mailed to the address recently that there was none to invite its owner with.
        TooManyLinks = "too_many_links",
    }
}

/// The facts that the database has about a caller: role, factors and session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AdministratorFacts {
    /// Whether the user has the role.
    pub is_administrator: bool,
    /// Whether the session was opened with an authenticator app or a passkey.
    pub strong_factor: StrongFactor,
    /// Whether the session was opened recently.
    pub is_fresh: bool,
}

/// The authenticator app or passkey of a caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StrongFactor {
    /// The user has none.
    Missing,
    /// The user has one, and the session was opened without it.
    Unused,
    /// The session was opened with it: `mfa` is among its methods.
    Used,
}

/// The rule that an administrator is held to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AdministrationRule {
    /// Whether the session must have been opened with an authenticator app or a passkey.
    pub requires_mfa: bool,
    /// For how long after a sign-in its session may act.
    pub fresh: Duration,
}

/// The access that an administrator asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AdministrationAccess {
    /// To look at users, their sessions and their events.
    Read,
    /// To change something, which needs a session that was opened recently.
    Act,
}

impl AdministrationRule {
    /// Whether a caller is let in, and if not, why.
    pub fn check(
        &self,
        facts: AdministratorFacts,
        access: AdministrationAccess,
    ) -> Result<(), AdministrationRefusal> {
        if !facts.is_administrator {
            return Err(AdministrationRefusal::NotAdministrator);
        }
        match facts.strong_factor {
            _ if !self.requires_mfa => {}
            StrongFactor::Missing => return Err(AdministrationRefusal::NoStrongFactor),
            StrongFactor::Unused => return Err(AdministrationRefusal::WithoutFactor),
            StrongFactor::Used => {}
        }
        if access == AdministrationAccess::Act && !facts.is_fresh {
            return Err(AdministrationRefusal::NotFresh);
        }
        Ok(())
    }
}

/// An administrator who acts over HTTP.
#[derive(Debug, Clone)]
pub struct Administrator {
    /// The user's number.
    pub user_id: UserId,
    /// The session that acts.
    pub session_id: SessionId,
    /// The network that the request came from.
    pub network: ClientNetwork,
    /// The id of that request.
    pub request_id: RequestId,
    /// The attempts that the act takes up of the limit. They are settled with it.
    pub attempts: Vec<AttemptInFlight>,
}

impl Administrator {
    /// The owner of a session, who sent a request.
    #[must_use]
    pub fn of(user_id: UserId, session_id: SessionId, client: &Client) -> Self {
        Self {
            user_id,
            session_id,
            network: client.network,
            request_id: client.request_id.clone(),
            attempts: Vec::new(),
        }
    }
}

/// The author of a change of a user: an operator on the command line, or an administrator over HTTP.
#[derive(Debug, Clone)]
pub enum Actor {
    /// An operator, who may do everything.
    Operator(Operator),
    /// An administrator, whose role and session are looked at in the transaction of each act.
    Administrator(Administrator),
}

impl From<&Operator> for Actor {
    fn from(operator: &Operator) -> Self {
        Self::Operator(operator.clone())
    }
}

impl From<Administrator> for Actor {
    fn from(administrator: Administrator) -> Self {
        Self::Administrator(administrator)
    }
}

#[cfg(test)]
mod tests {
    use super::AdministrationAccess::{Act, Read};
    use super::AdministrationRefusal::*;
    use super::*;

    const GOOD: AdministratorFacts = AdministratorFacts {
        is_administrator: true,
        strong_factor: StrongFactor::Used,
        is_fresh: true,
    };

    fn rule(requires_mfa: bool) -> AdministrationRule {
        AdministrationRule {
            requires_mfa,
            fresh: Duration::from_mins(15),
        }
    }

    #[test]
    fn each_thing_that_an_administrator_lacks_is_refused_in_its_order() {
        let check = |facts, access| rule(true).check(facts, access);
        let stale = AdministratorFacts {
            is_fresh: false,
            ..GOOD
        };
        let without = AdministratorFacts {
            strong_factor: StrongFactor::Unused,
            ..stale
        };
        let bare = AdministratorFacts {
            strong_factor: StrongFactor::Missing,
            ..without
        };
        let nobody = AdministratorFacts {
            is_administrator: false,
            ..bare
        };
        for access in [Read, Act] {
            assert_eq!(check(GOOD, access), Ok(()));
            assert_eq!(check(without, access), Err(WithoutFactor));
            assert_eq!(check(bare, access), Err(NoStrongFactor));
            assert_eq!(check(nobody, access), Err(NotAdministrator));
        }
        assert_eq!(check(stale, Read), Ok(()));
        assert_eq!(check(stale, Act), Err(NotFresh));
    }

    #[test]
    fn where_no_second_factor_is_asked_for_role_and_freshness_remain() {
        let bare = AdministratorFacts {
            strong_factor: StrongFactor::Missing,
            ..GOOD
        };
        assert_eq!(rule(false).check(bare, Act), Ok(()));
        let stale = AdministratorFacts {
            is_fresh: false,
            ..bare
        };
        assert_eq!(rule(false).check(stale, Act), Err(NotFresh));
        let nobody = AdministratorFacts {
            is_administrator: false,
            ..bare
        };
        assert_eq!(rule(false).check(nobody, Read), Err(NotAdministrator));
    }
}
