//! The fields of a header block.

use super::BLOCK;

/// Whether the block's checksum is right, by the rule of POSIX or that of some old tars, which took bytes as signed.
pub(super) fn checksum_holds(block: &[u8; BLOCK]) -> bool {
    let field = 148..156;
    let Ok(Some(claimed)) = number(&block[field.clone()]) else { return false };
    let (mut unsigned, mut signed) = (0_i64, 0_i64);
    for (at, byte) in block.iter().enumerate() {
        let byte = if field.contains(&at) { b' ' } else { *byte };
        unsigned += i64::from(byte);
        signed += i64::from(byte.cast_signed());
    }
    claimed == unsigned || claimed == signed
}

/// The number in a field: octal digits up to a space, a NUL or the end, or binary if the first bit is set. `None` for
/// a blank field.
pub(super) fn number(field: &[u8]) -> Result<Option<i64>, &'static str> {
    let Some((&first, rest)) = field.split_first() else { return Ok(None) };
    if first & 0x80 != 0 {
        return binary(first, rest).map(Some);
    }
    let digits = field.trim_ascii_start();
    let digits = &digits[digits.iter().take_while(|byte| **byte == 0).count()..];
    let end = digits.iter().position(|byte| matches!(byte, 0 | b' ')).unwrap_or(digits.len());
    if end == 0 {
        return Ok(None);
    }
    digits[..end]
        .iter()
        .try_fold(0_i64, |value, digit| match digit {
            b'0'..=b'7' => value
                .checked_mul(8)
                .map(|value| value + i64::from(digit - b'0'))
                .ok_or("a number in its header is too large"),
            _ => Err("a number in its header is malformed"),
        })
        .map(Some)
}

/// A number in two's complement, the first bit aside, which only says that it is one.
fn binary(first: u8, rest: &[u8]) -> Result<i64, &'static str> {
    // The second bit is the sign.
    let mut value = i128::from(first & 0x7f) - if first & 0x40 == 0 { 0 } else { 0x80 };
    for byte in rest {
        value = value << 8 | i128::from(*byte);
        if i64::try_from(value).is_err() {
            return Err("a number in its header is too large");
        }
    }
    i64::try_from(value).map_err(|_| "a number in its header is too large")
}

/// The text in a field, up to its first NUL.
pub(super) fn text(field: &[u8]) -> &[u8] {
    &field[..field.iter().position(|byte| *byte == 0).unwrap_or(field.len())]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers() {
        let check = |field: &[u8], expected: Result<Option<i64>, ()>| {
            assert_eq!(number(field).map_err(|_| ()), expected, "{field:?}");
        };
        check(b"0000644\0", Ok(Some(0o644)));
        check(b"   644 \0", Ok(Some(0o644)));
        check(b"77777777777", Ok(Some(0o77_777_777_777)));
        check(b"12\0junk", Ok(Some(10)));
        check(b"\0\0\0\0", Ok(None));
        check(b"        ", Ok(None));
        check(b"12x\0", Err(()));
        check(b"-12\0", Err(()));
        check(b"0008\0", Err(()));
        check(b"\x80\0\0\0\0\0\0\0\0\0\x01\0", Ok(Some(256)));
        check(b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xfe", Ok(Some(-2)));
        check(b"\x80\0\0\0\x7f\xff\xff\xff\xff\xff\xff\xff", Ok(Some(i64::MAX)));
        check(b"\x80\0\0\0\x80\0\0\0\0\0\0\0", Err(()));
        check(b"\xbf\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", Err(()));
        check(b"\xc0\0\0\0\0\0\0\0\0\0\0\0", Err(()));
    }
}
