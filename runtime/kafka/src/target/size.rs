//! How small a record can become on the wire: the brokers' limit is on the compressed batch, and a
//! batch that is refused costs its whole transaction.

use strait_flow::ports::Outgoing;

use crate::config::{ClusterConfig, TargetTuning};

/// The codec of a target's batches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Codec {
    None,
    Lz4,
    Snappy,
    Zstd,
    Gzip,
}

impl Codec {
    /// Returns the codec that a target's producers use.
    pub fn of(cluster: &ClusterConfig, tuning: &TargetTuning) -> Self {
        let own = |name: &str| cluster.properties.get(name);
        let name = own("compression.type").or_else(|| own("compression.codec")).unwrap_or(&tuning.compression);
        match name.as_str() {
            "none" => Self::None,
            "snappy" => Self::Snappy,
            "zstd" => Self::Zstd,
            "gzip" => Self::Gzip,
            _ => Self::Lz4,
        }
    }

    /// Returns the least number of bytes that these may have after compression. Two codecs stand
    /// for all of them, with a margin for what another one, or another level, does better.
    fn least(self, bytes: &[u8]) -> usize {
        match self {
            Self::None => bytes.len(),
            Self::Lz4 => margin(lz4(bytes), 16),
            Self::Snappy => margin(lz4(bytes), 4),
            Self::Zstd => margin(zstd(bytes), 8),
            Self::Gzip => margin(zstd(bytes), 4),
        }
    }

    /// Returns the least number of bytes that a batch of only this record may have.
    pub fn least_batch_bytes(self, record: &Outgoing<'_>) -> usize {
        let mut bytes = Vec::with_capacity(record.counted_bytes());
        bytes.extend_from_slice(record.key.unwrap_or_default());
        bytes.extend_from_slice(record.value.unwrap_or_default());
        record.headers.for_each(|header| {
            bytes.extend_from_slice(header.name);
            bytes.extend_from_slice(header.value.unwrap_or_default());
        });
        self.least(&bytes)
    }
}

fn margin(bytes: usize, part: usize) -> usize {
    bytes - bytes / part
}

fn lz4(bytes: &[u8]) -> usize {
    lz4_flex::block::compress(bytes).len()
}

fn zstd(bytes: &[u8]) -> usize {
    // The default level of librdkafka. What cannot be compressed here is left to the target.
    zstd::bulk::compress(bytes, 3).map_or(0, |compressed| compressed.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn noise_stays_large_and_text_does_not_under_every_codec() {
        let mut state = 1_u64;
        let noise: Vec<u8> = (0..200_000)
            .map(|_| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                (state >> 56) as u8
            })
            .collect();
        let text = b"the same words again and again ".repeat(6_000);
        for codec in [Codec::Lz4, Codec::Snappy, Codec::Zstd, Codec::Gzip] {
            assert!((150_000..=200_000).contains(&codec.least(&noise)), "{codec:?}: {}", codec.least(&noise));
            assert!(codec.least(&text) < 5_000, "{codec:?}: {}", codec.least(&text));
        }
        assert_eq!(Codec::None.least(&text), text.len());
    }

    #[test]
    fn the_clusters_own_codec_comes_first() {
        let mut cluster = ClusterConfig {
            name: "a".to_owned(),
            bootstrap_servers: "h:1".to_owned(),
            properties: std::collections::BTreeMap::new(),
            access: Default::default(),
        };
        let tuning = TargetTuning::default();
        assert_eq!(Codec::of(&cluster, &tuning), Codec::Lz4);
        cluster.properties.insert("compression.codec".to_owned(), "zstd".to_owned());
        assert_eq!(Codec::of(&cluster, &tuning), Codec::Zstd);
    }
}
