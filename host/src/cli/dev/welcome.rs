//! What a newcomer reads when `roost dev` is up: two tokens, and lines to paste that show presence, a message and a
//! counter.

use std::net::SocketAddr;
use std::time::Duration;

use super::people::{ADA, BEN, TALK};
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

Ada and Ben are contacts and have a conversation. Paste this into two terminals; the tokens are good for 30 days:
  ADA={ada}
  BEN={ben}
  ROOST={listen} TALK={TALK}

1. Be Ben: open his socket in one terminal, with any WebSocket client (one of these)
  websocat "ws://$ROOST/v1/socket?token=$BEN"
  wscat -c "ws://$ROOST/v1/socket?token=$BEN"
  python3 -m websockets "ws://$ROOST/v1/socket?token=$BEN"
   or follow the same events without one
  curl -N -H "Authorization: Bearer $BEN" http://$ROOST/v1/events

2. Be Ada in the other: is Ben online? Write to him; his terminal shows it at once
  curl -H "Authorization: Bearer $ADA" http://$ROOST/v1/presence/{BEN}
  curl -H "Authorization: Bearer $ADA" -H "Content-Type: application/json" -d '{{"content":"Hello Ben"}}' http://$ROOST/v1/conversations/$TALK/messages

3. Ben's counter; then he reads everything, and every device of his is told that it is zero
  curl -H "Authorization: Bearer $BEN" http://$ROOST/v1/unread
  curl -H "Authorization: Bearer $BEN" -X POST http://$ROOST/v1/conversations/$TALK/read

Save a file in functions/ and it is rebuilt and swapped in; the sockets stay up.
Backends act for anybody:
  curl -H "Authorization: Bearer {service_key}" -H "Roost-User: {ADA}" http://{listen}/v1/contacts
Operators look at http://{admin}/metrics and /readyz, run `roost functions`, or
  curl -H "Authorization: Bearer {admin_key}" http://{admin}/functions
Ctrl-C stops.
"#
    ))
}

/// A listener on every address is reached on this machine's own.
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
    fn every_address_and_every_secret_that_a_line_needs_is_there() {
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
