//! Functions of lists and objects.

use std::collections::BTreeMap;

use super::{Arguments, Table, list, texts};
use crate::bake::value::Value;

pub(super) const TABLE: Table = &[
    ("chunklist", chunk_list),
    ("coalesce", |arguments| {
        let found = arguments.0.iter().find(|value| !matches!(value, Value::Null));
        found.cloned().ok_or_else(|| "all arguments are null".to_owned())
    }),
    ("coalescelist", |arguments| {
        let found = arguments.0.iter().find(|value| matches!(value, Value::List(items) if !items.is_empty()));
        found.cloned().ok_or_else(|| "all lists are empty".to_owned())
    }),
    ("compact", |arguments| {
        arguments.exactly::<1>()?;
        let empty = |value: &&Value| !matches!(value, Value::Null) && **value != Value::text("");
        Ok(Value::List(arguments.list(0)?.iter().filter(empty).cloned().collect()))
    }),
    ("concat", |arguments| {
        let lists = arguments.0.iter().map(list).collect::<Result<Vec<_>, _>>()?;
        Ok(Value::List(lists.concat()))
    }),
    ("contains", |arguments| {
        arguments.exactly::<2>()?;
        Ok(arguments.list(0)?.contains(&arguments.0[1]).into())
    }),
    ("distinct", |arguments| {
        arguments.exactly::<1>()?;
        let mut all: Vec<Value> = Vec::new();
        for item in arguments.list(0)? {
            if !all.contains(item) {
                all.push(item.clone());
            }
        }
        Ok(Value::List(all))
    }),
    ("element", |arguments| {
        arguments.exactly::<2>()?;
        let (items, index) = (arguments.list(0)?, arguments.whole(1)?);
        if items.is_empty() {
            return Err("the list is empty".to_owned());
        }
        Ok(items[index.rem_euclid(items.len() as i64) as usize].clone())
    }),
    ("flatten", |arguments| {
        arguments.exactly::<1>()?;
        Ok(Value::List(flat(arguments.list(0)?)))
    }),
    ("hasindex", |arguments| arguments.exactly().map(|[value, index]| element(value, index).is_ok().into())),
    ("index", |arguments| arguments.exactly().and_then(|[value, index]| element(value, index))),
    ("indexof", |arguments| {
        arguments.exactly::<2>()?;
        let at = arguments.list(0)?.iter().position(|item| *item == arguments.0[1]);
        at.map(Value::from).ok_or_else(|| "the value is not in the list".to_owned())
    }),
    ("keys", |arguments| {
        arguments.exactly::<1>()?;
        Ok(Value::List(arguments.object(0)?.keys().map(Value::text).collect()))
    }),
    ("length", |arguments| {
        let [value] = arguments.exactly()?;
        match value {
            Value::List(items) => Ok(items.len().into()),
            Value::Object(fields) => Ok(fields.len().into()),
            // Terraform's function takes texts too, and people write it so.
            Value::String(text) => Ok(text.chars().count().into()),
            other => Err(format!("a list or an object is needed, and this is {}", other.kind())),
        }
    }),
    ("lookup", |arguments| {
        let found = arguments.object(0)?.get(&arguments.text(1)?);
        match (found, arguments.0.get(2)) {
            (Some(value), _) => Ok(value.clone()),
            (None, Some(default)) => Ok(default.clone()),
            (None, None) => Err(format!("there is no `{}`", arguments.text(1)?)),
        }
    }),
    ("merge", |arguments| {
        let mut all = BTreeMap::new();
        for (place, argument) in arguments.0.iter().enumerate() {
            if *argument != Value::Null {
                all.extend(arguments.object(place)?.clone());
            }
        }
        Ok(Value::Object(all))
    }),
    ("range", range),
    ("reverselist", |arguments| {
        arguments.exactly::<1>()?;
        Ok(Value::List(arguments.list(0)?.iter().rev().cloned().collect()))
    }),
    ("slice", |arguments| {
        arguments.exactly::<3>()?;
        let (items, start, end) = (arguments.list(0)?, arguments.whole(1)?, arguments.whole(2)?);
        let range = usize::try_from(start).ok().zip(usize::try_from(end).ok());
        let items = range.and_then(|(start, end)| items.get(start..end));
        items.map(|items| Value::List(items.to_vec())).ok_or_else(|| "the list is shorter".to_owned())
    }),
    ("sort", |arguments| {
        arguments.exactly::<1>()?;
        let mut all = texts(arguments.list(0)?)?;
        all.sort();
        Ok(Value::List(all.into_iter().map(Value::String).collect()))
    }),
    ("values", |arguments| {
        arguments.exactly::<1>()?;
        Ok(Value::List(arguments.object(0)?.values().cloned().collect()))
    }),
    ("zipmap", |arguments| {
        arguments.exactly::<2>()?;
        let (names, values) = (texts(arguments.list(0)?)?, arguments.list(1)?);
        if names.len() != values.len() {
            return Err("there are more names than values, or fewer".to_owned());
        }
        Ok(Value::Object(names.into_iter().zip(values.iter().cloned()).collect()))
    }),
];

/// What a list or an object has at an index.
pub(crate) fn element(value: &Value, index: &Value) -> Result<Value, String> {
    match value {
        Value::List(items) => {
            let number = index.to_number()?;
            let at = (number >= 0.0 && number.fract() == 0.0).then_some(number as usize);
            let item = at.and_then(|at| items.get(at));
            item.cloned().ok_or_else(|| format!("the list has {} values, and none at {number}", items.len()))
        }
        Value::Object(fields) => {
            let name = index.to_text()?;
            fields.get(&name).cloned().ok_or_else(|| {
                let near = builder::dockerfile::nearest(&name, fields.keys().map(String::as_str));
                let meant = near.map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
                format!("the object has no `{name}`{meant}")
            })
        }
        other => Err(format!("{} has nothing in it", other.kind())),
    }
}

fn flat(items: &[Value]) -> Vec<Value> {
    let one = |item: &Value| match item {
        Value::List(inner) => flat(inner),
        other => vec![other.clone()],
    };
    items.iter().flat_map(one).collect()
}

fn chunk_list(arguments: Arguments<'_>) -> Result<Value, String> {
    arguments.exactly::<2>()?;
    let (items, size) = (arguments.list(0)?, arguments.whole(1)?);
    let size = usize::try_from(size).map_err(|_| "a size is not negative".to_owned())?;
    // All in one list where no size is said.
    let chunks = items.chunks(if size == 0 { items.len().max(1) } else { size });
    Ok(Value::List(chunks.map(|chunk| Value::List(chunk.to_vec())).collect()))
}

fn range(arguments: Arguments<'_>) -> Result<Value, String> {
    let numbers = arguments.0.iter().map(Value::to_number).collect::<Result<Vec<_>, _>>()?;
    let (start, end, step) = match numbers[..] {
        [end] => (0.0, end, if end < 0.0 { -1.0 } else { 1.0 }),
        [start, end] => (start, end, if end < start { -1.0 } else { 1.0 }),
        [start, end, step] => (start, end, step),
        _ => return Err("it takes one, two or three numbers".to_owned()),
    };
    if step == 0.0 || (end - start) * step < 0.0 {
        return Err("the steps do not lead to the end".to_owned());
    }
    let mut items = Vec::new();
    let mut number = start;
    while (step > 0.0 && number < end) || (step < 0.0 && number > end) {
        if items.len() == 1024 {
            return Err("more than 1024 values would be made".to_owned());
        }
        items.push(Value::Number(number));
        number += step;
    }
    Ok(Value::List(items))
}
