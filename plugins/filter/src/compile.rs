//! Compiles a CEL expression into a rule: finds what it reads, turns common shapes into matchers,
//! and leaves the rest to the interpreter.

use std::borrow::Cow;

use cel::{
    IdedExpr,
    common::ast::{CallExpr, ComprehensionExpr, EntryExpr, Expr, LiteralValue, operators},
    parser::PrattParser,
};
use regex_lite::Regex;
use strait_plugin_sdk::{
    column,
    path::{Path, Step},
};

use crate::{
    case::Source,
    interpret::{Interpreted, VARIABLE, Variable},
    node::{Comparison, Node, Operand, Reads},
    time,
    val::Val,
};

const BYTES_MAX: usize = 16 << 10;

/// Names that an expression can use.
const VARIABLES: &str = "key, value, header, headers, timestamp, topic, partition, offset";
/// Functions that an expression can call, besides operators and macros.
const FUNCTIONS: [&str; 15] = [
    "bool",
    "bytes",
    "contains",
    "double",
    "dyn",
    "endsWith",
    "int",
    "matches",
    "max",
    "min",
    "size",
    "startsWith",
    "string",
    "type",
    "uint",
];

/// # Errors
/// A message for the author of the expression.
pub fn compile(text: &str) -> Result<(Node, Reads), String> {
    if text.len() > BYTES_MAX {
        return Err(format!("the expression has {} bytes, at most {BYTES_MAX} are allowed", text.len()));
    }
    let parser = PrattParser::new().enable_ident_escape_syntax(true);
    let expression = parser.parse(text).map_err(|errors| {
        let messages: Vec<_> =
            errors.errors.iter().take(3).map(|e| format!("character {}: {}", e.pos.1, e.msg)).collect();
        messages.join("; ")
    })?;
    let mut compiler = Compiler { reads: Reads::default() };
    let node = compiler.node(&expression)?;
    Ok((node, compiler.reads))
}

struct Compiler {
    reads: Reads,
}

/// Rewriter that turns parts of an expression into variables.
struct Rewriter<'a> {
    compiler: &'a mut Compiler,
    variables: Vec<(String, Variable)>,
    /// Names that macros such as `exists` bind.
    bound: Vec<String>,
}

impl Compiler {
    fn node(&mut self, expr: &IdedExpr) -> Result<Node, String> {
        if let Some(node) = self.matcher(expr)? {
            return Ok(node);
        }
        let mut rewriter = Rewriter { compiler: self, variables: Vec::new(), bound: Vec::new() };
        let expression = rewriter.rewrite(expr)?;
        let variables = rewriter.variables;
        Ok(Node::Interpret(Box::new(Interpreted::new(expression, variables))))
    }

    /// Returns the compiled form, if there is one.
    fn matcher(&mut self, expr: &IdedExpr) -> Result<Option<Node>, String> {
        match &expr.expr {
            Expr::Literal(LiteralValue::Boolean(constant)) => return Ok(Some(Node::Const(*constant.inner()))),
            Expr::Call(call) => {
                if let Some(node) = self.call(call)? {
                    return Ok(Some(node));
                }
            }
            Expr::Select(select) if select.test => return Ok(self.presence(expr)?.map(Node::Has)),
            _ => {}
        }
        Ok(self.source(expr)?.map(Node::Truth))
    }

    fn call(&mut self, call: &CallExpr) -> Result<Option<Node>, String> {
        let name = call.func_name.as_str();
        match (name, call.args.as_slice()) {
            (operators::LOGICAL_AND, [left, right]) => {
                let mut nodes = Vec::new();
                for node in [self.node(left)?, self.node(right)?] {
                    match node {
                        Node::And(inner) => nodes.extend(inner),
                        other => nodes.push(other),
                    }
                }
                Ok(Some(Node::And(nodes)))
            }
            (operators::LOGICAL_OR, [left, right]) => {
                let mut nodes = Vec::new();
                for node in [self.node(left)?, self.node(right)?] {
                    match node {
                        Node::Or(inner) => nodes.extend(inner),
                        other => nodes.push(other),
                    }
                }
                Ok(Some(Node::Or(nodes)))
            }
            (operators::LOGICAL_NOT, [negated]) => Ok(Some(Node::Not(Box::new(self.node(negated)?)))),
            (operators::CONDITIONAL, [condition, then, otherwise]) => {
                let parts = [self.node(condition)?, self.node(then)?, self.node(otherwise)?];
                Ok(Some(Node::If(Box::new(parts))))
            }
            (operators::IN, [one, list]) => self.one_of(one, list),
            (_, [left, right]) if comparison(name).is_some() && call.target.is_none() => {
                let Some(by) = comparison(name) else { return Ok(None) };
                self.compare(left, by, right)
            }
            _ => self.text_test(call),
        }
    }

