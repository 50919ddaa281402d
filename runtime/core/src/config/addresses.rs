//! The list of brokers in `bootstrap_servers`.
//!
//! librdkafka connects to whatever it makes of the text: `a:9092;b:9092` is port 9092 of `a`, and
//! an IPv6 address without brackets is port 9092 of that address. So the text is read here, and the
//! clients get [`normalized`] text.

use std::net::{IpAddr, Ipv6Addr};

/// An address that is not `host:port`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadAddress {
    /// The address as written.
    pub address: String,
    /// Why it cannot be used, and how to write it.
    pub reason: String,
}

/// Returns the addresses of a text, separated by commas alone: the form that librdkafka reads.
#[must_use]
pub fn normalized(text: &str) -> String {
    split(text).filter(|address| !address.is_empty()).collect::<Vec<_>>().join(",")
}

/// Returns every address of a text that is not `host:port`.
#[must_use]
pub fn problems(text: &str) -> Vec<BadAddress> {
    let check = |address: &str| {
        let reason = check(address).err()?;
        Some(BadAddress { address: address.to_owned(), reason })
    };
    split(text).filter_map(check).collect()
}

/// Returns whether an address, with or without its port, is on this machine: nothing that goes
/// there crosses a network.
#[must_use]
pub fn is_loopback(address: &str) -> bool {
    let host = match address.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => address.split(':').next().unwrap_or_default(),
    };
    host.eq_ignore_ascii_case("localhost") || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// Returns whether every address of a text is on this machine.
#[must_use]
pub fn are_loopback(text: &str) -> bool {
    split(text).all(is_loopback)
}

/// Splits a text at commas, spaces and line breaks. An address that is missing between two commas
/// is empty; the last comma may stand at the end.
fn split(text: &str) -> impl Iterator<Item = &str> {
    let text = text.trim();
    let text = text.strip_suffix(',').unwrap_or(text);
    text.split(',').flat_map(|part| {
        let missing = part.trim().is_empty().then_some("");
        part.split_whitespace().chain(missing)
    })
}

fn check(address: &str) -> Result<(), String> {
    if address.is_empty() {
        return Err("an address is missing between two commas".to_owned());
    }
    if address.contains("://") {
        return Err("write host:port; the protocol is set by security.protocol".to_owned());
    }
    if address.contains([';', '|']) {
        return Err("separate addresses with commas".to_owned());
    }
    let is_list = address.starts_with('[') && address.matches(':').count() < 2;
    if is_list || address.contains(['"', '\'']) {
        return Err("write the brokers as one text, separated by commas: a:9092,b:9092".to_owned());
    }
    if let Some(rest) = address.strip_prefix('[') {
        return check_ipv6(rest);
    }
    if address.parse::<Ipv6Addr>().is_ok() || address.matches(':').count() > 1 {
        return Err(ipv6_in_brackets(address));
    }
    let (host, port) = match address.split_once(':') {
        Some((host, port)) => (host, Some(port)),
        None => (address, None),
    };
    if host.is_empty() {
        return Err("the host is missing before the port".to_owned());
    }
    if port.is_none() && host.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err("a port without a host: write host:port without a space".to_owned());
    }
    // Non-ASCII letters may be a host name for the resolver to judge.
    let wrong = host.chars().find(|c| c.is_ascii() && !c.is_ascii_alphanumeric() && !matches!(c, '.' | '-' | '_'));
    if let Some(wrong) = wrong {
        return Err(format!("a host name has no '{wrong}'; write host:port, separated by commas"));
    }
    port.map_or(Ok(()), check_port)
}

fn check_ipv6(rest: &str) -> Result<(), String> {
    let Some((host, port)) = rest.split_once(']') else {
        return Err("the closing bracket is missing: [2001:db8::1]:9092".to_owned());
    };
    let (digits, _zone) = host.split_once('%').unwrap_or((host, ""));
    if digits.parse::<Ipv6Addr>().is_err() {
        return Err("there is no IPv6 address in the brackets; write [2001:db8::1]:9092, or a:9092,b:9092".to_owned());
    }
    match port.strip_prefix(':') {
        Some(port) => check_port(port),
        None if port.is_empty() => Ok(()),
        None => Err("a port follows the bracket: [2001:db8::1]:9092".to_owned()),
    }
}

fn ipv6_in_brackets(address: &str) -> String {
    let hint = match address.rsplit_once(':') {
        Some((host, port)) if host.parse::<Ipv6Addr>().is_ok() && port.len() > 3 => format!("[{host}]:{port}"),
        _ if address.parse::<Ipv6Addr>().is_ok() => format!("[{address}]:9092"),
        _ => return "an address has one colon, before the port; write several as a:9092,b:9092".to_owned(),
    };
    format!("an IPv6 address stands in brackets: {hint}")
}

fn check_port(port: &str) -> Result<(), String> {
    let digits = port.bytes().all(|byte| byte.is_ascii_digit());
    match port.parse::<u16>() {
        Ok(number) if number > 0 && digits => Ok(()),
        _ => Err("the port is a number from 1 to 65535".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_read_with_commas_spaces_and_line_breaks() {
        for text in
            ["a:9092,b:9092", " a:9092 , b:9092 ", "a:9092 b:9092", "a:9092\r\nb:9092\r\n", "a:9092,\n\tb:9092,\n"]
        {
            assert_eq!(problems(text), [], "{text:?}");
            assert_eq!(normalized(text), "a:9092,b:9092", "{text:?}");
        }
        for text in
            ["a", "kafka_1.internal:9092", "10.0.0.1:1", "[::1]:9092", "[fe80::1%eth0]:9092", "[::1]", "bücher.de:1"]
        {
            assert_eq!(problems(text), [], "{text:?}");
            assert_eq!(normalized(text), text);
        }
    }

    #[test]
    fn anything_else_is_refused_with_how_to_write_it() {
        for (text, said) in [
            ("a:9092;b:9092", "separate addresses with commas"),
            ("a:9092|b:9092", "separate addresses with commas"),
            ("2001:db8::1:9092", "[2001:db8::1]:9092"),
            ("2001:db8::1", "[2001:db8::1]:9092"),
            ("::1:9092", "[::1]:9092"),
            ("a:9092:b:9092", "one colon"),
            ("[2001:db8::1:9092", "closing bracket"),
            ("[a]:9092", "one text"),
            ("[kafka::a]:9092", "no IPv6 address"),
            ("[::1]9092", "follows the bracket"),
            ("[::1]:x", "1 to 65535"),
            ("a:9092,,b:9092", "missing between two commas"),
            (",", "missing between two commas"),
            ("a 9092", "without a space"),
            ("a: 9092", "1 to 65535"),
            ("a:", "1 to 65535"),
            ("a:0", "1 to 65535"),
            ("a:+1", "1 to 65535"),
            ("a:65536", "1 to 65535"),
            (":9092", "host is missing"),
            ("SSL://a:9092", "security.protocol"),
            ("a:9092/x", "1 to 65535"),
            ("a/b:9092", "no '/'"),
            ("u@a:9092", "no '@'"),
            ("a=b:9092", "no '='"),
            ("[\"a:9092\",\"b:9092\"]", "one text"),
            ("[a:9092,b:9092]", "one text"),
        ] {
            let found = problems(text);
            assert!(found.iter().any(|bad| bad.reason.contains(said)), "{text}: {found:?}");
        }
    }
}
