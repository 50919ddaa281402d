//! Hashes that users rely on. They must never change.

use std::hash::Hasher;

use siphasher::sip::SipHasher24;

/// Returns the hash that Kafka's default partitioner uses (MurmurHash2 with Kafka's seed).
#[must_use]
pub fn murmur2(bytes: &[u8]) -> u32 {
    const MULTIPLIER: u32 = 0x5bd1_e995;
    const SEED: u32 = 0x9747_b28c;
    let mut hash = SEED ^ bytes.len() as u32;
    let (words, rest) = bytes.as_chunks::<4>();
    for word in words {
        let mut word = u32::from_le_bytes(*word).wrapping_mul(MULTIPLIER);
        word ^= word >> 24;
        hash = hash.wrapping_mul(MULTIPLIER) ^ word.wrapping_mul(MULTIPLIER);
    }
    if !rest.is_empty() {
        for (index, byte) in rest.iter().enumerate() {
            hash ^= u32::from(*byte) << (8 * index);
        }
        hash = hash.wrapping_mul(MULTIPLIER);
    }
    hash ^= hash >> 13;
    hash = hash.wrapping_mul(MULTIPLIER);
    hash ^ (hash >> 15)
}

/// Returns the partition, out of `count`, that Kafka's default partitioner chooses for a key.
#[must_use]
pub fn place(bytes: &[u8], count: u32) -> u32 {
    (murmur2(bytes) & 0x7fff_ffff).checked_rem(count).unwrap_or(0)
}

/// Returns SipHash-2-4 with a zero key over the salt, its length, and the bytes. Unrelated to
/// Kafka's partitioning.
#[must_use]
pub fn salted(salt: &[u8], bytes: &[u8]) -> u64 {
    let mut hasher = SipHasher24::new();
    hasher.write(&(salt.len() as u64).to_le_bytes());
    hasher.write(salt);
    hasher.write(bytes);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Test vectors of Apache Kafka (`UtilsTest.testMurmur2`).
    #[test]
    fn murmur2_matches_kafka() {
        for (text, expected) in [
            ("21", -973_932_308),
            ("foobar", -790_332_482),
            ("a-little-bit-long-string", -985_981_536),
            ("a-little-bit-longer-string", -1_486_304_829),
            ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971),
            ("abc", 479_470_107),
        ] {
            assert_eq!(murmur2(text.as_bytes()) as i32, expected, "{text}");
        }
        assert_eq!((place(b"21", 1), place(b"21", 0)), (0, 0));
        assert_eq!(place(b"abc", 7), 479_470_107 % 7);
    }

    #[test]
    fn salt_and_bytes_are_separated_in_the_hash() {
        assert_ne!(salted(b"a", b"bc"), salted(b"ab", b"c"));
        assert_eq!(salted(b"a", b"bc"), salted(b"a", b"bc"));
    }
}
