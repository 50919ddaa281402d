//! Makes code of the expressions that have no matcher. What a macro was expanded to is told by its
//! shape; nothing else is expanded.

use cel::{
    IdedExpr,
    common::ast::{CallExpr, ComprehensionExpr, EntryExpr, Expr, operators},
};

use strait_plugin_sdk::path::Step;

use super::{Compiler, VARIABLES, chain, comparison, is_value, literal, regex, whole_value};
use crate::{
    code::{Code, Interpreted, Loop, Macro, Part, Patterns},
    function::{self, Function},
    number::Operator,
    shared::Shared,
    time,
    val::{Comparison, Key, Val},
};

pub(super) struct Lowering<'a> {
    compiler: &'a mut Compiler,
    parts: Vec<Part>,
    patterns: Patterns,
    /// The variables of the macros around.
    variables: Vec<String>,
}

impl<'a> Lowering<'a> {
    /// Makes code of an expression.
    ///
    /// # Errors
    /// A message for the author of the expression.
    pub(super) fn interpreted(compiler: &'a mut Compiler, expr: &IdedExpr) -> Result<Interpreted, String> {
        let mut lowering = Self { compiler, parts: Vec::new(), patterns: Patterns::default(), variables: Vec::new() };
        let code = lowering.code(expr)?;
        Ok(Interpreted::new(code, lowering.parts, lowering.patterns))
    }

    fn code(&mut self, expr: &IdedExpr) -> Result<Code, String> {
        if let Some(val) = literal(expr)? {
            return Ok(Code::Constant(val));
        }
        if let Expr::Select(select) = &expr.expr
            && select.test
            && let Some(source) = self.compiler.presence(expr)?
        {
            return Ok(self.part(Part::Has(source)));
        }
        if let Some(source) = self.compiler.source(expr)? {
            return Ok(self.part(Part::Value(source)));
        }
        if let Some(("google", steps)) = chain(expr)
            && let [Step::Name(package), Step::Name(name)] = steps.as_slice()
            && let Some(name) = function::type_named(&format!("google.{package}.{name}"))
        {
            return Ok(Code::Constant(Val::Type(name)));
        }
        match &expr.expr {
            Expr::Call(call) => self.call(call),
            Expr::Ident(name) => self.ident(name),
            Expr::Select(select) => {
                let name = Key::Text(Shared::Counted(select.field.as_str().into()));
                let of = Box::new(self.code(&select.operand)?);
                Ok(if select.test { Code::HasMember(of, name) } else { Code::Member(of, name) })
            }
            Expr::List(list) => Ok(Code::List(self.codes(&list.elements)?)),
            Expr::Map(map) => {
                let mut entries = Vec::new();
                for entry in &map.entries {
                    let EntryExpr::MapEntry(entry) = &entry.expr else { return Err(messages()) };
                    entries.push([self.code(&entry.key)?, self.code(&entry.value)?]);
                }
                Ok(Code::Map(entries))
            }
            Expr::Comprehension(comprehension) => self.comprehension(comprehension),
            Expr::Struct(_) => Err(messages()),
            Expr::Literal(_) | Expr::Unspecified => Err("an expression is missing".into()),
        }
    }

    fn codes(&mut self, exprs: &[IdedExpr]) -> Result<Vec<Code>, String> {
        exprs.iter().map(|expr| self.code(expr)).collect()
    }

    fn pair(&mut self, left: &IdedExpr, right: &IdedExpr) -> Result<Box<[Code; 2]>, String> {
        Ok(Box::new([self.code(left)?, self.code(right)?]))
    }

    fn call(&mut self, call: &CallExpr) -> Result<Code, String> {
        let name = call.func_name.as_str();
        match (name, call.args.as_slice()) {
            (operators::LOGICAL_AND, [left, right]) => return Ok(Code::And(self.pair(left, right)?)),
            (operators::LOGICAL_OR, [left, right]) => return Ok(Code::Or(self.pair(left, right)?)),
            (operators::LOGICAL_NOT, [code]) => return Ok(Code::Not(Box::new(self.code(code)?))),
            (operators::NEGATE, [code]) => return Ok(Code::Negate(Box::new(self.code(code)?))),
            (operators::CONDITIONAL, [condition, then, otherwise]) => {
                let parts = [self.code(condition)?, self.code(then)?, self.code(otherwise)?];
                return Ok(Code::If(Box::new(parts)));
            }
            (operators::INDEX, [of, index]) => return Ok(Code::Index(self.pair(of, index)?)),
            (operators::IN, [one, of]) => return self.contains(one, of),
            (_, [left, right]) => {
                if let Some(by) = comparison(name) {
                    return self.compare(left, by, right);
                }
                if let Some(by) = operator(name) {
                    return Ok(Code::Calculate(by, self.pair(left, right)?));
                }
            }
            _ => {}
        }
        let arguments: Vec<_> = call.target.as_deref().into_iter().chain(&call.args).collect();
        let function = Function::find(name, call.target.is_some(), arguments.len())?;
        let codes = arguments.iter().map(|expr| self.code(expr)).collect::<Result<Vec<_>, _>>()?;
        if let (Function::Matches, [_, Code::Constant(Val::Text(pattern))]) = (function, codes.as_slice()) {
            self.patterns.add(pattern, regex(pattern)?);
        }
        if let (Function::Get(_), [_, Code::Constant(Val::Text(zone))]) = (function, codes.as_slice())
            && time::offset(zone).is_none()
        {
            return Err(format!("{name}('{}'): expected UTC or hours and minutes from it, such as '+01:00'", &**zone));
        }
        Ok(Code::Call(function, codes))
    }

