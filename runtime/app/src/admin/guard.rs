//! Refuses requests of web pages. The API listens on this machine only, but so do its browsers: a
//! page can have a browser send requests here, and through a name that resolves to 127.0.0.1 (DNS
//! rebinding) even read the answers.

use axum::extract::Request;
use axum::http::header::{CONTENT_TYPE, HOST, ORIGIN};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::answer::problem;

/// Passes a request whose host is this machine. A request that changes something must also have a
/// content type that a page of another site can only send after a CORS preflight, which is never
/// granted here.
pub async fn guard(request: Request, next: Next) -> Response {
    match judge(request.method(), request.headers()) {
        Ok(()) => next.run(request).await,
        Err((status, reason)) => problem(status, reason).into_response(),
    }
}

fn judge(method: &Method, headers: &HeaderMap) -> Result<(), (StatusCode, &'static str)> {
    let host = headers.get(HOST).and_then(|host| host.to_str().ok());
    if !host.is_some_and(is_this_machine) {
        let reason = "the Host header must be localhost, 127.0.0.1 or [::1]: this API is for this machine only";
        return Err((StatusCode::MISDIRECTED_REQUEST, reason));
    }
    // Browsers report where a request comes from.
    let site = headers.get("sec-fetch-site").and_then(|site| site.to_str().ok());
    let foreign = headers.get(ORIGIN).is_some_and(|origin| {
        let origin = origin.to_str().ok().and_then(|origin| origin.split_once("://"));
        !origin.is_some_and(|(_, authority)| is_this_machine(authority))
    });
    if foreign || site.is_some_and(|site| !matches!(site, "same-origin" | "none")) {
        return Err((StatusCode::FORBIDDEN, "a page of another site sent this request"));
    }
    let kind = headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let is_json = kind.split(';').next().is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/json"));
    if !matches!(*method, Method::GET | Method::HEAD) && !is_json {
        let reason = "a request that changes something must have Content-Type: application/json";
        return Err((StatusCode::UNSUPPORTED_MEDIA_TYPE, reason));
    }
    Ok(())
}

fn is_this_machine(host: &str) -> bool {
    let Ok(authority) = host.parse::<Authority>() else { return false };
    if host.contains('@') {
        return false;
    }
    let host = authority.host();
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    host.eq_ignore_ascii_case("localhost") || bare.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(method: Method, headers: &[(&'static str, &str)]) -> Option<u16> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.insert(*name, value.parse().unwrap());
        }
        judge(&method, &map).err().map(|(status, _)| status.as_u16())
    }

    #[test]
    fn only_this_machine_is_answered_and_no_page_can_change_anything() {
        for host in ["localhost", "LOCALHOST:9610", "127.0.0.1:1", "127.9.9.9", "[::1]:9610"] {
            assert_eq!(status(Method::GET, &[("host", host)]), None, "{host}");
        }
        let strangers = [
            "evil.example",
            "evil.example:9610",
            "127.0.0.1.evil.example",
            "localhost.evil.example",
            "10.0.0.1",
            "[::ffff:127.0.0.1]",
            "user@127.0.0.1",
            "",
        ];
        for host in strangers {
            assert_eq!(status(Method::GET, &[("host", host)]), Some(421), "{host}");
        }
        assert_eq!(status(Method::GET, &[]), Some(421));

        let host = ("host", "127.0.0.1:9610");
        let json = ("content-type", "application/json; charset=utf-8");
        assert_eq!(status(Method::POST, &[host, json]), None);
        assert_eq!(status(Method::POST, &[host, json, ("origin", "http://localhost:9610")]), None);
        for kind in ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "application/jsonp"] {
            assert_eq!(status(Method::POST, &[host, ("content-type", kind)]), Some(415), "{kind}");
        }
        assert_eq!(status(Method::POST, &[host]), Some(415));
        for origin in ["http://evil.example", "null", "http://127.0.0.1.evil.example"] {
            assert_eq!(status(Method::POST, &[host, json, ("origin", origin)]), Some(403), "{origin}");
        }
        assert_eq!(status(Method::GET, &[host, ("sec-fetch-site", "cross-site")]), Some(403));
    }
}
