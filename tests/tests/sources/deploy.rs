//! The sample files in `docs/deploy`: what they log must not contain tokens. `end_to_end/protocol/nginx.rs` runs nginx
//! with its sample.

use std::fs;

use roost_tests::sources::root;

/// Variables of nginx that hold the query of a request, or a header that can hold a token.
const WITH_TOKENS: [&str; 10] = [
    "$request ",
    "$request\"",
    "$request'",
    "$http_authorization",
    "$request_uri",
    "$args",
    "$arg_",
    "$query_string",
    "$http_referer",
    "$http_sec_websocket_protocol",
];

/// The statements of a configuration with this name, without comments.
fn statements(text: &str, name: &str) -> Vec<String> {
    let lines = text.lines().map(|line| line.split(" #").next().unwrap_or_default().trim());
    let code: String = lines.filter(|line| !line.starts_with('#')).collect::<Vec<_>>().join("\n");
    let statements = code.split([';', '{', '}']).map(|statement| statement.trim().to_owned());
    statements.filter(|statement| statement.starts_with(&format!("{name} "))).collect()
}

#[test]
fn the_sample_configuration_of_nginx_logs_no_query() {
    let text = fs::read_to_string(root().join("docs/deploy/nginx.conf")).unwrap();
    let [format] = statements(&text, "log_format").try_into().expect("one format");
    for variable in WITH_TOKENS {
        assert!(!format.contains(variable), "{variable} is in the log format: {format}");
    }
    assert!(format.contains("$request_method $uri"), "{format}");
    let format_name = format.split_whitespace().nth(1).unwrap().to_owned();
    let access = statements(&text, "access_log");
    assert!(!access.is_empty() && access.iter().all(|log| log.ends_with(&format_name)), "{access:?}");
    // No level is high enough: nginx adds the request line to a line about a request at each of them.
    assert_eq!(statements(&text, "error_log"), ["error_log /dev/null emerg"]);
}
