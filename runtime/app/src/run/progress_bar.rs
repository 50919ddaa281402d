//! Progress bars for `--until-caught-up`, on a terminal only.

use std::io::IsTerminal;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use super::catch_up::Remaining;

/// The bars of all links.
pub struct Bars {
    all: Option<MultiProgress>,
}

/// The bar of one link.
pub struct Bar {
    bar: Option<ProgressBar>,
}

impl Bars {
    /// Creates the bars, which are drawn where `wanted` and standard error is a terminal.
    #[must_use]
    pub fn new(wanted: bool) -> Self {
        Self { all: (wanted && std::io::stderr().is_terminal()).then(MultiProgress::new) }
    }

    /// Adds the bar of a link.
    #[must_use]
    pub fn add(&mut self, link: &str) -> Bar {
        let bar = self.all.as_ref().map(|all| {
            let bar = all.add(ProgressBar::new(0));
            let style = "{prefix} [{bar:40}] {percent:>3} %, {human_pos} of {human_len} offsets, {eta} left, {msg}";
            if let Ok(style) = ProgressStyle::with_template(style) {
                bar.set_style(style.progress_chars("=> "));
            }
            bar.set_prefix(link.to_owned());
            bar
        });
        Bar { bar }
    }
}

impl Bar {
    /// Shows what remains. The first call sets the length of the bar.
    pub fn show(&self, remaining: &Remaining) {
        let Some(bar) = &self.bar else { return };
        let length = bar.length().unwrap_or(0).max(remaining.offsets);
        bar.set_length(length);
        bar.set_position(length - remaining.offsets);
        bar.set_message(format!("{} of {} partitions done", remaining.partitions_done, remaining.partitions));
    }

    /// Stops drawing and leaves the bar on the terminal.
    pub fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.abandon();
        }
    }
}
