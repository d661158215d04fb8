//! The functions that expressions may call: those of go-cty's standard library that bake offers, under its names.

mod collections;
mod encoding;
mod format;
mod numbers;
mod sets;
mod strings;
mod time;

use std::collections::BTreeMap;

use super::value::Value;

pub(crate) use collections::element;
pub(crate) use sets::set;

/// What functions know of where and when this runs.
#[derive(Debug, Clone)]
pub(crate) struct Surroundings {
    /// Now.
    pub(crate) now: jiff::Timestamp,
    /// The home directory.
    pub(crate) home: String,
}

/// What a function gives; `None` if there is none of that name.
pub(crate) fn call(
    name: &str,
    arguments: &[Value],
    surroundings: &Surroundings,
) -> Option<Result<Value, String>> {
    let arguments = Arguments(arguments);
    match name {
        "timestamp" => {
            return Some(
                arguments
                    .none()
                    .map(|()| Value::text(surroundings.now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string())),
            );
        }
        "homedir" => return Some(arguments.none().map(|()| Value::text(&surroundings.home))),
        _ => {}
    }
    if UNSUPPORTED.contains(&name) {
        return Some(Err("it is not supported; give its result in a variable".to_owned()));
    }
    let (_, function) = TABLES.iter().flat_map(|table| table.iter()).find(|(known, _)| *known == name)?;
    Some(function(arguments))
}

/// The names of all functions.
pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    let own = ["try", "can", "convert", "timestamp", "homedir"];
    TABLES.iter().flat_map(|table| table.iter()).map(|(name, _)| *name).chain(own)
}

type Function = fn(Arguments<'_>) -> Result<Value, String>;
type Table = &'static [(&'static str, Function)];

const TABLES: [Table; 7] = [
    strings::TABLE,
    numbers::TABLE,
    collections::TABLE,
    sets::TABLE,
    encoding::TABLE,
    format::TABLE,
    time::TABLE,
];

/// Functions of bake that nobody was seen to use in a build file.
const UNSUPPORTED: [&str; 9] = [
    "bcrypt",
    "rsadecrypt",
    "cidrhost",
    "cidrnetmask",
    "cidrsubnet",
    "cidrsubnets",
    "uuidv4",
    "uuidv5",
    "csvdecode",
];

/// The arguments of a call.
#[derive(Clone, Copy)]
struct Arguments<'a>(&'a [Value]);

impl<'a> Arguments<'a> {
    fn none(self) -> Result<(), String> {
        self.exactly::<0>().map(|_| ())
    }

    /// This many arguments.
    fn exactly<const COUNT: usize>(self) -> Result<&'a [Value; COUNT], String> {
        self.0.try_into().map_err(|_| {
            let plural = if COUNT == 1 { "" } else { "s" };
            format!("it takes {COUNT} argument{plural}, and these are {}", self.0.len())
        })
    }

    /// The argument at a place, counted from 0.
    fn at(self, place: usize) -> Result<&'a Value, String> {
        self.0.get(place).ok_or_else(|| format!("it takes {} arguments at least", place + 1))
    }

    fn text(self, place: usize) -> Result<String, String> {
        self.at(place)?.to_text()
    }

    fn number(self, place: usize) -> Result<f64, String> {
        self.at(place)?.to_number()
    }

    /// A whole number.
    fn whole(self, place: usize) -> Result<i64, String> {
        let number = self.number(place)?;
        if number.fract() == 0.0 { Ok(number as i64) } else { Err(format!("{number} is no whole number")) }
    }

    fn list(self, place: usize) -> Result<&'a [Value], String> {
        list(self.at(place)?)
    }

    fn object(self, place: usize) -> Result<&'a BTreeMap<String, Value>, String> {
        match self.at(place)? {
            Value::Object(fields) => Ok(fields),
            other => Err(format!("an object is needed, and this is {}", other.kind())),
        }
    }
}

fn list(value: &Value) -> Result<&[Value], String> {
    match value {
        Value::List(items) => Ok(items),
        other => Err(format!("a list is needed, and this is {}", other.kind())),
    }
}

/// Each value of a list as a text.
fn texts(items: &[Value]) -> Result<Vec<String>, String> {
    items.iter().map(Value::to_text).collect()
}
