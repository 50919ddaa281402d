//! Evaluation by the CEL library's interpreter, for expressions without a compiled form.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, OnceLock, PoisonError},
};

use cel::{
    Context, ExecutionError, IdedExpr, Value,
    common::value::CowVal,
    context::VariableResolver,
    extractors::This,
    objects::{Key, Map},
};
use regex_lite::Regex;

use crate::{
    case::{Case, Source},
    val::{Trouble, Val, document},
};

/// The beginning of a variable's name; its number follows. Expressions cannot spell it.
pub const VARIABLE: char = '@';
/// Maximum number of cached patterns that come from records.
const PATTERNS_MAX: usize = 64;

/// An expression in which every part of the record is a variable.
pub struct Interpreted {
    expression: IdedExpr,
    variables: Vec<(String, Variable)>,
    functions: Context<'static, 'static>,
}

/// The content of a variable.
#[derive(Clone, Debug, PartialEq)]
pub enum Variable {
    Value(Source),
    /// Whether the part exists.
    Has(Source),
    IsTombstone,
}

impl Interpreted {
    pub fn new(expression: IdedExpr, variables: Vec<(String, Variable)>) -> Self {
        let mut functions = Context::default();
        let patterns = Arc::new(Mutex::new(BTreeMap::new()));
        let matches = move |This(text): This<Arc<String>>, pattern: Arc<String>| matches(&patterns, &text, &pattern);
        // Cannot fail: without the library's own regular expressions, the name is free.
        let _ = functions.add_function("matches", matches);
        Self { expression, variables, functions }
    }

    pub fn judge(&self, case: &Case<'_>) -> Result<bool, Trouble> {
        let parts = Parts::new(case, &self.variables);
        let mut context = self.functions.new_inner_scope();
        context.set_variable_resolver(&parts);
        match Value::resolve(&self.expression, &context) {
            Ok(Value::Bool(holds)) => Ok(holds),
            // A part that was missed before may have been of no account.
            Err(ExecutionError::UndeclaredReference(name)) => Err(parts.trouble(&name).unwrap_or(Trouble::Evaluation)),
            // The error's text is discarded: it may contain data of the record.
            Ok(_) | Err(_) => Err(Trouble::Evaluation),
        }
    }
}

/// The parts of a record, each read once, when the expression first needs it.
struct Parts<'a> {
    case: &'a Case<'a>,
    variables: &'a [(String, Variable)],
    read: Vec<OnceLock<Result<Box<dyn cel::common::value::Val>, Trouble>>>,
}

impl<'a> Parts<'a> {
    fn new(case: &'a Case<'a>, variables: &'a [(String, Variable)]) -> Self {
        Self { case, variables, read: variables.iter().map(|_| OnceLock::new()).collect() }
    }

    /// Returns the reason why a part could not be read.
    fn trouble(&self, name: &str) -> Option<Trouble> {
        self.read.get(number(name)?)?.get()?.as_ref().err().copied()
    }

    fn read(&self, variable: &Variable) -> Result<Value, Trouble> {
        match variable {
            Variable::Value(source) => value(self.case.get(source)?),
            Variable::Has(source) => Ok(Value::Bool(self.case.find(source)?.is_some())),
            Variable::IsTombstone => Ok(Value::Bool(self.case.is_tombstone())),
        }
    }
}

impl VariableResolver for Parts<'_> {
    fn resolve<'b>(&'b self, name: &str) -> Option<CowVal<'b, 'b>> {
        let number = number(name)?;
        let (cell, (_, variable)) = self.read.get(number).zip(self.variables.get(number))?;
        let read = cell
            .get_or_init(|| self.read(variable).and_then(|value| value.try_into().map_err(|_| Trouble::Evaluation)));
        read.as_ref().ok().map(|value| CowVal::Borrowed(value.as_ref()))
    }
}

/// Returns the number of a variable, which its name is made of.
fn number(name: &str) -> Option<usize> {
    name.strip_prefix(VARIABLE)?.parse().ok()
}

fn matches(patterns: &Mutex<BTreeMap<String, Regex>>, text: &str, pattern: &str) -> Result<bool, ExecutionError> {
    let mut patterns = patterns.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(regex) = patterns.get(pattern) {
        return Ok(regex.is_match(text));
    }
    let regex = Regex::new(pattern).map_err(|e| ExecutionError::function_error("matches", e))?;
    let matches = regex.is_match(text);
    if patterns.len() < PATTERNS_MAX {
        patterns.insert(pattern.to_owned(), regex);
    }
    Ok(matches)
}

fn value(val: Val<'_>) -> Result<Value, Trouble> {
    Ok(match val {
        Val::Null => Value::Null,
        Val::Bool(holds) => Value::Bool(holds),
        Val::Int(number) => Value::Int(number),
        Val::UInt(number) => Value::UInt(number),
        Val::Double(number) => Value::Float(number),
        Val::Text(text) => Value::String(Arc::new(text.into_owned())),
        Val::Bytes(bytes) => Value::Bytes(Arc::new(bytes.into_owned())),
        Val::List(list) => Value::List(Arc::new(list.into_iter().map(value).collect::<Result<_, _>>()?)),
        Val::Json(source) => from_json(document(source)?),
    })
}

fn from_json(json: serde_json::Value) -> Value {
    match json {
        serde_json::Value::Null => Value::Null,
        serde_json::Value::Bool(holds) => Value::Bool(holds),
        serde_json::Value::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(number), _) => Value::Int(number),
            (None, Some(number)) => Value::UInt(number),
            _ => Value::Float(number.as_f64().unwrap_or(f64::NAN)),
        },
        serde_json::Value::String(text) => Value::String(Arc::new(text)),
        serde_json::Value::Array(list) => Value::List(Arc::new(list.into_iter().map(from_json).collect())),
        serde_json::Value::Object(members) => {
            let members = members.into_iter().map(|(name, value)| (Key::from(name), from_json(value)));
            Value::Map(Map { map: Arc::new(members.collect::<HashMap<_, _>>()) })
        }
    }
}
