//! Long lines: the socket buffers of brokers limit what one connection can carry over them.

use std::time::Duration;

use strait_core::Side;
use strait_kafka::{ClusterConfig, SocketBuffers, socket_buffers};

use super::{Outcome, Step};

/// A round trip from which on the buffers of brokers matter. Over a shorter one Kafka's defaults
/// carry more than 20 MB/s a connection.
const LONG: Duration = Duration::from_millis(5);
/// Kafka's default for both buffers.
const DEFAULT_BYTES: u64 = 100 << 10;
/// A connection that can carry this much is not held back.
const ENOUGH_MB_S: f64 = 100.0;

/// Returns the setting of the brokers that limits the direction in which records move.
fn setting(side: Side) -> &'static str {
    match side {
        Side::Source => "socket.send.buffer.bytes",
        Side::Target => "socket.receive.buffer.bytes",
    }
}

fn bytes(side: Side, buffers: SocketBuffers) -> Option<u64> {
    match side {
        Side::Source => buffers.send,
        Side::Target => buffers.receive,
    }
}

/// Returns the socket buffers of a cluster's brokers, or why they cannot be read; nothing for a
/// cluster that is near.
pub async fn buffers_of(
    cluster: &ClusterConfig,
    round_trip: Duration,
    timeout: Duration,
) -> Option<Result<SocketBuffers, String>> {
    if round_trip < LONG {
        return None;
    }
    Some(socket_buffers(cluster, timeout).await.map_err(|error| error.to_string()))
}

/// Reports what limits a connection to a cluster that is far away.
pub fn line(
    link: &str,
    side: Side,
    cluster: &str,
    round_trip: Duration,
    buffers: Result<SocketBuffers, String>,
) -> Step {
    let (outcome, detail) = judge(side, round_trip, buffers);
    Step::new(format!("line of {link} to {cluster}"), outcome, detail)
}

fn judge(side: Side, round_trip: Duration, buffers: Result<SocketBuffers, String>) -> (Outcome, String) {
    let ms = round_trip.as_millis();
    let setting = setting(side);
    let bytes = match buffers.map(|buffers| bytes(side, buffers)) {
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
        let (outcome, text) = judge(Side::Source, FAR, buffers(Some(102_400), None));
        assert_eq!(outcome, Outcome::Warning);
        assert!(text.contains("socket.send.buffer.bytes = 102400") && text.contains("at most 1.3 MB/s"), "{text}");
        assert!(text.contains("or to 8000000 for 100 MB/s"), "{text}");
        let (outcome, text) = judge(Side::Target, FAR, buffers(Some(102_400), None));
        assert_eq!(outcome, Outcome::Ok);
        assert!(text.contains("socket.receive.buffer.bytes is left to"), "{text}");
        let (outcome, text) = judge(Side::Target, FAR, buffers(None, Some(16 << 20)));
        assert_eq!(outcome, Outcome::Ok);
        assert!(text.contains("at most 210 MB/s"), "{text}");
    }

    #[test]
    fn a_setting_that_cannot_be_read_is_said_with_what_the_default_would_allow() {
        let (outcome, text) = judge(Side::Target, FAR, Err("denied".to_owned()));
        assert_eq!(outcome, Outcome::Warning);
        assert!(text.contains("(denied): with Kafka's default at most 1.3 MB/s a connection"), "{text}");
    }
}
