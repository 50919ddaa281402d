//! Compiles a CEL expression into a rule: finds what it reads, turns common shapes into matchers,
//! and makes code of the rest.

mod lower;

use cel::{
    IdedExpr,
    common::ast::{CallExpr, EntryExpr, Expr, LiteralValue, operators},
    parser::PrattParser,
};
use regex_lite::Regex;
use strait_plugin_sdk::{
    column,
    path::{Path, Step},
};

use self::lower::Lowering;
use crate::{
    case::Source,
    node::{Node, Operand, Reads},
    shared::Shared,
    time::{Span, Time},
    val::{Comparison, Val},
};

const BYTES_MAX: usize = 16 << 10;
/// Maximum nesting of an expression. Evaluation nests as deeply.
const DEPTH_MAX: u16 = 128;

/// Characters of a pattern in a message.
const PATTERN_SHOWN_MAX: usize = 100;

/// Names that an expression can use.
const VARIABLES: &str = "key, value, header, headers, timestamp, topic, partition, offset";

/// # Errors
/// A message for the author of the expression.
pub fn compile(text: &str) -> Result<(Node, Reads), String> {
    if text.trim().is_empty() {
        return Err("the expression is empty; write what a record must match, as in value.region == 'eu'".into());
    }
    if text.len() > BYTES_MAX {
        return Err(format!("the expression has {} bytes, at most {BYTES_MAX} are allowed", text.len()));
    }
    let parser = PrattParser::new().enable_ident_escape_syntax(true).max_recursion_depth(DEPTH_MAX);
    let expression = parser.parse(text).map_err(|errors| {
        if errors.errors.iter().any(|error| error.msg.contains("recursion limit")) {
            return too_deep();
        }
        let messages: Vec<_> =
            errors.errors.iter().take(3).map(|e| format!("character {}: {}", e.pos.1, e.msg)).collect();
        messages.join("; ")
    })?;
    if !is_within(&expression, DEPTH_MAX.into()) {
        return Err(too_deep());
    }
    let mut compiler = Compiler { reads: Reads::default() };
    let node = compiler.node(&expression)?;
    if node.has_no_verdict() {
        let message = "the expression, or a part of it, is neither true nor false and reads nothing of a record, so \
                       that no record has a result there; compare it with something, as in value.region == 'eu'";
        return Err(message.into());
    }
    Ok((node, compiler.reads))
}

fn too_deep() -> String {
    format!("the expression is nested more than {DEPTH_MAX} levels deep, with each of its brackets and operators")
}

/// Returns whether an expression has at most so many levels.
fn is_within(expr: &IdedExpr, levels: usize) -> bool {
    let Some(levels) = levels.checked_sub(1) else { return false };
    let within = |expr: &IdedExpr| is_within(expr, levels);
    match &expr.expr {
        Expr::Call(call) => call.target.as_deref().is_none_or(within) && call.args.iter().all(within),
        Expr::Comprehension(of) => within(&of.iter_range) && within(&of.loop_step),
        Expr::List(list) => list.elements.iter().all(within),
        Expr::Map(map) => map.entries.iter().all(|entry| match &entry.expr {
            EntryExpr::MapEntry(entry) => within(&entry.key) && within(&entry.value),
            EntryExpr::StructField(field) => within(&field.value),
        }),
        Expr::Select(select) => within(&select.operand),
        Expr::Struct(_) | Expr::Ident(_) | Expr::Literal(_) | Expr::Unspecified => true,
    }
}

struct Compiler {
    reads: Reads,
}

impl Compiler {
    fn node(&mut self, expr: &IdedExpr) -> Result<Node, String> {
        if let Some(node) = self.matcher(expr)? {
            return Ok(node);
        }
        Ok(Node::Interpret(Box::new(Lowering::interpreted(self, expr)?)))
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
        if left == Operand::Source(Source::Timestamp) && literal.number().is_some() {
            return Err("timestamp is a time, not a number: compare it with timestamp('2026-01-31T12:00:00Z')".into());
        }
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
        if let Some(header) = self.named_header(one, list)? {
            return Ok(Some(Node::Has(header)));
        }
        if let Some(Val::Text(name)) = literal(one)? {
            // 'value' in headers['name']
            if let Some(Source::Headers(of)) = self.source(list)? {
                return Ok(Some(Node::HeaderIs { name: of, value: name.as_bytes().to_vec() }));
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

    /// Returns the header of `'name' in header`.
    fn named_header(&mut self, one: &IdedExpr, of: &IdedExpr) -> Result<Option<Source>, String> {
        let is_header = matches!(&of.expr, Expr::Ident(ident) if ident == "header" || ident == "headers");
        let Some(Val::Text(name)) = literal(one)?.filter(|_| is_header) else { return Ok(None) };
        self.reads.header(name.as_bytes());
        Ok(Some(Source::Header(name.as_bytes().to_vec())))
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
            return Ok(Some(Node::Matches(source, regex(&text)?)));
        }
        Ok(Some(make(source, text.to_string())))
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

/// Compiles a pattern of `matches`.
fn regex(pattern: &str) -> Result<Regex, String> {
    // The host cuts long messages, and the reason must stay.
    let shown: String = pattern.chars().take(PATTERN_SHOWN_MAX).collect();
    let more = if shown.len() < pattern.len() { "…" } else { "" };
    Regex::new(pattern).map_err(|e| format!("matches('{shown}{more}'): {e}"))
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
    if let Some(time) = time_literal(expr)? {
        return Ok(Some(time));
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
        LiteralValue::Bytes(bytes) => Val::Bytes(Shared::Counted(bytes.inner().into())),
        LiteralValue::Double(number) => Val::Double(*number.inner()),
        LiteralValue::Int(number) => Val::Int(*number.inner()),
        LiteralValue::Null => Val::Null,
        LiteralValue::String(text) => Val::Text(text.inner().to_owned().into()),
        LiteralValue::UInt(number) => Val::UInt(*number.inner()),
    }))
}

/// Evaluates `timestamp('2026-01-31T12:00:00Z')` and `duration('1h30m')`.
fn time_literal(expr: &IdedExpr) -> Result<Option<Val<'static>>, String> {
    let Expr::Call(call) = &expr.expr else { return Ok(None) };
    let [IdedExpr { expr: Expr::Literal(LiteralValue::String(text)), .. }] = call.args.as_slice() else {
        return Ok(None);
    };
    let val = match call.func_name.as_str() {
        "timestamp" => Time::parse(text.inner()).map(Val::Time),
        "duration" => Span::parse(text.inner()).map(Val::Span),
        _ => return Ok(None),
    };
    let expected = "expected timestamp('2026-01-31T12:00:00Z') or duration('1h30m')";
    val.map(Some).ok_or_else(|| format!("{}('{}'): {expected}", call.func_name, text.inner()))
}
