//! Functions of time.

use std::collections::BTreeMap;

use jiff::civil::Weekday;
use jiff::tz::{Offset, TimeZone};
use jiff::{SignedDuration, Timestamp, Zoned};

use super::{Arguments, Table};
use crate::bake::value::Value;

pub(super) const TABLE: Table = &[
    ("formatdate", |arguments| {
        let [format, time] = arguments.exactly()?;
        formatted(&format.to_text()?, &parsed(&time.to_text()?)?).map(Value::String)
    }),
    ("formattimestamp", |arguments| {
        let [format, time] = arguments.exactly()?;
        let time = match time {
            Value::Number(_) => of_seconds(time)?,
            other => parsed(&other.to_text()?)?,
        };
        match format.to_text()?.as_str() {
            "X" => Ok(Value::text(time.timestamp().as_second().to_string())),
            format => formatted(format, &time).map(Value::String),
        }
    }),
    ("timeadd", |arguments| {
        let [time, duration] = arguments.exactly()?;
        let (time, text) = (parsed(&time.to_text()?)?, duration.to_text()?);
        let added = text.parse::<SignedDuration>().ok().and_then(|duration| time.checked_add(duration).ok());
        let added = added.ok_or_else(|| format!("`{text}` is no duration that can be added"))?;
        Ok(Value::String(rfc3339(&added)))
    }),
    ("unixtimestampparse", parts),
];

fn parsed(text: &str) -> Result<Zoned, String> {
    let wrong = || format!("`{text}` is no time of RFC 3339");
    let time: Timestamp = text.parse().map_err(|_| wrong())?;
    // The offset as it is written, which a timestamp forgets.
    let zone = text
        .char_indices()
        .rev()
        .find(|(_, one)| matches!(one, '+' | '-' | 'Z' | 'z'))
        .map(|(at, _)| &text[at..]);
    let offset = match zone.ok_or_else(wrong)? {
        "Z" | "z" => Offset::UTC,
        zone => {
            let (hours, minutes) = zone[1..].split_once(':').ok_or_else(wrong)?;
            let number = |part: &str| part.parse::<i32>().map_err(|_| wrong());
            let seconds = number(hours)? * 3600 + number(minutes)? * 60;
            let seconds = if zone.starts_with('-') { -seconds } else { seconds };
            Offset::from_seconds(seconds).map_err(|_| wrong())?
        }
    };
    Ok(time.to_zoned(TimeZone::fixed(offset)))
}

fn of_seconds(value: &Value) -> Result<Zoned, String> {
    let number = value.to_number()?;
    let time = (number.fract() == 0.0).then(|| Timestamp::from_second(number as i64).ok()).flatten();
    let time = time.ok_or_else(|| format!("{number} is no number of seconds since 1970"))?;
    Ok(time.to_zoned(TimeZone::UTC))
}

fn rfc3339(time: &Zoned) -> String {
    let zone = offset(time, true).replace("+00:00", "Z");
    format!("{}{zone}", time.strftime("%Y-%m-%dT%H:%M:%S"))
}

fn offset(time: &Zoned, colon: bool) -> String {
    time.strftime(if colon { "%:z" } else { "%z" }).to_string()
}

/// Letters are parts of a time, as many as there are of one decides how it is written; between `'` they are themselves.
fn formatted(format: &str, time: &Zoned) -> Result<String, String> {
    let mut text = String::new();
    let mut characters = format.chars().peekable();
    while let Some(letter) = characters.next() {
        if letter == '\'' {
            loop {
                match characters.next() {
                    Some('\'') if characters.peek() == Some(&'\'') => {
                        characters.next();
                        text.push('\'');
                    }
                    Some('\'') => break,
                    Some(other) => text.push(other),
                    None => return Err("a quote has no end".to_owned()),
                }
            }
            continue;
        }
        if !letter.is_ascii_alphabetic() {
            text.push(letter);
            continue;
        }
        let mut count = 1;
        while characters.next_if_eq(&letter).is_some() {
            count += 1;
        }
        text += &part(letter, count, time)?;
    }
    Ok(text)
}

fn part(letter: char, count: usize, time: &Zoned) -> Result<String, String> {
    let written = |format: &str| time.strftime(format).to_string();
    let twelve = if time.hour() % 12 == 0 { 12 } else { time.hour() % 12 };
    let number = |number: i32| if count == 1 { number.to_string() } else { format!("{number:02}") };
    Ok(match (letter, count) {
        ('Y', 4) => written("%Y"),
        ('Y', 2) => written("%y"),
        ('M', 1 | 2) => number(time.month().into()),
        ('M', 3) => written("%b"),
        ('M', 4) => written("%B"),
        ('D', 1 | 2) => number(time.day().into()),
        ('E', 3) => written("%a"),
        ('E', 4) => written("%A"),
        ('h', 1 | 2) => number(time.hour().into()),
        ('H', 1 | 2) => number(twelve.into()),
        ('A', 2) => (if time.hour() < 12 { "AM" } else { "PM" }).to_owned(),
        ('a', 2) => (if time.hour() < 12 { "am" } else { "pm" }).to_owned(),
        ('m', 1 | 2) => number(time.minute().into()),
        ('s', 1 | 2) => number(time.second().into()),
        ('Z', 1) if time.offset().is_zero() => "Z".to_owned(),
        ('Z', 1 | 5) => offset(time, true),
        ('Z', 3) if time.offset().is_zero() => "UTC".to_owned(),
        ('Z', 3 | 4) => offset(time, false),
        _ => return Err(format!("`{}` is no part of a time", letter.to_string().repeat(count))),
    })
}

fn parts(arguments: Arguments<'_>) -> Result<Value, String> {
    let [seconds] = arguments.exactly()?;
    let time = of_seconds(seconds)?;
    let week = time.date().iso_week_date();
    let written = |format: &str| Value::text(time.strftime(format).to_string());
    let weekday = match time.weekday() {
        Weekday::Sunday => 0,
        other => i32::from(other.to_monday_one_offset()),
    };
    let number = |number: i32| Value::Number(number.into());
    Ok(Value::Object(BTreeMap::from([
        ("day".to_owned(), number(time.day().into())),
        ("hour".to_owned(), number(time.hour().into())),
        ("iso_week".to_owned(), number(week.week().into())),
        ("iso_year".to_owned(), number(week.year().into())),
        ("minute".to_owned(), number(time.minute().into())),
        ("month".to_owned(), number(time.month().into())),
        ("month_name".to_owned(), written("%B")),
        ("rfc3339".to_owned(), Value::String(rfc3339(&time))),
        ("second".to_owned(), number(time.second().into())),
        ("weekday".to_owned(), number(weekday)),
        ("weekday_name".to_owned(), written("%A")),
        ("year".to_owned(), number(time.year().into())),
        ("year_day".to_owned(), number(time.day_of_year().into())),
    ])))
}
