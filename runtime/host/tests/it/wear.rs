//! A guest whose memory grows with each batch is replaced before its limit, between two batches.

use strait_core::{Batch, BatchBuilder, LeaderEpoch, PartitionKey, SourceOffset, TimestampType, TopicId};
use strait_flow::ports::Chain;
use strait_host::{HostChains, PluginChain};

const PAGE: usize = 1 << 16;
const PAGES: usize = 64;
const PAGES_MAX: usize = 256;
/// At one page each, three times as many as fit.
const BATCHES: i64 = 700;
/// A lookback of 5 records, in the plan of the guest.
const LOOKBACK: &str = r#"(data (i32.const 592) "\01") (data (i32.const 600) "\05\00\00\00")"#;

/// A plugin that takes a page more in each call, with a chain of its own.
fn chain(parts: &str) -> PluginChain {
    let text = include_str!("../../../../plugins/test-guests/stamp.wat")
        .replace("@STAMP@", "1")
        .replace("@INTERFACE@", "0.1.0")
        .replace("@CONFIGURE@", "0")
        .replace("@TROUBLE@", "(if (i32.eq (memory.grow (i32.const 1)) (i32.const -1)) (then unreachable))")
        .replace("@SCHEMA@", "")
        .replace("@SCHEMA_BYTES@", "0")
        .replace("@PAGES@", &PAGES.to_string())
        .replace("@PARTS@", parts);
    let chains = crate::support::load_bytes(&wat::parse_str(text).unwrap(), |spec| {
        spec.limits.memory_bytes_max = PAGES_MAX * PAGE;
    });
    HostChains::plugin_chain(&chains.unwrap()).unwrap()
}

fn batch(offset: i64) -> Batch {
    let mut builder = BatchBuilder::new("orders".into(), 3, TimestampType::Create, LeaderEpoch(0));
    builder.push(SourceOffset(offset), 1_000, None, Some(b"v"));
    builder.build()
}

#[test]
fn a_guest_that_grows_is_replaced_between_two_batches() {
    let mut chain = chain("");
    let mut most = 0;
    for offset in 0..BATCHES {
        let processed = chain.apply(batch(offset), 6).unwrap();
        assert_eq!(processed.dispositions.len(), 1);
        assert!(format!("{:?}", processed.dispositions).contains("Replace"), "{:?}", processed.dispositions);
        most = most.max(chain.memory_bytes());
    }
    assert!(most < PAGES_MAX * PAGE && most > PAGES_MAX / 2 * PAGE, "{most}");
}

#[test]
fn a_stateful_guest_that_grows_is_warmed_up_again() {
    let mut chain = chain(LOOKBACK);
    let place = PartitionKey { topic: "orders".into(), topic_id: TopicId::UNKNOWN, partition: 3 };
    let mut warmed = Vec::new();
    for offset in 0..BATCHES {
        let next = SourceOffset(offset);
        if !chain.warm_up_needed(&place, next, 6).is_empty() {
            warmed.push(offset);
            for seen in (offset - 5).max(0)..offset {
                chain.warm_up(&batch(seen), next, 6).unwrap();
            }
            chain.warmed_up(&place, next);
        }
        let processed = chain.apply(batch(offset), 6).unwrap();
        assert!(format!("{:?}", processed.dispositions).contains("Replace"), "{:?}", processed.dispositions);
    }
    // 224 of 256 pages are near the limit; 5 of them are those of the warm-up.
    assert_eq!(warmed.first(), Some(&0));
    assert!((4..=6).contains(&warmed.len()) && warmed[1] >= 150, "{warmed:?}");
}
