//! `format` and `formatlist`.

use super::{Arguments, Table};
use crate::bake::value::Value;

pub(super) const TABLE: Table = &[
    ("format", |arguments| {
        let format = arguments.text(0)?;
        written(&format, &arguments.0[1..]).map(Value::String)
    }),
    ("formatlist", list),
];

/// The format with the values of one place of each list.
fn list(arguments: Arguments<'_>) -> Result<Value, String> {
    let format = arguments.text(0)?;
    let lists = arguments.0[1..].iter().filter_map(|value| match value {
        Value::List(items) => Some(items.len()),
        _ => None,
    });
    let lengths: Vec<usize> = lists.collect();
    if lengths.windows(2).any(|pair| pair[0] != pair[1]) {
        return Err("the lists are not of one length".to_owned());
    }
    let at = |value: &Value, place: usize| match value {
        Value::List(items) => items[place].clone(),
        other => other.clone(),
    };
    let rows = (0..lengths.first().copied().unwrap_or(1)).map(|place| {
        let row: Vec<Value> = arguments.0[1..].iter().map(|value| at(value, place)).collect();
        written(&format, &row).map(Value::String)
    });
    rows.collect::<Result<_, _>>().map(Value::List)
}

/// A verb: `%-08.3f`, `%[2]s`.
#[derive(Default)]
struct Verb {
    left: bool,
    zero: bool,
    plus: bool,
    sharp: bool,
    space: bool,
    width: Option<usize>,
    precision: Option<usize>,
}

fn written(format: &str, values: &[Value]) -> Result<String, String> {
    let mut text = String::new();
    let mut rest = format;
    let mut next = 0;
    let mut numbered = false;
    while let Some(at) = rest.find('%') {
        text += &rest[..at];
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix('%') {
            text.push('%');
            rest = after;
            continue;
        }
        let mut verb = Verb::default();
        loop {
            match rest.chars().next() {
                Some('-') => verb.left = true,
                Some('0') => verb.zero = true,
                Some('+') => verb.plus = true,
                Some('#') => verb.sharp = true,
                Some(' ') => verb.space = true,
                _ => break,
            }
            rest = &rest[1..];
        }
        verb.width = number(&mut rest);
        if let Some(after) = rest.strip_prefix('.') {
            rest = after;
            verb.precision = Some(number(&mut rest).unwrap_or(0));
        }
        if let Some(after) = rest.strip_prefix('[') {
            let (index, after) = after.split_once(']').ok_or("`%[` has no `]`")?;
            let index: usize = index.parse().map_err(|_| format!("`%[{index}]` has no number"))?;
            next = index.checked_sub(1).ok_or("the first value is number 1")?;
            numbered = true;
            rest = after;
        }
        let letter = rest.chars().next().ok_or("the format ends with `%`")?;
        rest = &rest[letter.len_utf8()..];
        let value = values.get(next).ok_or_else(|| format!("`%{letter}` has no value"))?;
        next += 1;
        text += &verb.write(letter, value)?;
        if text.len() > 1 << 20 {
            return Err("the text is longer than a megabyte".to_owned());
        }
    }
    if next < values.len() && !numbered {
        return Err(format!("there are {} values, and verbs for {next}", values.len()));
    }
    Ok(text + rest)
}

fn number(rest: &mut &str) -> Option<usize> {
    let digits = rest.len() - rest.trim_start_matches(|one: char| one.is_ascii_digit()).len();
    let number = rest[..digits].parse::<usize>().ok().map(|number| number.min(10_000));
    *rest = &rest[digits..];
    number
}

impl Verb {
    fn write(&self, letter: char, value: &Value) -> Result<String, String> {
        let text = match letter {
            'v' if self.sharp => value.to_json().to_string(),
            'v' => match value {
                Value::List(_) | Value::Object(_) | Value::Null => value.to_json().to_string(),
                other => other.to_text()?,
            },
            's' | 'q' => {
                let text = value.to_text()?;
                let text = match self.precision {
                    Some(most) => text.chars().take(most).collect(),
                    None => text,
                };
                if letter == 'q' { Value::text(text).to_json().to_string() } else { text }
            }
            't' => value.to_bool()?.to_string(),
            _ => return self.numeric(letter, value.to_number()?),
        };
        Ok(self.padded("", &text, self.zero && letter != 'q'))
    }

    fn numeric(&self, letter: char, number: f64) -> Result<String, String> {
        let size = number.abs();
        let whole = size.trunc() as u64;
        let digits = match letter {
            'd' => whole.to_string(),
            'b' => format!("{whole:b}"),
            'o' => format!("{whole:o}"),
            'x' => format!("{whole:x}"),
            'X' => format!("{whole:X}"),
            'f' => format!("{size:.*}", self.precision.unwrap_or(6)),
            'e' | 'E' => {
                let text = format!("{size:.*e}", self.precision.unwrap_or(6));
                let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
                let (sign, exponent) = exponent.strip_prefix('-').map_or(('+', exponent), |rest| ('-', rest));
                let text = format!("{digits}e{sign}{exponent:0>2}");
                if letter == 'E' { text.to_uppercase() } else { text }
            }
            'g' | 'G' => Value::Number(size).to_text()?,
            other => return Err(format!("there is no verb `%{other}`")),
        };
        let sign = match (number < 0.0, self.plus, self.space) {
            (true, ..) => "-",
            (_, true, _) => "+",
            (_, _, true) => " ",
            _ => "",
        };
        Ok(self.padded(sign, &digits, self.zero && !self.left))
    }

    fn padded(&self, sign: &str, text: &str, zero: bool) -> String {
        let length = sign.chars().count() + text.chars().count();
        let missing = self.width.unwrap_or(0).saturating_sub(length);
        let (before, zeros, after) = match (self.left, zero) {
            (true, _) => (0, 0, missing),
            (false, true) => (0, missing, 0),
            (false, false) => (missing, 0, 0),
        };
        let (space, zero) = (" ".repeat(before), "0".repeat(zeros));
        format!("{space}{sign}{zero}{text}{}", " ".repeat(after))
    }
}