    fn compare(&mut self, left: &IdedExpr, by: Comparison, right: &IdedExpr) -> Result<Option<Node>, String> {
        if let Some(node) = self.value_is_null(left, by, right)? {
            return Ok(Some(node));
        }
        let (operand, by, literal) = match (literal(left)?, literal(right)?) {
            (None, Some(literal)) => (left, by, literal),
            (Some(literal), None) => (right, by.swapped(), literal),
            (None, None) => {
                let parts = self.operand(left)?.zip(self.operand(right)?);
                return Ok(parts.map(|(left, right)| Node::CompareParts { left, by, right }));
            }
            (Some(_), Some(_)) => return Ok(None),
        };
        let Some(left) = self.operand(operand)? else { return Ok(None) };
        if let (Operand::Source(Source::Key), Comparison::Equal, Val::Text(text)) = (&left, by, &literal) {
            return Ok(Some(Node::KeyIs(text.as_bytes().to_vec())));
        }
        Ok(Some(Node::Compare { left, by, right: literal }))
    }

    /// Compiles `value == null` and `value != null`, which test for tombstones.
    fn value_is_null(&mut self, left: &IdedExpr, by: Comparison, right: &IdedExpr) -> Result<Option<Node>, String> {
        let of_value = match (is_value(left), is_value(right)) {
            (false, false) => return Ok(None),
            (true, _) => right,
            (_, true) => left,
        };
        let null = matches!(literal(of_value)?, Some(Val::Null));
        match by {
            Comparison::Equal if null => {}
            Comparison::NotEqual if null => {}
            _ => return Err(whole_value()),
        }
        self.reads.tombstones = true;
        Ok(Some(match by {
            Comparison::NotEqual => Node::Not(Box::new(Node::IsTombstone)),
            _ => Node::IsTombstone,
        }))
    }

    fn one_of(&mut self, one: &IdedExpr, list: &IdedExpr) -> Result<Option<Node>, String> {
        if let Some(Val::Text(name)) = literal(one)? {
            // 'name' in header
            if matches!(&list.expr, Expr::Ident(ident) if ident == "header" || ident == "headers") {
                self.reads.header(name.as_bytes());
                return Ok(Some(Node::Has(Source::Header(name.into_owned().into_bytes()))));
            }
            // 'value' in headers['name']
            if let Some(Source::Headers(of)) = self.source(list)? {
                return Ok(Some(Node::HeaderIs { name: of, value: name.into_owned().into_bytes() }));
            }
        }
        let Expr::List(list) = &list.expr else { return Ok(None) };
        let Some(operand) = self.operand(one)? else { return Ok(None) };
        let mut vals = Vec::new();
        for element in &list.elements {
            match literal(element)? {
                Some(val) => vals.push(val),
                None => return Ok(None),
            }
        }
        Ok(Some(Node::OneOf(operand, vals)))
    }

