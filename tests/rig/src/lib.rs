//! Real Kafka clusters for tests, benchmarks and demos: brokers as child processes, a TCP proxy in
//! front of each, and faults for both.
//!
//! ```no_run
//! # async fn example() -> Result<(), strait_test_cluster::ClusterError> {
//! use strait_test_cluster::{Cluster, ClusterSpec};
//! let spec = ClusterSpec { per_broker_proxy: true, ..ClusterSpec::new("source") };
//! let cluster = Cluster::start(spec).await?;
//! println!("{}", cluster.bootstrap());
//! cluster.proxy(0)?.reset();
//! cluster.broker(0)?.kill()?;
//! cluster.broker(0)?.restart().await?;
//! # Ok(())
//! # }
//! ```

mod archive;
mod broker;
mod certificates;
mod cluster;
mod error;
mod jars;
mod ports;
mod process;
mod properties;
mod proxy;
mod spec;
mod tokens;
mod wire;

pub use archive::archive_classes;
pub use broker::Broker;
pub use certificates::{Bad, Certificates};
pub use cluster::Cluster;
pub use error::ClusterError;
pub use jars::KafkaJars;
pub use ports::HeldPort;
pub use process::{at_exit, signal, spawn};
pub use proxy::Proxy;
pub use spec::{ClusterSpec, Listener, User};
pub use tokens::{Answering, TokenServer};
