//! The bound on the work of one record.

use std::cell::Cell;

use crate::trouble::Trouble;

/// Maximum number of steps for one record.
pub const STEPS_MAX: usize = 250_000;
/// Number of bytes that are read in one step.
const READ_PER_STEP: usize = 64;
/// Number of bytes that are written in one step. They take memory too.
const WRITTEN_PER_STEP: usize = 16;

/// The steps that are left for one record.
pub struct Work {
    left: Cell<usize>,
}

impl Work {
    pub fn new() -> Self {
        Self { left: Cell::new(STEPS_MAX) }
    }

    /// Takes steps.
    ///
    /// # Errors
    /// [`Trouble::TooMuch`], from now on, if fewer are left.
    pub fn steps(&self, steps: usize) -> Result<(), Trouble> {
        let left = self.left.get().checked_sub(steps);
        self.left.set(left.unwrap_or(0));
        if left.is_some() { Ok(()) } else { Err(Trouble::TooMuch) }
    }

    /// Takes the steps for reading a text.
    pub fn read(&self, bytes: usize) -> Result<(), Trouble> {
        self.steps(bytes.div_ceil(READ_PER_STEP))
    }

    /// Takes the steps for writing a new text.
    pub fn write(&self, bytes: usize) -> Result<(), Trouble> {
        self.steps(bytes.div_ceil(WRITTEN_PER_STEP))
    }
}