    fn compare(&mut self, left: &IdedExpr, by: Comparison, right: &IdedExpr) -> Result<Code, String> {
        if !is_value(left) && !is_value(right) {
            return Ok(Code::Compare(by, self.pair(left, right)?));
        }
        self.compiler.value_is_null(left, by, right)?;
        let is_tombstone = self.part(Part::IsTombstone);
        Ok(if by == Comparison::Equal { is_tombstone } else { Code::Not(Box::new(is_tombstone)) })
    }

    fn contains(&mut self, one: &IdedExpr, of: &IdedExpr) -> Result<Code, String> {
        if let Some(header) = self.compiler.named_header(one, of)? {
            return Ok(self.part(Part::Has(header)));
        }
        Ok(Code::In(self.pair(one, of)?))
    }

    fn ident(&self, name: &str) -> Result<Code, String> {
        if let Some(index) = self.variables.iter().rposition(|known| known == name) {
            return Ok(Code::Variable(index));
        }
        if let Some(name) = function::type_named(name) {
            return Ok(Code::Constant(Val::Type(name)));
        }
        Err(match name {
            "value" => whole_value(),
            "header" | "headers" => format!("name one header, as in {name}['source']"),
            _ => format!("the name '{name}' does not exist; available: {VARIABLES}"),
        })
    }

    /// Makes code of a comprehension, what the parser expands macros such as `exists` to.
    fn comprehension(&mut self, of: &ComprehensionExpr) -> Result<Code, String> {
        if VARIABLES.split(", ").any(|name| name == of.iter_var) {
            return Err(format!("the name '{}' is reserved; reserved names: {VARIABLES}", of.iter_var));
        }
        let (name, filter, body) = expanded(of).ok_or("this macro is not supported")?;
        let over = self.code(&of.iter_range)?;
        self.variables.push(of.iter_var.clone());
        let filter = filter.map(|filter| self.code(filter)).transpose()?;
        let body = self.code(body)?;
        self.variables.pop();
        Ok(Code::Macro(name, Box::new(Loop { over, filter, body })))
    }

    /// Returns the code of a part of the record: the same for the same part.
    fn part(&mut self, part: Part) -> Code {
        let known = self.parts.iter().position(|known| *known == part);
        Code::Part(known.unwrap_or_else(|| {
            self.parts.push(part);
            self.parts.len() - 1
        }))
    }
}

/// Returns the macro that was expanded, its filter and its body.
fn expanded(of: &ComprehensionExpr) -> Option<(Macro, Option<&IdedExpr>, &IdedExpr)> {
    let Expr::Call(step) = &of.loop_step.expr else { return None };
    match (step.func_name.as_str(), step.args.as_slice()) {
        (operators::LOGICAL_AND, [_, body]) => Some((Macro::All, None, body)),
        (operators::LOGICAL_OR, [_, body]) => Some((Macro::Exists, None, body)),
        (operators::ADD, [_, added]) => Some((Macro::Map, None, appended(added)?)),
        (operators::CONDITIONAL, [condition, then, _]) => {
            let Expr::Call(then) = &then.expr else { return None };
            let [_, added] = then.args.as_slice() else { return None };
            match &of.accu_init.expr {
                Expr::List(_) => Some((Macro::Map, Some(condition), appended(added)?)),
                _ => Some((Macro::ExistsOne, None, condition)),
            }
        }
        _ => None,
    }
}

/// Returns the only element of a list.
fn appended(list: &IdedExpr) -> Option<&IdedExpr> {
    match &list.expr {
        Expr::List(list) => list.elements.first(),
        _ => None,
    }
}

fn operator(name: &str) -> Option<Operator> {
    Some(match name {
        operators::ADD => Operator::Add,
        operators::SUBSTRACT => Operator::Subtract,
        operators::MULTIPLY => Operator::Multiply,
        operators::DIVIDE => Operator::Divide,
        operators::MODULO => Operator::Remainder,
        _ => return None,
    })
}

fn messages() -> String {
    "messages are not supported".into()
}
