//! Functions of sets, which are lists that have each value once, in order.

use std::cmp::Ordering;

use super::{Arguments, Table};
use crate::bake::value::Value;

pub(super) const TABLE: Table = &[
    ("sethaselement", |arguments| {
        arguments.exactly::<2>()?;
        Ok(arguments.list(0)?.contains(&arguments.0[1]).into())
    }),
    ("setintersection", |arguments| combined(arguments, |all, next| all.retain(|item| next.contains(item)))),
    ("setproduct", product),
    ("setsubtract", |arguments| combined(arguments, |all, next| all.retain(|item| !next.contains(item)))),
    ("setsymmetricdifference", |arguments| {
        combined(arguments, |all, next| {
            let fresh: Vec<Value> = next.iter().filter(|item| !all.contains(item)).cloned().collect();
            all.retain(|item| !next.contains(item));
            all.extend(fresh);
        })
    }),
    ("setunion", |arguments| combined(arguments, |all, next| all.extend(next.iter().cloned()))),
];

/// The values as a set.
pub(crate) fn set(mut items: Vec<Value>) -> Value {
    items.sort_by(order);
    items.dedup();
    Value::List(items)
}

/// Any order that is always the same: kinds apart, numbers and texts by their own.
fn order(left: &Value, right: &Value) -> Ordering {
    match (left, right) {
        (Value::Number(left), Value::Number(right)) => left.total_cmp(right),
        (Value::String(left), Value::String(right)) => left.cmp(right),
        _ => left.to_json().to_string().cmp(&right.to_json().to_string()),
    }
}

fn combined(arguments: Arguments<'_>, step: fn(&mut Vec<Value>, &[Value])) -> Result<Value, String> {
    let mut all = arguments.list(0)?.to_vec();
    for place in 1..arguments.0.len() {
        step(&mut all, arguments.list(place)?);
    }
    Ok(set(all))
}

fn product(arguments: Arguments<'_>) -> Result<Value, String> {
    let mut rows: Vec<Vec<Value>> = vec![Vec::new()];
    for place in 0..arguments.0.len() {
        let items = arguments.list(place)?;
        if rows.len().saturating_mul(items.len()) > 10_000 {
            return Err("more than 10000 combinations would be made".to_owned());
        }
        let longer = |row: &Vec<Value>| {
            items.iter().map(|item| [row.as_slice(), std::slice::from_ref(item)].concat()).collect::<Vec<_>>()
        };
        rows = rows.iter().flat_map(longer).collect();
    }
    Ok(Value::List(rows.into_iter().map(Value::List).collect()))
}
