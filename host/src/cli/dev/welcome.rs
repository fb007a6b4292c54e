//! The text that `roost dev` prints when it serves: the tokens of two users, and commands to paste that show presence,
//! a message and a counter.

use std::net::SocketAddr;
use std::time::Duration;

use super::users::{ADA, BEN, CONVERSATION};
use crate::config::AuthConfig;
use crate::server::auth::issuer::{self, TokenError};

const TOKEN_LIFE: Duration = Duration::from_secs(30 * 86_400);

pub(super) fn text(auth: &AuthConfig, listen: SocketAddr, admin: SocketAddr) -> Result<String, TokenError> {
    let (listen, admin) = (reachable(listen), reachable(admin));
    let (ada, ben) = (issuer::sign(auth, ADA, TOKEN_LIFE)?, issuer::sign(auth, BEN, TOKEN_LIFE)?);
    let admin_key = auth.admin_key.as_ref().map_or("", |key| key.0.as_str());
    let service_key = auth.service_keys.first().map_or("", |key| key.0.as_str());
    Ok(format!(
        r#"
Roost is up: http://{listen}

Ada and Ben are contacts and have a conversation. Paste this into two terminals; the tokens are valid for 30 days:
  ADA={ada}
  BEN={ben}
  ROOST={listen} CONVERSATION={CONVERSATION}

1. As Ben, open a WebSocket in one terminal, with one of these clients
  websocat "ws://$ROOST/v1/socket?token=$BEN"
  wscat -c "ws://$ROOST/v1/socket?token=$BEN"
  python3 -m websockets "ws://$ROOST/v1/socket?token=$BEN"
   or receive the same events without a WebSocket client
  curl -N -H "Authorization: Bearer $BEN" http://$ROOST/v1/events

2. As Ada, in the other terminal: is Ben online? Send him a message; his terminal shows it at once
  curl -H "Authorization: Bearer $ADA" http://$ROOST/v1/presence/{BEN}
  curl -H "Authorization: Bearer $ADA" -H "Content-Type: application/json" -d '{{"content":"Hello Ben"}}' http://$ROOST/v1/conversations/$CONVERSATION/messages

3. As Ben: show the unread counter; then read everything, and all devices of Ben receive the counter zero
  curl -H "Authorization: Bearer $BEN" http://$ROOST/v1/unread
  curl -H "Authorization: Bearer $BEN" -X POST http://$ROOST/v1/conversations/$CONVERSATION/read

When you save a source file, the functions are rebuilt and replaced; sockets stay open.
A backend acts for any user:
  curl -H "Authorization: Bearer {service_key}" -H "Roost-User: {ADA}" http://{listen}/v1/contacts
Operators read http://{admin}/metrics and /readyz, run `roost functions`, or
  curl -H "Authorization: Bearer {admin_key}" http://{admin}/functions
Ctrl-C stops.
"#
    ))
}

/// An address that this machine can connect to, also where the listener has every address.
fn reachable(address: SocketAddr) -> SocketAddr {
    match address {
        SocketAddr::V4(v4) if v4.ip().is_unspecified() => ([127, 0, 0, 1], v4.port()).into(),
        SocketAddr::V6(v6) if v6.ip().is_unspecified() => ([0, 0, 0, 0, 0, 0, 0, 1], v6.port()).into(),
        address => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Secret, Sources, TokenKey};

    #[test]
    fn the_text_contains_every_address_and_secret_that_a_command_needs() {
        let mut auth = Sources::default().load().unwrap().auth;
        auth.keys = vec![TokenKey::Secret(Secret("0123456789abcdef0123456789abcdef".to_owned()))];
        auth.admin_key = Some(Secret("the-admin-key".to_owned()));
        auth.service_keys = vec![Secret("the-service-key".to_owned())];
        let text = text(&auth, ([0, 0, 0, 0], 8080).into(), ([127, 0, 0, 1], 9090).into()).unwrap();
        for part in [
            "ROOST=127.0.0.1:8080",
            "http://127.0.0.1:9090/metrics",
            "the-admin-key",
            "the-service-key",
            "ADA=ey",
            "BEN=ey",
        ] {
            assert!(text.contains(part), "{part}");
        }
    }
}
