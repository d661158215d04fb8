//! Functions that encode and digest texts.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use md5::{Digest as _, Md5};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use sha1::Sha1;
use sha2::{Sha256, Sha512};

use super::{Arguments, Table};
use crate::bake::value::Value;

pub(super) const TABLE: Table = &[
    ("base64decode", |arguments| {
        let text = only(arguments)?;
        let bytes = STANDARD.decode(&text).map_err(|_| "this is no base64".to_owned())?;
        String::from_utf8(bytes).map(Value::String).map_err(|_| "what it holds is no UTF-8 text".to_owned())
    }),
    ("base64encode", |arguments| Ok(Value::String(STANDARD.encode(only(arguments)?)))),
    ("jsondecode", |arguments| {
        serde_json::from_str(&only(arguments)?)
            .map(Value::of_json)
            .map_err(|error| format!("this is no JSON: {error}"))
    }),
    ("jsonencode", |arguments| {
        let [value] = arguments.exactly()?;
        Ok(Value::String(crate::bake::print::for_html(&value.to_json().to_string())))
    }),
    ("md5", |arguments| only(arguments).map(|text| hex(&Md5::digest(text)))),
    ("sha1", |arguments| only(arguments).map(|text| hex(&Sha1::digest(text)))),
    ("sha256", |arguments| only(arguments).map(|text| hex(&Sha256::digest(text)))),
    ("sha512", |arguments| only(arguments).map(|text| hex(&Sha512::digest(text)))),
    ("urlencode", |arguments| {
        Ok(Value::String(utf8_percent_encode(&only(arguments)?, QUERY).to_string().replace("%20", "+")))
    }),
];

/// What a query may not have as it is.
const QUERY: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

fn only(arguments: Arguments<'_>) -> Result<String, String> {
    arguments.exactly::<1>().and_then(|[text]| text.to_text())
}

fn hex(bytes: &[u8]) -> Value {
    Value::String(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}
