//! Masks secrets in text.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::borrow::Cow;
use std::io::{self, Write as _};
use std::sync::{Arc, LazyLock, PoisonError, RwLock};

use strait_core::config::HIDDEN;

/// Length of the shortest masked value. Shorter ones would mask ordinary words.
const MASKED_LENGTH_MIN: usize = 3;

static ALL: LazyLock<Mask> = LazyLock::new(Mask::default);

/// Returns the mask of the process. It knows the secrets of every configuration that was loaded,
/// those that have been replaced since too.
pub fn all() -> &'static Mask {
    &ALL
}

/// Replaces secrets in text, in each form in which they can appear there. Clones know the same
/// secrets, and learn them together.
#[derive(Clone, Debug, Default)]
pub struct Mask(Arc<RwLock<Arc<[String]>>>);

impl Mask {
    /// Adds values. Those too short to be secrets are not masked.
    pub fn learn(&self, secrets: &[&str]) {
        let mut known = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let mut all: Vec<String> = known.to_vec();
        for secret in secrets.iter().filter(|secret| secret.len() >= MASKED_LENGTH_MIN) {
            all.push((*secret).to_owned());
            // As JSON writes it, and as `Debug` prints it.
            for quoted in [serde_json::Value::from(*secret).to_string(), format!("{secret:?}")] {
                all.push(quoted.trim_matches('"').to_owned());
            }
        }
        // The longest first: one secret may be part of another.
        all.sort_unstable_by(|a, b| b.len().cmp(&a.len()).then_with(|| a.cmp(b)));
        all.dedup();
        *known = all.into();
    }

    /// Returns the text with each secret replaced by stars.
    #[must_use]
    pub fn apply<'a>(&self, text: &'a str) -> Cow<'a, str> {
        let known = Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner));
        let mut text = Cow::Borrowed(text);
        for secret in known.iter() {
            if text.contains(secret) {
                text = Cow::Owned(text.replace(secret, HIDDEN));
            }
        }
        text
    }
}

/// Masks the messages of panics, which may quote what broke.
pub fn panics() {
    std::panic::set_hook(Box::new(|panic| {
        let thread = std::thread::current();
        let name = thread.name().unwrap_or("unnamed").to_owned();
        let trace = Backtrace::capture();
        let is_captured = trace.status() == BacktraceStatus::Captured;
        let trace = if is_captured { format!("\n{trace}") } else { String::new() };
        let text = format!("thread '{name}' {panic}; please report this as a bug{trace}");
        // With standard error closed there is nobody to tell.
        drop(writeln!(io::stderr(), "{}", all().apply(&text)));
    }));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clones_learn_together_and_a_secret_in_another_one_hides_neither() {
        let mask = Mask::default();
        let clone = mask.clone();
        mask.learn(&["abc", "no"]);
        mask.learn(&["abcdef", "abc"]);
        assert_eq!(clone.apply("abcdef abc no"), format!("{HIDDEN} {HIDDEN} no"));
        assert_eq!(Mask::default().apply("abc"), "abc");
    }
}
