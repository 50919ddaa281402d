//! Long lines: the socket buffers of brokers limit what one connection can carry over them.

use std::time::Duration;

use strait_kafka::{ClusterConfig, SocketBuffers, socket_buffers};

use super::{Outcome, Step};

/// A round trip from which on the buffers of brokers matter. Over a shorter one Kafka's defaults
/// carry more than 20 MB/s a connection.
const LONG: Duration = Duration::from_millis(5);
/// Kafka's default for both buffers.
const DEFAULT_BYTES: u64 = 100 << 10;
/// A connection that can carry this much is not held back.
const ENOUGH_MB_S: f64 = 100.0;

/// The end of a link that a cluster is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    Source,
    Target,
}

impl End {
    /// The setting of the brokers that limits the direction in which records move.
    fn setting(self) -> &'static str {
        match self {
            Self::Source => "socket.send.buffer.bytes",
            Self::Target => "socket.receive.buffer.bytes",
        }
    }

    fn bytes(self, buffers: SocketBuffers) -> Option<u64> {
        match self {
            Self::Source => buffers.send,
            Self::Target => buffers.receive,
        }
    }
}

/// Reports what limits a connection to a cluster that is far away; nothing for one that is near.
pub async fn line(
    link: &str,
    end: End,
    cluster: &ClusterConfig,
    round_trip: Duration,
    timeout: Duration,
) -> Option<Step> {
    if round_trip < LONG {
        return None;
    }
    let buffers = socket_buffers(cluster, timeout).await.map_err(|error| error.to_string());
    let (outcome, detail) = judge(end, round_trip, buffers);
    Some(Step::new(format!("line of {link} to {}", cluster.name), outcome, detail))
}

fn judge(end: End, round_trip: Duration, buffers: Result<SocketBuffers, String>) -> (Outcome, String) {
    let ms = round_trip.as_millis();
    let setting = end.setting();
    let bytes = match buffers.map(|buffers| end.bytes(buffers)) {
        Ok(None) => {
            let text = format!("round trip {ms} ms; {setting} is left to the brokers' operating system");
            return (Outcome::Ok, text);
        }
        Ok(Some(bytes)) => bytes,
        Err(reason) => {
            let most = mb_s(DEFAULT_BYTES, round_trip);
            let text = format!(
                "round trip {ms} ms; {setting} of the brokers cannot be read ({reason}): with Kafka's default at most \
                 {most:.1} MB/s a connection"
            );
            return (Outcome::Warning, text);
        }
    };
    let most = mb_s(bytes, round_trip);
    if most >= ENOUGH_MB_S {
        let text = format!("round trip {ms} ms; {setting} = {bytes}: at most {most:.0} MB/s a connection");
        return (Outcome::Ok, text);
    }
    let needed = (ENOUGH_MB_S * 1e6 * round_trip.as_secs_f64()).ceil() as u64;
    let text = format!(
        "round trip {ms} ms; {setting} = {bytes} of the brokers allows at most {most:.1} MB/s a connection; set it to \
         -1 there (the operating system decides), or to {needed} for {ENOUGH_MB_S:.0} MB/s"
    );
    (Outcome::Warning, text)
}

/// MB/s of a connection that has this many bytes on their way.
fn mb_s(bytes: u64, round_trip: Duration) -> f64 {
    bytes as f64 / 1e6 / round_trip.as_secs_f64()
}

#[cfg(test)]
mod tests {
    use super::*;

    const FAR: Duration = Duration::from_millis(80);

    fn buffers(send: Option<u64>, receive: Option<u64>) -> Result<SocketBuffers, String> {
        Ok(SocketBuffers { send, receive })
    }

    #[test]
    fn the_setting_of_the_direction_of_records_and_its_rate_are_named() {
        let (outcome, text) = judge(End::Source, FAR, buffers(Some(102_400), None));
        assert_eq!(outcome, Outcome::Warning);
        assert!(text.contains("socket.send.buffer.bytes = 102400") && text.contains("at most 1.3 MB/s"), "{text}");
        assert!(text.contains("or to 8000000 for 100 MB/s"), "{text}");
        let (outcome, text) = judge(End::Target, FAR, buffers(Some(102_400), None));
        assert_eq!(outcome, Outcome::Ok);
        assert!(text.contains("socket.receive.buffer.bytes is left to"), "{text}");
        let (outcome, text) = judge(End::Target, FAR, buffers(None, Some(16 << 20)));
        assert_eq!(outcome, Outcome::Ok);
        assert!(text.contains("at most 210 MB/s"), "{text}");
    }

    #[test]
    fn a_setting_that_cannot_be_read_is_said_with_what_the_default_would_allow() {
        let (outcome, text) = judge(End::Target, FAR, Err("denied".to_owned()));
        assert_eq!(outcome, Outcome::Warning);
        assert!(text.contains("(denied): with Kafka's default at most 1.3 MB/s a connection"), "{text}");
    }
}