    /// Compiles `x.startsWith('…')` and similar tests.
    fn text_test(&mut self, call: &CallExpr) -> Result<Option<Node>, String> {
        let (on, argument) = match (&call.target, call.args.as_slice()) {
            (Some(target), [argument]) => (&**target, argument),
            (None, [on, argument]) if call.func_name == "matches" => (on, argument),
            _ => return Ok(None),
        };
        let make: fn(Source, String) -> Node = match call.func_name.as_str() {
            "startsWith" => Node::StartsWith,
            "endsWith" => Node::EndsWith,
            "contains" => Node::Contains,
            "matches" => |source, _| Node::Truth(source),
            _ => return Ok(None),
        };
        let Some(Val::Text(text)) = literal(argument)? else { return Ok(None) };
        let Some(source) = self.source(on)? else { return Ok(None) };
        if matches!(source, Source::Headers(_)) {
            return Ok(None);
        }
        if call.func_name == "matches" {
            let regex = Regex::new(&text).map_err(|e| format!("matches('{text}'): {e}"))?;
            return Ok(Some(Node::Matches(source, regex)));
        }
        Ok(Some(make(source, text.into_owned())))
    }

    fn operand(&mut self, expr: &IdedExpr) -> Result<Option<Operand>, String> {
        if let Expr::Call(call) = &expr.expr {
            let of = match (&call.target, call.args.as_slice()) {
                (Some(target), []) if call.func_name == "size" => &**target,
                (None, [of]) if call.func_name == "size" => of,
                _ => return Ok(self.source(expr)?.map(Operand::Source)),
            };
            return Ok(self.source(of)?.map(Operand::Size));
        }
        Ok(self.source(expr)?.map(Operand::Source))
    }

    /// Compiles `has(value.a)` and `has(header.a)`.
    fn presence(&mut self, expr: &IdedExpr) -> Result<Option<Source>, String> {
        let Expr::Select(select) = &expr.expr else { return Ok(None) };
        let plain = cel::common::ast::SelectExpr { test: false, ..select.clone() };
        self.source(&IdedExpr { id: expr.id, expr: Expr::Select(plain) })
    }

    /// Returns the part of the record that an expression names, if any.
    fn source(&mut self, expr: &IdedExpr) -> Result<Option<Source>, String> {
        let Some((root, steps)) = chain(expr) else { return Ok(None) };
        let (source, columns) = match (root, steps.as_slice()) {
            ("key", []) => (Source::Key, column::KEY),
            ("timestamp", []) => (Source::Timestamp, column::TIMESTAMP),
            ("offset", []) => (Source::Offset, column::OFFSET),
            ("topic", []) => (Source::Topic, &[][..]),
            ("partition", []) => (Source::Partition, &[][..]),
            ("header", [Step::Name(name)]) => {
                self.reads.header(name.as_bytes());
                return Ok(Some(Source::Header(name.clone().into_bytes())));
            }
            ("headers", [Step::Name(name)]) => {
                self.reads.header(name.as_bytes());
                return Ok(Some(Source::Headers(name.clone().into_bytes())));
            }
            ("value", [_, ..]) => return Ok(Some(self.reads.field(Path { steps }))),
            _ => return Ok(None),
        };
        self.reads.columns(columns);
        Ok(Some(source))
    }
}

