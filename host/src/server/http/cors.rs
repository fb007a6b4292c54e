//! Cross-origin requests: pages of the origins in `allowed_origins` may call the public listener and read its answers,
//! refusals included. Without such origins nothing here has an effect, and browsers keep pages of other origins out.
//!
//! There is no wildcard: an answer names the origin of the page that asked, so that credentials of a proxy in front,
//! such as the cookie of a load balancer, can be sent along.

use axum::body::Body;
use axum::http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_METHOD,
    ORIGIN, VARY,
};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode};
use axum::response::Response;

/// The methods of all routes, those of functions included.
const METHODS: &str = "GET, HEAD, POST, PUT, PATCH, DELETE";
/// The headers that the host reads.
const REQUEST_HEADERS: &str = "Authorization, Content-Type, Last-Event-ID, Roost-User, traceparent, X-Request-Id";
/// The headers that a page needs to understand an answer, and may not read by default.
const ANSWER_HEADERS: &str = "Allow, Retry-After, Roost-Trace, WWW-Authenticate";
/// How many seconds a browser may remember a preflight. No browser remembers it for longer than a day.
const MAX_AGE: &str = "86400";

/// The origins whose pages may call.
#[derive(Clone, Debug)]
pub(super) struct Cors {
    origins: Vec<String>,
}

/// What an answer says to the page that asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum CorsGrant {
    /// No origins are configured.
    Off,
    /// The request comes from no page, or from a page that may not call. The answer to an allowed origin would differ.
    Denied,
    /// The page of this origin may read the answer.
    Given(HeaderValue),
}

impl Cors {
    pub(super) fn new(origins: &[String]) -> Self {
        Self { origins: origins.to_vec() }
    }

    /// What the answer to a request with these headers has to say.
    pub(super) fn grant(&self, headers: &HeaderMap) -> CorsGrant {
        if self.origins.is_empty() {
            return CorsGrant::Off;
        }
        let is_listed = |origin: &&HeaderValue| {
            let text = origin.to_str().unwrap_or_default();
            self.origins.iter().any(|listed| listed.eq_ignore_ascii_case(text))
        };
        headers.get(ORIGIN).filter(is_listed).map_or(CorsGrant::Denied, |origin| CorsGrant::Given(origin.clone()))
    }
}

impl CorsGrant {
    /// The answer to a preflight, with which a browser asks what a page may send; `None` for any other request. What is
    /// at the path is not said: the request that follows is answered with it, and the page can read that.
    pub(super) fn preflight(&self, method: &Method, headers: &HeaderMap) -> Option<Response> {
        let asks = method == Method::OPTIONS && headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD);
        if !asks || !matches!(self, Self::Given(_)) {
            return None;
        }
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::NO_CONTENT;
        let headers = response.headers_mut();
        headers.insert(ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static(METHODS));
        headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static(REQUEST_HEADERS));
        headers.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static(MAX_AGE));
        Some(response)
    }

    /// Adds to an answer what lets the page read it.
    pub(super) fn add_to(self, response: &mut Response) {
        let headers = response.headers_mut();
        if self != Self::Off {
            headers.append(VARY, HeaderValue::from_static("Origin"));
        }
        if let Self::Given(origin) = self {
            headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
            headers.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
            headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static(ANSWER_HEADERS));
        }
    }
}

#[cfg(test)]
mod tests {
    use axum::http::Request;
    use axum::http::request::Parts;

    use super::*;

    const PAGE: &str = "https://chat.example";

    fn cors(origins: &[&str]) -> Cors {
        Cors::new(&origins.iter().map(|origin| (*origin).to_owned()).collect::<Vec<_>>())
    }

    fn parts(method: Method, headers: &[(&str, &str)]) -> Parts {
        let request = Request::builder().method(method).uri("/v1/unread");
        let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        request.body(()).unwrap().into_parts().0
    }

    fn answered(cors: &Cors, request: &Parts) -> HeaderMap {
        let mut response = Response::new(Body::empty());
        cors.grant(&request.headers).add_to(&mut response);
        response.headers().clone()
    }

    #[test]
    fn a_listed_origin_is_named_and_any_other_is_not() {
        let cors = cors(&[PAGE, "http://localhost:3000"]);
        let headers = answered(&cors, &parts(Method::GET, &[("origin", "https://Chat.example")]));
        assert_eq!(headers[ACCESS_CONTROL_ALLOW_ORIGIN], "https://Chat.example");
        assert_eq!(headers[VARY], "Origin");
        assert_eq!(headers[ACCESS_CONTROL_ALLOW_CREDENTIALS], "true");
        assert!(headers[ACCESS_CONTROL_EXPOSE_HEADERS].to_str().unwrap().contains("Retry-After"));
        for other in ["https://evil.example", "https://chat.example.evil", "http://chat.example", "null", "*", ""] {
            let headers = answered(&cors, &parts(Method::GET, &[("origin", other)]));
            assert_eq!((headers.len(), &headers[VARY]), (1, &HeaderValue::from_static("Origin")), "{other}");
        }
        assert_eq!(answered(&cors, &parts(Method::GET, &[])).len(), 1, "caches keep the answers of pages apart");
    }

    #[test]
    fn without_origins_no_answer_changes() {
        let cors = cors(&[]);
        let request = parts(Method::OPTIONS, &[("origin", PAGE), ("access-control-request-method", "PUT")]);
        assert!(answered(&cors, &request).is_empty());
        assert!(cors.grant(&request.headers).preflight(&request.method, &request.headers).is_none());
    }

    #[test]
    fn a_preflight_is_answered_and_nothing_else() {
        let cors = cors(&[PAGE]);
        let preflight = |method: Method, headers: &[(&str, &str)]| {
            let request = parts(method, headers);
            cors.grant(&request.headers).preflight(&request.method, &request.headers)
        };
        let asks = ("access-control-request-method", "PUT");
        let answer = preflight(Method::OPTIONS, &[("origin", PAGE), asks]).unwrap();
        assert_eq!(answer.status(), StatusCode::NO_CONTENT);
        let header = |name| answer.headers()[name].to_str().unwrap().to_owned();
        assert!(header(ACCESS_CONTROL_ALLOW_METHODS).split(", ").any(|method| method == "PUT"));
        let allowed = header(ACCESS_CONTROL_ALLOW_HEADERS);
        assert!(["Authorization", "Content-Type"].iter().all(|name| allowed.contains(name)) && !allowed.contains('*'));
        assert!(header(ACCESS_CONTROL_MAX_AGE).parse::<u32>().unwrap() > 0);
        assert!(preflight(Method::OPTIONS, &[("origin", PAGE)]).is_none());
        assert!(preflight(Method::OPTIONS, &[asks]).is_none());
        assert!(preflight(Method::OPTIONS, &[("origin", "https://evil.example"), asks]).is_none());
        assert!(preflight(Method::GET, &[("origin", PAGE), asks]).is_none());
    }
}
