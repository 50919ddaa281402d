//! Masks secrets in text.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::borrow::Cow;
use std::collections::VecDeque;
use std::io::{self, Write as _};
use std::ops::Range;
use std::sync::{Arc, LazyLock, PoisonError, RwLock, RwLockWriteGuard};

use aho_corasick::AhoCorasick;
use strait_core::config::HIDDEN;
use strait_core::text::clean;

use crate::mask_forms;

/// Length of the shortest masked value.
const MASKED_LENGTH_MIN: usize = 3;
/// The same for values of digits alone.
const NUMBER_LENGTH_MIN: usize = 6;
/// Length of the shortest value that is masked inside of a word as well: `SSL` would mask a part of
/// `EU_SSL_PASSWORD`.
const IN_WORD_LENGTH_MIN: usize = 8;
/// Values that say nothing, and stand in many messages.
const COMMON: [&str; 3] = ["true", "false", "none"];
/// Length of the shortest line that is masked by itself: texts of plugins are put into one line.
const LINE_LENGTH_MIN: usize = 8;
/// Texts of plugins are cut, so a longer secret is masked by parts of this length, as far as any
/// text is shown.
const PART_LENGTH: usize = 16;
const PART_LENGTH_MAX: usize = 32;
const CUT_LENGTH_MAX: usize = 2 << 10;
/// Ends a text that was cut (`strait_core::text::clean`), perhaps within a secret.
const CUT: char = '…';
/// Length of the shortest beginning of a secret that is masked there.
const BEGINNING_LENGTH_MIN: usize = 4;

static ALL: LazyLock<Mask> = LazyLock::new(Mask::default);

/// Returns the mask of the process. It knows the secrets of every configuration that was loaded,
/// those that have been replaced since too.
pub fn all() -> &'static Mask {
    &ALL
}

/// Number of passing secrets that are remembered.
const PASSING_MAX: usize = 32;

/// Replaces secrets in text, in each form in which they can appear there. Clones know the same
/// secrets, and learn them together.
#[derive(Clone, Default)]
pub struct Mask(Arc<RwLock<Known>>);

impl std::fmt::Debug for Mask {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Mask")
    }
}

#[derive(Default)]
struct Known {
    /// The forms of each secret that stays one for the life of the process.
    lasting: Vec<String>,
    /// The forms of the last tokens.
    passing: VecDeque<Vec<String>>,
    search: Option<AhoCorasick>,
}

impl Known {
    /// Builds the search anew.
    ///
    /// # Errors
    /// More forms than a search can have: beyond all that a configuration could name. The log is
    /// masked, so the caller may tell it only once it has let go of this.
    fn rebuild(&mut self) -> Result<(), String> {
        self.lasting.sort_unstable();
        self.lasting.dedup();
        let all = self.lasting.iter().chain(self.passing.iter().flatten());
        self.search = Some(AhoCorasick::new(all).map_err(|error| error.to_string())?);
        Ok(())
    }

    /// Masks the beginnings of secrets where a text has been cut.
    fn without_beginnings(&self, text: &str) -> String {
        let mut pieces = text.split(CUT);
        let last = pieces.next_back().unwrap_or_default();
        let mut masked = String::with_capacity(text.len());
        for piece in pieces {
            let forms = self.lasting.iter().chain(self.passing.iter().flatten());
            match forms.filter_map(|form| beginning(piece, form)).max() {
                Some(length) => {
                    masked.push_str(piece.get(..piece.len() - length).unwrap_or_default());
                    masked.push_str(HIDDEN);
                }
                None => masked.push_str(piece),
            }
            masked.push(CUT);
        }
        masked + last
    }
}

fn tell(rebuilt: Result<(), String>) {
    if let Err(error) = rebuilt {
        tracing::error!("secrets that are new are not masked: {error}");
    }
}

/// Returns how many bytes at the end of a text are the beginning of a secret.
fn beginning(text: &str, secret: &str) -> Option<usize> {
    let longest = secret.len().min(PART_LENGTH_MAX * 4);
    let is_shown = |length: &usize| secret.get(..*length).is_some_and(|begun| text.ends_with(begun));
    (BEGINNING_LENGTH_MIN..=longest).rev().find(is_shown)
}

impl Mask {
    /// Adds values. Those too short to be secrets are not masked.
    pub fn learn(&self, secrets: &[&str]) {
        let mut known = self.write();
        let secrets = secrets.iter().filter(|secret| is_masked(secret));
        let is_new = |form: &String| known.lasting.binary_search(form).is_err();
        let new: Vec<String> = secrets.flat_map(|secret| forms(secret)).filter(is_new).collect();
        // Watched files are read again and again.
        if new.is_empty() {
            return;
        }
        known.lasting.extend(new);
        let rebuilt = known.rebuild();
        drop(known);
        tell(rebuilt);
    }