impl Rewriter<'_> {
    fn rewrite(&mut self, expr: &IdedExpr) -> Result<IdedExpr, String> {
        if let Some(val) = timestamp(expr)? {
            return Ok(IdedExpr { id: expr.id, expr: Expr::Literal(LiteralValue::Int(val.into())) });
        }
        if let Expr::Select(select) = &expr.expr
            && select.test
            && let Some(source) = self.compiler.presence(expr)?
        {
            return Ok(self.variable(expr.id, Variable::Has(source)));
        }
        if let Some(source) = self.compiler.source(expr)? {
            return Ok(self.variable(expr.id, Variable::Value(source)));
        }
        let rewritten = match &expr.expr {
            Expr::Call(call) => return self.call(expr.id, call),
            Expr::Ident(name) => return self.ident(expr.id, name),
            Expr::Select(select) => {
                let mut select = select.clone();
                select.operand = Box::new(self.rewrite(&select.operand)?);
                Expr::Select(select)
            }
            Expr::List(list) => {
                let mut list = list.clone();
                list.elements = self.all(&list.elements)?;
                Expr::List(list)
            }
            Expr::Map(map) => {
                let mut map = map.clone();
                for entry in &mut map.entries {
                    let EntryExpr::MapEntry(entry) = &mut entry.expr else {
                        return Err("messages are not supported".into());
                    };
                    entry.key = self.rewrite(&entry.key)?;
                    entry.value = self.rewrite(&entry.value)?;
                }
                Expr::Map(map)
            }
            Expr::Comprehension(comprehension) => self.comprehension(comprehension)?,
            Expr::Literal(literal) => Expr::Literal(literal.clone()),
            Expr::Struct(_) => return Err("messages are not supported".into()),
            Expr::Unspecified => return Err("an expression is missing".into()),
        };
        Ok(IdedExpr { id: expr.id, expr: rewritten })
    }

    fn all(&mut self, exprs: &[IdedExpr]) -> Result<Vec<IdedExpr>, String> {
        exprs.iter().map(|expr| self.rewrite(expr)).collect()
    }

    fn call(&mut self, id: u64, call: &CallExpr) -> Result<IdedExpr, String> {
        let name = call.func_name.as_str();
        let is_operator = !name.starts_with(|c: char| c.is_ascii_alphabetic());
        if !is_operator && !FUNCTIONS.contains(&name) {
            return Err(format!("the function '{name}' does not exist; available: {}", FUNCTIONS.join(", ")));
        }
        // `value == null` inside an interpreted expression.
        if let ([left, right], Some(by)) = (call.args.as_slice(), comparison(name))
            && (is_value(left) || is_value(right))
        {
            self.compiler.value_is_null(left, by, right)?;
            let is_tombstone = self.variable(id, Variable::IsTombstone);
            if by == Comparison::Equal {
                return Ok(is_tombstone);
            }
            let not = CallExpr { func_name: operators::LOGICAL_NOT.into(), target: None, args: vec![is_tombstone] };
            return Ok(IdedExpr { id, expr: Expr::Call(not) });
        }
        let target = call.target.as_ref().map(|target| self.rewrite(target)).transpose()?;
        let call =
            CallExpr { func_name: call.func_name.clone(), target: target.map(Box::new), args: self.all(&call.args)? };
        Ok(IdedExpr { id, expr: Expr::Call(call) })
    }

    fn ident(&self, id: u64, name: &str) -> Result<IdedExpr, String> {
        if self.bound.iter().any(|bound| bound == name) {
            return Ok(IdedExpr { id, expr: Expr::Ident(name.into()) });
        }
        Err(match name {
            "value" => whole_value(),
            "header" | "headers" => format!("name one header, as in {name}['source']"),
            _ => format!("the name '{name}' does not exist; available: {VARIABLES}"),
        })
    }

    /// Rewrites a comprehension, the expansion of macros such as `exists` and `map`.
    fn comprehension(&mut self, of: &ComprehensionExpr) -> Result<Expr, String> {
        let mut of = of.clone();
        of.iter_range = self.rewrite(&of.iter_range)?;
        of.accu_init = self.rewrite(&of.accu_init)?;
        if VARIABLES.split(", ").any(|name| name == of.iter_var || Some(name) == of.iter_var2.as_deref()) {
            return Err(format!("the name '{}' is reserved; reserved names: {VARIABLES}", of.iter_var));
        }
        let before = self.bound.len();
        self.bound.extend([of.iter_var.clone(), of.accu_var.clone()]);
        self.bound.extend(of.iter_var2.clone());
        of.loop_cond = self.rewrite(&of.loop_cond)?;
        of.loop_step = self.rewrite(&of.loop_step)?;
        of.result = self.rewrite(&of.result)?;
        self.bound.truncate(before);
        Ok(Expr::Comprehension(Box::new(of)))
    }

    /// Returns the variable of a part of the record: the same for the same part. Expressions cannot
    /// spell its name, so nothing shadows it.
    fn variable(&mut self, id: u64, variable: Variable) -> IdedExpr {
        let known = self.variables.iter().position(|(_, known)| *known == variable);
        let number = known.unwrap_or(self.variables.len());
        let name = format!("{VARIABLE}{number}");
        if known.is_none() {
            self.variables.push((name.clone(), variable));
        }
        IdedExpr { id, expr: Expr::Ident(name) }
    }
}

