//! Functions of numbers and of truth.

use super::{Arguments, Table};
use crate::bake::value::Value;

pub(super) const TABLE: Table = &[
    ("absolute", |arguments| one(arguments, f64::abs)),
    ("add", |arguments| two(arguments, |left, right| left + right)),
    ("and", |arguments| truth(arguments, |left, right| left && right)),
    ("ceil", |arguments| one(arguments, f64::ceil)),
    ("divide", |arguments| divided(arguments, |left, right| left / right)),
    ("equal", |arguments| arguments.exactly().map(|[left, right]| Value::Bool(left == right))),
    ("floor", |arguments| one(arguments, f64::floor)),
    ("greaterthan", |arguments| compared(arguments, |left, right| left > right)),
    ("greaterthanorequalto", |arguments| compared(arguments, |left, right| left >= right)),
    ("int", |arguments| one(arguments, f64::trunc)),
    ("lessthan", |arguments| compared(arguments, |left, right| left < right)),
    ("lessthanorequalto", |arguments| compared(arguments, |left, right| left <= right)),
    ("log", |arguments| two(arguments, f64::log)),
    ("max", |arguments| most(arguments, f64::max)),
    ("min", |arguments| most(arguments, f64::min)),
    ("modulo", |arguments| divided(arguments, |left, right| left % right)),
    ("multiply", |arguments| two(arguments, |left, right| left * right)),
    ("negate", |arguments| one(arguments, |number| -number)),
    ("not", |arguments| {
        arguments.exactly::<1>().and_then(|[value]| value.to_bool()).map(|value| (!value).into())
    }),
    ("notequal", |arguments| arguments.exactly().map(|[left, right]| Value::Bool(left != right))),
    ("or", |arguments| truth(arguments, |left, right| left || right)),
    ("parseint", parse_int),
    ("pow", |arguments| two(arguments, f64::powf)),
    ("signum", |arguments| one(arguments, |number| if number == 0.0 { 0.0 } else { number.signum() })),
    ("subtract", |arguments| two(arguments, |left, right| left - right)),
];

fn one(arguments: Arguments<'_>, function: fn(f64) -> f64) -> Result<Value, String> {
    let [number] = arguments.exactly()?;
    finite(function(number.to_number()?))
}

fn two(arguments: Arguments<'_>, function: fn(f64, f64) -> f64) -> Result<Value, String> {
    let [left, right] = arguments.exactly()?;
    finite(function(left.to_number()?, right.to_number()?))
}

fn finite(number: f64) -> Result<Value, String> {
    if number.is_finite() { Ok(Value::Number(number)) } else { Err("the result is no number".to_owned()) }
}

fn divided(arguments: Arguments<'_>, function: fn(f64, f64) -> f64) -> Result<Value, String> {
    if arguments.number(1)? == 0.0 {
        return Err("this divides by zero".to_owned());
    }
    two(arguments, function)
}

fn compared(arguments: Arguments<'_>, function: fn(f64, f64) -> bool) -> Result<Value, String> {
    let [left, right] = arguments.exactly()?;
    Ok(function(left.to_number()?, right.to_number()?).into())
}

fn truth(arguments: Arguments<'_>, function: fn(bool, bool) -> bool) -> Result<Value, String> {
    let [left, right] = arguments.exactly()?;
    Ok(function(left.to_bool()?, right.to_bool()?).into())
}

fn most(arguments: Arguments<'_>, function: fn(f64, f64) -> f64) -> Result<Value, String> {
    let numbers = arguments.0.iter().map(Value::to_number).collect::<Result<Vec<_>, _>>()?;
    let most = numbers.into_iter().reduce(function);
    most.map(Value::Number).ok_or_else(|| "it takes a number at least".to_owned())
}

fn parse_int(arguments: Arguments<'_>) -> Result<Value, String> {
    let [text, base] = arguments.exactly()?;
    let (text, base) = (text.to_text()?, base.to_number()?);
    if !(2.0..=36.0).contains(&base) {
        return Err("a base is between 2 and 36".to_owned());
    }
    match i64::from_str_radix(&text, base as u32) {
        Ok(number) => Ok(Value::Number(number as f64)),
        Err(_) => Err(format!("`{text}` is no whole number of the base {base}")),
    }
}