    /// Adds a secret that passes, such as a token. Only the last ones are remembered: a process
    /// sees any number of them, and those before have ended.
    pub fn learn_passing(&self, secret: &str) {
        if !is_masked(secret) {
            return;
        }
        let (mut known, forms) = (self.write(), forms(secret));
        let count = known.passing.len();
        known.passing.retain(|before| *before != forms);
        let is_new = known.passing.len() == count;
        if known.passing.len() >= PASSING_MAX {
            known.passing.pop_front();
        }
        known.passing.push_back(forms);
        let rebuilt = if is_new { known.rebuild() } else { Ok(()) };
        drop(known);
        tell(rebuilt);
    }

    fn write(&self) -> RwLockWriteGuard<'_, Known> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the text with each secret replaced by stars.
    #[must_use]
    pub fn apply<'a>(&self, text: &'a str) -> Cow<'a, str> {
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let found = known.search.as_ref().map(|search| places(search, text)).unwrap_or_default();
        let masked = without(text, &found);
        if masked.contains(CUT) { Cow::Owned(known.without_beginnings(&masked)) } else { masked }
    }
}

/// Returns the text with stars at these places.
fn without<'a>(text: &'a str, places: &[Range<usize>]) -> Cow<'a, str> {
    if places.is_empty() {
        return Cow::Borrowed(text);
    }
    let (mut masked, mut shown) = (String::with_capacity(text.len()), 0);
    for place in places {
        masked.push_str(text.get(shown..place.start).unwrap_or_default());
        masked.push_str(HIDDEN);
        shown = place.end;
    }
    masked.push_str(text.get(shown..).unwrap_or_default());
    Cow::Owned(masked)
}

/// Returns the places to mask. Where secrets overlap, both are in one.
fn places(search: &AhoCorasick, text: &str) -> Vec<Range<usize>> {
    let found = search.find_overlapping_iter(text).map(|found| found.range());
    let mut found: Vec<Range<usize>> = found.filter(|place| is_secret_at(text, place)).collect();
    found.sort_unstable_by_key(|place| (place.start, place.end));
    found.dedup_by(|next, before| {
        let overlaps = next.start < before.end;
        if overlaps {
            before.end = before.end.max(next.end);
        }
        overlaps
    });
    found
}

/// Returns whether what was found is no mere part of a word.
fn is_secret_at(text: &str, place: &Range<usize>) -> bool {
    if place.len() >= IN_WORD_LENGTH_MIN {
        return true;
    }
    let is_letter = |c: char| c.is_alphanumeric() || c == '_';
    let found = text.get(place.clone()).unwrap_or_default();
    let (before, after) = (text.get(..place.start).unwrap_or_default(), text.get(place.end..).unwrap_or_default());
    // A letter behind a backslash stands for a line break or the like.
    let mut before = before.chars().rev();
    let follows = before.next().is_some_and(is_letter) && before.next() != Some('\\');
    let begins_inside = follows && found.starts_with(is_letter);
    let ends_inside = found.ends_with(is_letter) && after.starts_with(is_letter);
    !(begins_inside || ends_inside)
}

/// Returns whether a value is masked. Short ones would mask ordinary words, and short numbers what
/// the log counts.
fn is_masked(value: &str) -> bool {
    let is_count = value.len() < NUMBER_LENGTH_MIN && value.bytes().all(|byte| byte.is_ascii_digit());
    value.len() >= MASKED_LENGTH_MIN && !is_count && !COMMON.contains(&value)
}

/// Returns the forms in which a value can appear: as it is, as JSON writes it, as `Debug` prints
/// it, cleaned for one line, each of these within JSON, in URLs, in base64, and its parts, where it
/// is cut.
fn forms(secret: &str) -> Vec<String> {
    let mut forms = vec![
        secret.to_owned(),
        clean(secret, secret.len().saturating_mul(8)),
        within_json(secret),
        unquoted(&format!("{secret:?}")),
    ];
    // The log as JSON holds text that has been escaped before.
    forms.extend(forms.clone().iter().map(|form| within_json(form)));
    let has_lines = secret.trim_end().contains('\n');
    for line in secret.lines().map(str::trim) {
        if has_lines && line.len() >= LINE_LENGTH_MIN {
            forms.push(line.to_owned());
        }
        if line.len() > PART_LENGTH_MAX {
            let letters: Vec<char> = line.chars().take(CUT_LENGTH_MAX).collect();
            forms.extend(letters.chunks_exact(PART_LENGTH).map(|part| part.iter().collect::<String>()));
        }
    }
    mask_forms::add(secret, &mut forms);
    forms.sort_unstable();
    forms.dedup();
    forms
}

/// Returns a text as JSON writes it inside of a string.
fn within_json(text: &str) -> String {
    unquoted(&serde_json::Value::from(text).to_string())
}

