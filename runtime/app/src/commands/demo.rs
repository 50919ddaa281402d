//! `strait demo`.

use super::{End, say};
use crate::cli::Demo;

/// Runs the demo.
#[must_use]
pub fn demo(_args: &Demo) -> End {
    say("the demo is not part of this build yet");
    End::Failed
}
