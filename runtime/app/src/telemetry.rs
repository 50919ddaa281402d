//! Logging to standard error, with secrets masked.

use std::io::{self, IsTerminal, Write};

use strait_core::config::{self, Config};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::fmt::MakeWriter;

use crate::cli;
use crate::mask::{self, Mask};

/// The target of messages that no level and no filter keeps out of the log.
pub const AUDIT: &str = "strait::audit";

/// Why logging cannot start.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The level is not a filter.
    #[error("'{level}' is not a log filter: {error}")]
    Filter {
        /// The level as written.
        level: String,
        /// The parser's message.
        error: tracing_subscriber::filter::ParseError,
    },
    /// A word of the level is neither a level nor a filter of a module.
    #[error("'{word}' is no log level: use off, error, warn, info, debug or trace, or MODULE=LEVEL")]
    Level {
        /// The word.
        word: String,
    },
    /// Another subscriber is installed.
    #[error("logging cannot start: {0}")]
    Start(String),
}

/// Starts logging. `level` and `format` come from the command line and take precedence over the
/// configuration's.
///
/// # Errors
/// [`LogError`].
pub fn start(level: Option<&str>, format: Option<cli::LogFormat>, config: &Config) -> Result<(), LogError> {
    let level = level.unwrap_or(&config.log.level);
    // The filter would take it as the name of a module, and silence all others.
    let is_unknown = |word: &&str| !word.contains(['=', '[']) && word.parse::<LevelFilter>().is_err();
    if let Some(word) = level.split(',').map(str::trim).find(is_unknown) {
        return Err(LogError::Level { word: word.to_owned() });
    }
    let filter = filter(level).map_err(|error| LogError::Filter { level: level.to_owned(), error })?;
    let json = match (format, config.log.format) {
        (Some(format), _) => format == cli::LogFormat::Json,
        (None, config::LogFormat::Auto) => !io::stderr().is_terminal(),
        (None, format) => format == config::LogFormat::Json,
    };
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(Masked::new(mask::all().clone(), io::stderr))
        .with_ansi(io::stderr().is_terminal());
    let result = if json { builder.json().flatten_event(true).try_init() } else { builder.try_init() };
    result.map_err(|error| LogError::Start(error.to_string()))
}

/// Returns the filter of a level. It takes the place of what the level says of [`AUDIT`].
fn filter(level: &str) -> Result<EnvFilter, tracing_subscriber::filter::ParseError> {
    Ok(EnvFilter::try_new(level)?.add_directive(format!("{AUDIT}=trace").parse()?))
}

/// Masks everything written. This is the last line of defence: nothing should write a secret at
/// all.
struct Masked<W> {
    mask: Mask,
    inner: W,
}

impl<W> Masked<W> {
    fn new(mask: Mask, inner: W) -> Self {
        Self { mask, inner }
    }
}

impl<'a, W: MakeWriter<'a>> MakeWriter<'a> for Masked<W> {
    type Writer = MaskedLine<W::Writer>;

    fn make_writer(&'a self) -> Self::Writer {
        MaskedLine { mask: self.mask.clone(), inner: self.inner.make_writer() }
    }
}

/// Writes one message. The subscriber passes whole messages.
struct MaskedLine<W> {
    mask: Mask,
    inner: W,
}

impl<W: Write> Write for MaskedLine<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(bytes);
        self.inner.write_all(self.mask.apply(&text).as_bytes())?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    struct Sink(&'static Mutex<Vec<u8>>);

    impl Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn no_level_keeps_an_audit_line_out_of_the_log() {
        static LOG: Mutex<Vec<u8>> = Mutex::new(Vec::new());
        for level in ["off", "error", "strait=off,strait::audit=off", "info"] {
            let builder = tracing_subscriber::fmt().with_writer(|| Sink(&LOG)).with_env_filter(filter(level).unwrap());
            tracing::dispatcher::with_default(&builder.into(), || {
                tracing::warn!(target: AUDIT, level, "shown");
                tracing::debug!("something else");
            });
        }
        let log = String::from_utf8(LOG.lock().unwrap().clone()).unwrap();
        assert_eq!((log.matches("shown").count(), log.contains("something else")), (4, false), "{log}");
    }

    #[test]
    fn no_form_of_a_secret_reaches_the_log() {
        static LOG: Mutex<Vec<u8>> = Mutex::new(Vec::new());
        let secret = "can\"ary\n4711";
        for json in [false, true] {
            let mask = Mask::default();
            mask.learn(&["canary"]);
            let builder =
                tracing_subscriber::fmt().with_writer(Masked::new(mask.clone(), || Sink(&LOG))).with_ansi(false);
            let dispatch: tracing::Dispatch = if json { builder.json().into() } else { builder.into() };
            // As a reload does.
            mask.learn(&[secret]);
            tracing::dispatcher::with_default(&dispatch, || {
                tracing::info!(plain = secret, debug = ?secret, "{secret} and canary-4711 and visible");
            });
        }
        let log = String::from_utf8(LOG.lock().unwrap().clone()).unwrap();
        assert!(log.contains("visible") && log.contains("***"), "{log}");
        for part in ["ary\\n4711", "ary\n4711", "canary"] {
            assert!(!log.contains(part), "{part:?} in {log}");
        }
    }
}
