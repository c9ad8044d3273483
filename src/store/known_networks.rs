//! The table `known_networks`.

use ipnet::IpNet;

use super::run::Run as _;
use super::{Store, StoreError, seconds};
use crate::domain::policy::KNOWN_FOR;
use crate::domain::{ClientNetwork, EmailAddress};

/// Whether anybody signed in recently from a network, or from anywhere at its provider's.
#[derive(Debug, Clone, Copy)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "they are the answers to four questions, in the words of a row"
)]
pub struct KnownNetwork {
    /// The user with the address, from the very network.
    pub owner_here: bool,
    /// The same, from the provider's.
    pub owner_nearby: bool,
    /// Any user, from the very network.
    pub anybody_here: bool,
    /// Any user, from the provider's.
    pub anybody_nearby: bool,
}

impl Store {
    /// Tells whether the address's owner, or anybody, is known from a network.
    ///
    /// The provider's network is given by its bounds, because an index can be searched for those.
    pub async fn find_known_network(
        &self,
        email: &EmailAddress,
        network: ClientNetwork,
    ) -> Result<KnownNetwork, StoreError> {
        let (first, last) = network.provider_bounds();
        let query = sqlx::query_as!(
            KnownNetwork,
            r#"
            WITH recent AS NOT MATERIALIZED (
                SELECT user_id, network FROM known_networks
                 WHERE last_signin_at > clock_timestamp() - make_interval(secs => $5)
            ), owner AS (
                SELECT user_id FROM users WHERE email = $1
            )
            SELECT EXISTS (SELECT FROM recent JOIN owner USING (user_id)
                            WHERE network = $2) AS "owner_here!",
                   EXISTS (SELECT FROM recent JOIN owner USING (user_id)
                            WHERE network BETWEEN $3 AND $4) AS "owner_nearby!",
                   EXISTS (SELECT FROM recent
                            WHERE network = $2) AS "anybody_here!",
                   EXISTS (SELECT FROM recent
                            WHERE network BETWEEN $3 AND $4) AS "anybody_nearby!"
            "#,
            email.as_str(),
            network.as_net() as IpNet,
            first as IpNet,
            last as IpNet,
            seconds(KNOWN_FOR),
        );
        self.fetch_one(query).await
    }
}