fn unquoted(text: &str) -> String {
    text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(text).to_owned()
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
    use base64::Engine as _;
    use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};

    use super::*;

    #[test]
    fn clones_learn_together_and_a_secret_in_another_one_hides_neither() {
        let mask = Mask::default();
        let clone = mask.clone();
        mask.learn(&["abc", "no"]);
        mask.learn(&["abcdef", "abc"]);
        assert_eq!(clone.apply("abcdef abc no"), format!("{HIDDEN} {HIDDEN} no"));
        assert_eq!(Mask::default().apply("abc"), "abc");
        // A short one is no part of a word, and a longer one is masked wherever it stands.
        mask.learn(&["SSL", "true", "topsecret", "secret-two"]);
        for (text, shown) in [
            ("EU_SSL_PASSWORD and SSLs, at /run/ssl/SSLx: true", "EU_SSL_PASSWORD and SSLs, at /run/ssl/SSLx: true"),
            ("is SSL; \"SSL\", -SSL-, \\nSSL", "is ***; \"***\", -***-, \\n***"),
            ("xtopsecretx xtopsecret-two-abc", "x***x x***-***"),
        ] {
            assert_eq!(clone.apply(text), shown);
        }
        for number in 0..=PASSING_MAX {
            mask.learn_passing(&format!("token-{number:03}"));
        }
        assert_eq!(mask.apply("token-000 token-001 abc"), format!("token-000 {HIDDEN} {HIDDEN}"));
    }

    #[test]
    fn a_secret_that_is_cut_or_put_into_one_line_is_masked_and_a_count_is_not() {
        let mask = Mask::default();
        let key =
            format!("-----BEGIN KEY-----\n{}\n{}\"x\\\n-----END KEY-----\n", "Ab1+".repeat(16), "9zQ/".repeat(16));
        let token = "tok3n-".repeat(300);
        mask.learn(&[&key, &token, "30000", "{\n\"a\":\"deep-secret\"\n}"]);
        for text in [clean(&key, 512), clean(&key, 60), clean(&token, 512), clean("{\n\"a\":\"deep-secret\"\n}", 99)] {
            let masked = mask.apply(&text);
            for part in ["Ab1+Ab1+Ab1+Ab1+", "9zQ/9zQ/9zQ/9zQ/", "tok3n-tok3n-tok3n-", "deep-secret"] {
                assert!(!masked.contains(part), "{part} in {masked}");
            }
        }
        assert_eq!(mask.apply("next attempt in 30000 ms"), "next attempt in 30000 ms");
    }

    #[test]
    fn a_secret_is_masked_in_each_form_that_programs_write_it_in() {
        let secret = "pass/Wörd+\"quoted\" \\ and\nmore?";
        let mask = Mask::default();
        mask.learn(&[secret]);
        let json = |text: &str| serde_json::Value::from(text).to_string();
        let debug = format!("{secret:?}");
        let url: String = url_encoded(secret, |byte| format!("%{byte:02X}"));
        let mut shown = vec![
            secret.to_owned(),
            json(secret),
            debug.clone(),
            json(&debug),
            json(&clean(secret, 999)),
            json(&json(secret)),
            url.clone(),
            url.replace("%20", "+"),
            url_encoded(secret, |byte| format!("%{byte:02x}")),
        ];
        for before in ["", "u", "id", "user:"] {
            for after in ["", "@", "\n\n"] {
                let text = format!("{before}{secret}{after}");
                shown.extend([BASE64_STANDARD.encode(&text), BASE64_URL_SAFE_NO_PAD.encode(&text)]);
            }
        }
        for text in shown {
            let masked = mask.apply(&text);
            // The letters of base64 at both ends hold bits of what is beside the secret.
            assert!(masked.contains(HIDDEN) && masked.len() <= HIDDEN.len() + 14, "{text}: {masked}");
            assert!(!masked.contains("pass") && !masked.contains("more"), "{text}: {masked}");
        }
        for length in 6..secret.len() {
            let masked = mask.apply(&clean(&format!("is pass/W{secret}"), length)).into_owned();
            assert!(!masked.ends_with("pass…") && !masked.contains("Wörd"), "{masked}");
        }
        assert_eq!(mask.apply("is pas… or pass…"), format!("is pas… or {HIDDEN}…"));
        mask.learn(&["abc"]);
        assert_eq!(mask.apply("YWJj, 4JhY and Fi are words"), "YWJj, 4JhY and Fi are words", "too short");
    }

    /// Breaks with a secret in its message, in the process of the next test.
    #[test]
    #[ignore = "breaks"]
    fn breaks() {
        if std::env::var_os("STRAIT_TEST_BREAKS").is_some() {
            panics();
            all().learn(&["canary-of-a-panic"]);
            panic!("a message with canary-of-a-panic in it");
        }
    }

    #[test]
    fn what_a_crash_prints_is_masked() {
        let mut command = std::process::Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "--ignored", "--nocapture", "mask::tests::breaks"]);
        let output = command.env("STRAIT_TEST_BREAKS", "1").output().unwrap();
        let said = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
        assert!(!output.status.success(), "{said}");
        assert!(said.contains("a message with *** in it; please report"), "{said}");
        assert!(!said.contains("canary"), "{said}");
    }

    fn url_encoded(text: &str, escape: impl Fn(u8) -> String) -> String {
        let kept = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
        text.bytes().map(|byte| if kept(byte) { char::from(byte).to_string() } else { escape(byte) }).collect()
    }
}
