//! The listen address of the admin API.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use super::model::Admin;

/// The port if the configuration sets none.
pub const PORT_DEFAULT: u16 = 9610;

/// The listen address of the admin API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AdminListen {
    /// The admin API is off.
    Off,
    /// The default address. If it is in use, the process runs without the admin API.
    Default(SocketAddr),
    /// A configured address. If it is in use, the process does not start.
    Explicit(SocketAddr),
}

impl AdminListen {
    /// Parses `[admin] listen`. `None` is the default.
    ///
    /// # Errors
    /// A message for the user.
    pub fn parse(listen: Option<&str>) -> Result<Self, &'static str> {
        let Some(listen) = listen else {
            return Ok(Self::Default(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), PORT_DEFAULT)));
        };
        if listen == "off" {
            return Ok(Self::Off);
        }
        // Names are not resolved; `localhost` means exactly one address.
        let numeric = listen.strip_prefix("localhost:").map(|port| format!("127.0.0.1:{port}"));
        let address: Result<SocketAddr, _> = numeric.as_deref().unwrap_or(listen).parse();
        let Ok(address) = address else {
            return Err("write an address and a port, such as 127.0.0.1:9610, or off");
        };
        if !address.ip().is_loopback() {
            return Err(
                "anyone on the network could read the status and reload plugins: a non-loopback address needs TLS and a token, which this version does not have",
            );
        }
        Ok(Self::Explicit(address))
    }
}

impl Admin {
    /// Returns the listen address. A validated configuration has a valid one.
    ///
    /// # Errors
    /// A message for the user.
    pub fn listen(&self) -> Result<AdminListen, &'static str> {
        AdminListen::parse(self.listen.as_deref())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_loopback_addresses_are_accepted() {
        let parse = |text| AdminListen::parse(Some(text));
        assert_eq!(AdminListen::parse(None), Ok(AdminListen::Default("127.0.0.1:9610".parse().unwrap())));
        assert_eq!(parse("off"), Ok(AdminListen::Off));
        for (text, address) in [("127.0.0.2:1", "127.0.0.2:1"), ("[::1]:0", "[::1]:0"), ("localhost:9", "127.0.0.1:9")]
        {
            assert_eq!(parse(text), Ok(AdminListen::Explicit(address.parse().unwrap())), "{text}");
        }
        for text in ["0.0.0.0:9610", "[::]:9610", "10.0.0.1:9610", "[::ffff:10.0.0.1]:1"] {
            assert!(parse(text).unwrap_err().contains("TLS and a token"), "{text}");
        }
        for text in ["", "9610", "127.0.0.1", "example.org:9610", "localhost", "Off", "127.0.0.1:99999"] {
            assert!(parse(text).unwrap_err().contains("address and a port"), "{text}");
        }
    }
}
