//! What a newcomer reads when `roost dev` is up: two tokens, and lines to paste that show presence, a message and a
//! counter.

use std::net::SocketAddr;
use std::time::Duration;

use super::people::{ADA, BEN, TALK};
use crate::config::AuthConfig;
use crate::token::{self, TokenError};

const TOKEN_LIFE: Duration = Duration::from_secs(30 * 86_400);

pub(super) fn text(auth: &AuthConfig, listen: SocketAddr, admin: SocketAddr) -> Result<String, TokenError> {
    let (listen, admin) = (reachable(listen), reachable(admin));
    let (ada, ben) = (token::sign(auth, ADA, TOKEN_LIFE)?, token::sign(auth, BEN, TOKEN_LIFE)?);
    let admin_key = auth.admin_key.as_ref().map_or("", |key| key.0.as_str());
    let service_key = auth.service_keys.first().map_or("", |key| key.0.as_str());
    Ok(format!(
        r#"
Roost is up: http://{listen}

Ada and Ben are contacts and have a conversation. Their tokens, good for 30 days:
  Ada  {ADA}
  {ada}
  Ben  {BEN}
  {ben}

1. Be Ben: open his socket in another terminal, with any WebSocket client (one of these)
  websocat "ws://{listen}/v1/socket?token={ben}"
  wscat -c "ws://{listen}/v1/socket?token={ben}"
  python3 -m websockets "ws://{listen}/v1/socket?token={ben}"
   or as Server-Sent Events
  curl -N -H "Authorization: Bearer {ben}" http://{listen}/v1/events

2. Be Ada: is Ben online? Write to him; his socket shows it at once
  curl -H "Authorization: Bearer {ada}" http://{listen}/v1/presence/{BEN}
  curl -H "Authorization: Bearer {ada}" -d '{{"content":"Hello Ben"}}' http://{listen}/v1/conversations/{TALK}/messages

3. Ben's counter; then he reads everything, and it is zero on all of his devices
  curl -H "Authorization: Bearer {ben}" http://{listen}/v1/unread
  curl -H "Authorization: Bearer {ben}" -X POST http://{listen}/v1/conversations/{TALK}/read

Save a file in functions/ and it is rebuilt and swapped in; the sockets stay up.
Operators: http://{admin}/metrics, /readyz, /healthz; `roost functions`, or
  curl -H "Authorization: Bearer {admin_key}" http://{admin}/functions
Backends: any route as any user
  curl -H "Authorization: Bearer {service_key}" -H "Roost-User: {ADA}" http://{listen}/v1/contacts
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
