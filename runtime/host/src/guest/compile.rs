//! Compiling a plugin's file, in another process where the caller has one.
//!
//! The cost of a file is counted before, but only ending whoever compiles is a bound that holds.
//! The other process is this program too ([`compiler_answer`]), so both have the same compiler with
//! the same settings. The answer is the machine code, or a message.

use std::borrow::Cow;
use std::fmt;

use sha2::{Digest, Sha256};
use wasmparser::{Parser, Validator};
use wasmtime::Engine;

use super::engine::{Threads, wasmtime_engine};
use crate::component::componentise;
use crate::error::{CompilerError, LoadProblem};
use crate::text::clean;

const DIGEST_BYTES: usize = 32;
/// Bytes of a message.
const TEXT_BYTES_MAX: usize = 4 << 10;
/// First byte of an answer.
const CODE: u8 = 0;
const NOT_WASM: u8 = 1;
const NOT_A_COMPONENT: u8 = 2;

/// Calls [`compiler_answer`] in a process of its own.
pub trait CompilerProcess: fmt::Debug + Send + Sync {
    /// Gives a plugin's file to [`compiler_answer`] in another process, which is ended once it has
    /// taken `cpu_s_max` seconds of processor time. Returns its answer, unchanged.
    ///
    /// # Errors
    /// [`CompilerError`].
    fn answer(&self, file: &[u8], cpu_s_max: u64) -> Result<Vec<u8>, CompilerError>;
}

/// Compiles a plugin's file and returns the answer for the process that asked. This is all that the
/// other process does.
#[must_use]
pub fn compiler_answer(file: &[u8]) -> Vec<u8> {
    let engine = wasmtime_engine(Threads::One).map_err(LoadProblem::NotWasm);
    let compiled = engine.and_then(|engine| compile(&engine, file));
    let (kind, text) = match compiled {
        Ok(code) => {
            let digest = Sha256::digest(&code);
            return [&[CODE], digest.as_slice(), &code].concat();
        }
        Err(LoadProblem::NotAComponent(text)) => (NOT_A_COMPONENT, text),
        Err(LoadProblem::NotWasm(text)) => (NOT_WASM, text),
        Err(other) => (NOT_WASM, other.to_string()),
    };
    [&[kind], text.as_bytes()].concat()
}

/// Returns the machine code of an answer.
///
/// # Errors
/// The problem that it names, or that it is not whole.
pub(super) fn code_of(answer: &[u8]) -> Result<&[u8], LoadProblem> {
    let Some((kind, rest)) = answer.split_first() else {
        return Err(not_whole());
    };
    let text = || clean(&String::from_utf8_lossy(rest), TEXT_BYTES_MAX);
    match (*kind, rest.split_at_checked(DIGEST_BYTES)) {
        (CODE, Some((digest, code))) if digest == Sha256::digest(code).as_slice() => Ok(code),
        (NOT_WASM, _) => Err(LoadProblem::NotWasm(text())),
        (NOT_A_COMPONENT, _) => Err(LoadProblem::NotAComponent(text())),
        _ => Err(not_whole()),
    }
}

fn not_whole() -> LoadProblem {
    LoadProblem::Compiler(CompilerError::Ended("its answer is not whole".into()))
}

/// Validates a file, makes it a component if it is a core module, and compiles it.
pub(super) fn compile(engine: &Engine, file: &[u8]) -> Result<Vec<u8>, LoadProblem> {
    // First of all, as later steps rely on validity.
    Validator::new().validate_all(file).map_err(|e| LoadProblem::NotWasm(e.to_string()))?;
    let component = match Parser::is_component(file) {
        true => Cow::Borrowed(file),
        false => Cow::Owned(componentise(file)?),
    };
    engine.precompile_component(&component).map_err(|e| LoadProblem::NotWasm(format!("{e:#}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_whole_or_no_code() {
        let file = wat::parse_str("(component (core module (func (export \"f\"))))").unwrap();
        let whole = compiler_answer(&file);
        let engine = wasmtime_engine(Threads::All).unwrap();
        // The same as without another process, whose engine differs in its threads only.
        assert_eq!(code_of(&whole).unwrap(), compile(&engine, &file).unwrap());
        for at in [0, 1, 20, whole.len() - 1] {
            let part = whole.get(..at).unwrap_or_default();
            assert!(matches!(code_of(part), Err(LoadProblem::Compiler(_))), "{at} bytes were taken for code");
        }
        let mut other = whole;
        if let Some(last) = other.last_mut() {
            *last ^= 1;
        }
        assert!(matches!(code_of(&other), Err(LoadProblem::Compiler(_))));
        assert!(matches!(code_of(&compiler_answer(b"no")), Err(LoadProblem::NotWasm(_))));
        let module = wat::parse_str("(module)").unwrap();
        assert!(matches!(code_of(&compiler_answer(&module)), Err(LoadProblem::NotAComponent(_))));
    }
}