fn comparison(operator: &str) -> Option<Comparison> {
    Some(match operator {
        operators::EQUALS => Comparison::Equal,
        operators::NOT_EQUALS => Comparison::NotEqual,
        operators::LESS => Comparison::Less,
        operators::LESS_EQUALS => Comparison::LessOrEqual,
        operators::GREATER => Comparison::Greater,
        operators::GREATER_EQUALS => Comparison::GreaterOrEqual,
        _ => return None,
    })
}

fn is_value(expr: &IdedExpr) -> bool {
    matches!(&expr.expr, Expr::Ident(name) if name == "value")
}

fn whole_value() -> String {
    "'value' alone can only be compared with null; name a field, as in value.region".into()
}

/// Returns a name and the members and elements selected from it: `a.b['c'][0]`.
fn chain(expr: &IdedExpr) -> Option<(&str, Vec<Step>)> {
    let mut steps = Vec::new();
    let mut expr = expr;
    loop {
        match &expr.expr {
            Expr::Ident(name) => {
                steps.reverse();
                return Some((name, steps));
            }
            Expr::Select(select) if !select.test => {
                steps.push(Step::Name(select.field.clone()));
                expr = &select.operand;
            }
            Expr::Call(call) if call.func_name == operators::INDEX && call.target.is_none() => {
                let [operand, index] = call.args.as_slice() else { return None };
                steps.push(match &index.expr {
                    Expr::Literal(LiteralValue::String(name)) => Step::Name(name.inner().to_owned()),
                    Expr::Literal(LiteralValue::Int(index)) => Step::Index(u32::try_from(*index.inner()).ok()?),
                    _ => return None,
                });
                expr = operand;
            }
            _ => return None,
        }
    }
}

/// Returns the value of a literal, if the expression is one.
fn literal(expr: &IdedExpr) -> Result<Option<Val<'static>>, String> {
    if let Some(timestamp) = timestamp(expr)? {
        return Ok(Some(Val::Int(timestamp)));
    }
    let literal = match &expr.expr {
        Expr::Literal(literal) => literal,
        Expr::Call(call) if call.func_name == operators::NEGATE => {
            let [negated] = call.args.as_slice() else { return Ok(None) };
            return Ok(match self::literal(negated)? {
                Some(Val::Int(number)) => number.checked_neg().map(Val::Int),
                Some(Val::Double(number)) => Some(Val::Double(-number)),
                _ => None,
            });
        }
        _ => return Ok(None),
    };
    Ok(Some(match literal {
        LiteralValue::Boolean(holds) => Val::Bool(*holds.inner()),
        LiteralValue::Bytes(bytes) => Val::Bytes(Cow::Owned(bytes.inner().to_vec())),
        LiteralValue::Double(number) => Val::Double(*number.inner()),
        LiteralValue::Int(number) => Val::Int(*number.inner()),
        LiteralValue::Null => Val::Null,
        LiteralValue::String(text) => Val::Text(Cow::Owned(text.inner().to_owned())),
        LiteralValue::UInt(number) => Val::UInt(*number.inner()),
    }))
}

/// Evaluates `timestamp('2026-01-31T12:00:00Z')` and `duration('1h30m')` to milliseconds, the unit
/// of `timestamp`.
fn timestamp(expr: &IdedExpr) -> Result<Option<i64>, String> {
    let Expr::Call(call) = &expr.expr else { return Ok(None) };
    let parse: fn(&str) -> Option<i64> = match call.func_name.as_str() {
        "timestamp" => time::timestamp_ms,
        "duration" => time::duration_ms,
        _ => return Ok(None),
    };
    let [argument] = call.args.as_slice() else { return Ok(None) };
    let Expr::Literal(LiteralValue::String(text)) = &argument.expr else {
        return Err(format!("the argument of {} must be a text literal", call.func_name));
    };
    let parsed = parse(text.inner());
    let expected = "expected timestamp('2026-01-31T12:00:00Z') or duration('1h30m')";
    parsed.map(Some).ok_or_else(|| format!("{}('{}'): {expected}", call.func_name, text.inner()))
}
