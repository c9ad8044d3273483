//! `[limits]`: how much is too much.

use super::super::reader::{Reader, Reading};
use super::super::types::LimitsConfig;
use super::DAY;
use crate::domain::Limit;

const MOST: u32 = 1_000_000;

pub(super) fn limits(reader: &mut Reader) -> Reading<LimitsConfig> {
    let signin = limit(reader, "limits.signin");
    let confirm = limit(reader, "limits.confirm");
    let refresh = limit(reader, "limits.refresh");
    let account = limit(reader, "limits.account");
    let administration = limit(reader, "limits.administration");
    let forgot = limit(reader, "limits.forgot");
    let mut ceiling = |name: &str| reader.number(&format!("limits.{name}"), 1..=MOST);
    let signin_network_per_minute = ceiling("signin_network_per_minute");
    let signin_account_failures_per_hour = ceiling("signin_account_failures_per_hour");
    let confirm_failures_per_account = ceiling("confirm_failures_per_account");
    let mails_per_account = ceiling("mails_per_account");
    let forgot_network_per_minute = ceiling("forgot_network_per_minute");
    let link_mails_per_account = ceiling("link_mails_per_account");
    let strangers_burst = ceiling("strangers_burst");
    let strangers_per_second = ceiling("strangers_per_second");
    let flood_burst = ceiling("flood_burst");
    let flood_per_second = ceiling("flood_per_second");
    Ok(LimitsConfig {
        signin: signin?,
        confirm: confirm?,
        refresh: refresh?,
        account: account?,
        administration: administration?,
        forgot: forgot?,
        forgot_network_per_minute: forgot_network_per_minute?,
        signin_network_per_minute: signin_network_per_minute?,
        signin_account_failures_per_hour: signin_account_failures_per_hour?,
        confirm_failures_per_account: confirm_failures_per_account?,
        mails_per_account: mails_per_account?,
        link_mails_per_account: link_mails_per_account?,
        flood_burst: flood_burst?,
        strangers_burst: strangers_burst?,
        strangers_per_second: strangers_per_second?,
        flood_per_second: flood_per_second?,
    })
}

fn limit(reader: &mut Reader, section: &str) -> Reading<Limit> {
    let attempts = reader.number(&format!("{section}.attempts"), 1..=MOST);
    let window = reader.seconds(&format!("{section}.window_seconds"), 1..=DAY);
    let block = reader.seconds(&format!("{section}.block_seconds"), 1..=DAY);
    Ok(Limit {
        attempts: attempts?,
        window: window?,
        block: Some(block?),
    })
}
