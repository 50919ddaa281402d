//! Reads the books of a link: one pass over their partition, read committed.

use std::time::{Duration, Instant};

use strait_core::books::{BOOKS_PARTITION, BookFilter, BookIndex, IndexFold};
use strait_core::progress::operate_topic;
use strait_flow::ports::{Class, PortError};

use super::ReplayError;
use crate::config::{ClusterConfig, Settings, own_topic_reader};
use crate::error::{blocking, own, port_error_because};
use crate::ffi::{Code, Consumer, FfiError, OffsetSpec, Place};
use crate::queries;

/// The books as they were read.
#[derive(Clone, Debug)]
pub struct BooksRead {
    /// The entries that were asked for.
    pub index: BookIndex,
    /// The last stable offset of the books that was read up to.
    pub stable: i64,
    /// The end of their log then. What lies between belongs to transactions that are not decided.
    pub end: i64,
    /// When these two were asked for.
    pub at: Instant,
}

/// How far to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reach {
    /// To the last stable offset.
    Stable,
    /// To the end of the log, waiting for the transactions that are open below it: one of them may
    /// hide a replay that is committed behind it.
    End,
}

/// Reads the books of a link up to their last stable offset.
///
/// # Errors
/// [`ReplayError`].
pub async fn read_books(
    target: &ClusterConfig,
    link: &str,
    filter: BookFilter,
    timeout: Duration,
) -> Result<BooksRead, ReplayError> {
    let (target, link) = (target.clone(), link.to_owned());
    blocking("reading the books", move || Books { target: &target, link: &link, timeout }.read(filter, Reach::Stable))
        .await?
}

/// The books of a link.
pub(super) struct Books<'a> {
    pub target: &'a ClusterConfig,
    pub link: &'a str,
    /// How long a request may take, and how long a read may go without a new offset.
    pub timeout: Duration,
}

impl Books<'_> {
    /// Reads the books once. Blocks for a bounded time.
    pub fn read(&self, filter: BookFilter, reach: Reach) -> Result<BooksRead, ReplayError> {
        let topic = operate_topic(self.link);
        let context = format!("link {}: reading the books in {topic} of cluster {}", self.link, self.target.name);
        let mut consumer = Consumer::new(&format!("{}/books", self.link), &self.settings())
            .map_err(|error| port_error_because(context.clone(), &error, None))?;
        self.read_with(&mut consumer, &topic, &context, filter, reach)
    }

    fn settings(&self) -> Settings {
        let mut settings = own_topic_reader(self.target, self.link, &format!("strait-{}-books", self.link));
        settings.set("statistics.interval.ms", 1_000);
        settings
    }

    fn read_with(
        &self,
        consumer: &mut Consumer,
        topic: &str,
        context: &str,
        filter: BookFilter,
        reach: Reach,
    ) -> Result<BooksRead, ReplayError> {
        let fail = |error: &FfiError, consumer: &Consumer| -> ReplayError {
            port_error_because(context.to_owned(), error, consumer.client().trouble()).into()
        };
        let place = Place { offset: 0, ..Place::of(topic, BOOKS_PARTITION) };
        let list = |spec, committed, consumer: &Consumer| {
            let asked = std::slice::from_ref(&place);
            let offsets = queries::list(consumer.client(), asked, spec, committed, self.timeout)?;
            Ok::<_, FfiError>(offsets.get(&(topic.to_owned(), BOOKS_PARTITION)).copied())
        };
        let bounds = || -> Result<Option<(i64, i64, i64)>, FfiError> {
            let Some(start) = list(OffsetSpec::Earliest, false, consumer)? else { return Ok(None) };
            let stable = list(OffsetSpec::Latest, true, consumer)?.unwrap_or(start);
            Ok(Some((start, stable, list(OffsetSpec::Latest, false, consumer)?.unwrap_or(stable).max(stable))))
        };
        let found = bounds();
        let found = found.map_err(|error| {
            // Serves the error callback, so that a refused login is named.
            consumer.consume(1, Duration::ZERO, |_| ());
            fail(&error, consumer)
        })?;
        let Some((start, stable, end)) = found else {
            let (link, topic) = (self.link.to_owned(), topic.to_owned());
            return Err(ReplayError::NoBooks { link, topic, cluster: self.target.name.clone() });
        };
        let at = Instant::now();
        let until = if reach == Reach::End { end } else { stable };
        let mut fold = IndexFold::new(filter);
        if start < until {
            consumer.assign(&[Place { offset: start, ..place }]).map_err(|error| fail(&error, consumer))?;
            self.pull(consumer, until, context, &mut fold)?;
        }
        let stable = stable.max(until);
        Ok(BooksRead { index: fold.finish()?, stable, end, at })
    }

    fn pull(
        &self,
        consumer: &mut Consumer,
        until: i64,
        context: &str,
        fold: &mut IndexFold,
    ) -> Result<(), ReplayError> {
        // A long log over a slow line may take long, as long as there is something new.
        let (mut reached, mut since) = (0, Instant::now());
        loop {
            let position = consumer.client().next_offset().min(until);
            let mut news = position;
            let done = consumer.consume(1, Duration::from_millis(100), |messages| {
                let Some(message) = messages.first() else { return Ok::<_, ReplayError>(false) };
                news = news.max(message.offset());
                match message.code() {
                    Code::OK => {
                        let key = message.key().unwrap_or_default();
                        fold.fold(key, message.value(), message.timestamp().0)?;
                        Ok(message.offset() + 1 >= until)
                    }
                    // The position may be past the end, behind aborted and control records.
                    Code::PARTITION_EOF => Ok(message.offset() >= until),
                    code => {
                        let error = FfiError::new(code, message.error_text());
                        Err(port_error_because(context.to_owned(), &error, None).into())
                    }
                }
            })?;
            if done {
                return Ok(());
            }
            if news > reached {
                (reached, since) = (news, Instant::now());
            }
            if since.elapsed() > self.timeout {
                return Err(self.stalled(consumer, until, reached, context).into());
            }
        }
    }

    fn stalled(&self, consumer: &Consumer, until: i64, reached: i64, context: &str) -> PortError {
        if let Some(trouble) = consumer.client().trouble() {
            let error = FfiError::new(Code::TIMED_OUT, format!("offset {until} was not reached"));
            return port_error_because(context.to_owned(), &error, Some(trouble));
        }
        let reason = format!(
            "offset {until} was not reached: nothing after {reached} in {:?}. A transaction that is open there holds \
             it up: a lane at work ends its own in seconds; see docs/operations.md for one that hangs",
            self.timeout
        );
        own(Class::Retry, context.to_owned(), reason)
    }
}
