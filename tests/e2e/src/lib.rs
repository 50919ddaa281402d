//! Tests against real brokers: making source topics with everything Kafka allows in them, reading
//! whole logs, and judging a copy.

mod checker;
mod client;
mod cpu;
mod error;
mod ffi;
mod generate;
mod record;
mod strait;
mod write;

pub use checker::{Anomaly, AnomalyKind, LISTED_MAX, Report, check, offset_pairs};
pub use client::{Isolation, TestClient};
pub use cpu::cpu_us;
pub use error::ClientError;
pub use ffi::commit;
pub use generate::{Generated, GeneratedRecord, Generator, GeneratorSpec, generate};
pub use record::{Header, ID_HEADER, ID_MAGIC, LogRecord, Record, id_bytes};
pub use strait::{ConfigFolder, LogLine, Strait, StraitError};
pub use write::{Writer, write_records};
