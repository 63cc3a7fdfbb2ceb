//! The ways in which exports write a point in time, all read to milliseconds since 1970 UTC.

/// Milliseconds of one day.
const DAY_MS: i64 = 86_400_000;

/// LDAP's generalizedTime (RFC 4517, 3.3.13): `YYYYMMDDHH[MM[SS]][.f]` and `Z` or `±HH[MM]`.
pub(crate) fn generalized(text: &str) -> Option<i64> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (date, mut rest) = text.split_at(digits);
    if !matches!(digits, 10 | 12 | 14) {
        return None;
    }
    let at = |from: usize| date.get(from..from + 2).map_or(Some(0), |two| two.parse::<i64>().ok());
    let day = day_number(date[..4].parse().ok()?, date[4..6].parse().ok()?, date[6..8].parse().ok()?)?;
    let (hour, minute, second) = (at(8)?, at(10)?, at(12)?);
    let mut ms = day * DAY_MS + clock_ms(hour, minute, second)?;
    if rest.starts_with(['.', ',']) {
        let fraction;
        (fraction, rest) = split_digits(&rest[1..])?;
        // The fraction is one of the last unit that was written.
        let unit_ms = [3_600_000, 60_000, 1000][digits / 2 - 5];
        ms += fraction_of(fraction, unit_ms)?;
    }
    Some(ms - offset_ms(rest)?)
}

/// RFC 3339 and what databases make of it: `YYYY-MM-DD`, then `T` or a space and `hh:mm[:ss[.f]]`, then `Z`, `±hh[:]mm`
/// (a space before it is taken), or nothing for UTC.
pub(crate) fn iso(text: &str) -> Option<i64> {
    let text = text.trim();
    let day = iso_day(text.get(..10)?)?;
    let rest = text.get(10..)?;
    if rest.is_empty() {
        return Some(day * DAY_MS);
    }
    let rest = rest.strip_prefix(['T', 't', ' '])?;
    let (hour, minute) = (two(rest, 0)?, two(rest, 3)?);
    if rest.as_bytes().get(2) != Some(&b':') {
        return None;
    }
    let mut rest = rest.get(5..)?;
    let mut second = 0;
    let mut fraction_ms = 0;
    if rest.starts_with(':') {
        second = two(rest, 1)?;
        rest = &rest[3..];
        if rest.starts_with('.') {
            let digits;
            (digits, rest) = split_digits(&rest[1..])?;
            fraction_ms = fraction_of(digits, 1000)?;
        }
    }
    let rest = rest.trim_start();
    let offset = if rest.is_empty() { 0 } else { offset_ms(rest)? };
    Some(day * DAY_MS + clock_ms(hour, minute, second)? + fraction_ms - offset)
}

/// Whatever of these it is: ISO 8601, generalizedTime, or epoch seconds or milliseconds (more than ten digits).
pub(crate) fn any(text: &str) -> Option<i64> {
    iso(text).or_else(|| generalized(text)).or_else(|| epoch(text))
}

/// Seconds, or milliseconds where there are more than eleven digits, since 1970; a fraction of seconds is dropped below
/// the millisecond.
pub(crate) fn epoch(text: &str) -> Option<i64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let number: i64 = whole.parse().ok()?;
    if number.unsigned_abs() > 99_999_999_999 {
        return Some(number);
    }
    let fraction_ms = if fraction.is_empty() { 0 } else { fraction_of(fraction, 1000)? };
    Some(number * 1000 + fraction_ms)
}

/// A day `YYYY-MM-DD` as days since 1970.
pub(crate) fn iso_day(text: &str) -> Option<i64> {
    let bytes = text.as_bytes();
    if bytes.len() != 10 || bytes[4] != b'-' || bytes[7] != b'-' || !text.is_ascii() {
        return None;
    }
    let all_digits = |range: std::ops::Range<usize>| bytes[range].iter().all(u8::is_ascii_digit);
    if !all_digits(0..4) || !all_digits(5..7) || !all_digits(8..10) {
        return None;
    }
    day_number(text[..4].parse().ok()?, text[5..7].parse().ok()?, text[8..].parse().ok()?)
}

/// Writes `YYYY-MM-DDThh:mm:ss.mmmZ`.
pub(crate) fn rfc3339(ms: i64) -> String {
    let (year, month, day, hour, minute, second, milli) = parts(ms);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{milli:03}Z")
}

/// Writes generalizedTime to the millisecond: `YYYYMMDDhhmmss.mmmZ`.
pub(crate) fn to_generalized(ms: i64) -> String {
    let (year, month, day, hour, minute, second, milli) = parts(ms);
    format!("{year:04}{month:02}{day:02}{hour:02}{minute:02}{second:02}.{milli:03}Z")
}

fn parts(ms: i64) -> (i64, i64, i64, i64, i64, i64, i64) {
    let (day, in_day) = (ms.div_euclid(DAY_MS), ms.rem_euclid(DAY_MS));
    let (year, month, day_of_month) = civil(day);
    let second = in_day / 1000;
    (year, month, day_of_month, second / 3600, second / 60 % 60, second % 60, in_day % 1000)
}

/// Days since 1970 of a day of the proleptic Gregorian calendar (Howard Hinnant, "chrono-compatible low-level date
/// algorithms", days_from_civil); None for a day that there is not.
pub(crate) fn day_number(year: i64, month: i64, day: i64) -> Option<i64> {
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let days = match month {
        2 if leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => return None,
    };
    if !(1..=days).contains(&day) || !(0..=9999).contains(&year) {
        return None;
    }
    let shifted = if month <= 2 { year - 1 } else { year };
    let era = shifted.div_euclid(400);
    let year_of_era = shifted.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    Some(era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468)
}

/// The inverse of [`day_number`] (civil_from_days, same source).
fn civil(day: i64) -> (i64, i64, i64) {
    let shifted = day + 719_468;
    let (era, day_of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_shifted = (5 * day_of_year + 2) / 153;
    let month = if month_shifted < 10 { month_shifted + 3 } else { month_shifted - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day_of_year - (153 * month_shifted + 2) / 5 + 1)
}

fn clock_ms(hour: i64, minute: i64, second: i64) -> Option<i64> {
    // A leap second counts as the second after it.
    let sound = (0..24).contains(&hour) && (0..60).contains(&minute) && (0..61).contains(&second);
    sound.then_some(((hour * 60 + minute) * 60 + second) * 1000)
}

fn offset_ms(text: &str) -> Option<i64> {
    let (sign, digits) = match text.as_bytes().first()? {
        b'Z' | b'z' if text.len() == 1 => return Some(0),
        b'+' => (1, &text[1..]),
        b'-' => (-1, &text[1..]),
        _ => return None,
    };
    let minute_at = if digits.as_bytes().get(2) == Some(&b':') { 3 } else { 2 };
    let minutes = if digits.len() == 2 { 0 } else { two(digits, minute_at)? };
    let sound = digits.len() <= minute_at + 2;
    sound.then_some(sign * (two(digits, 0)? * 60 + minutes) * 60_000)
}

fn two(text: &str, at: usize) -> Option<i64> {
    let digits = text.get(at..at + 2)?;
    digits.bytes().all(|b| b.is_ascii_digit()).then(|| digits.parse().ok()).flatten()
}

fn split_digits(text: &str) -> Option<(&str, &str)> {
    let count = text.bytes().take_while(u8::is_ascii_digit).count();
    (count > 0).then(|| text.split_at(count))
}

/// `0.digits` of a unit, in milliseconds, rounded down.
fn fraction_of(digits: &str, unit_ms: i64) -> Option<i64> {
    if !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let digits = &digits[..digits.len().min(9)];
    let scale = 10_i64.pow(digits.len() as u32);
    Some(digits.parse::<i64>().ok()? * unit_ms / scale)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn reads_what_directories_and_databases_write() {
        let noon = 1_591_272_000_000;
        for text in ["20200604120000Z", "202006041200Z", "2020060412Z", "20200604140000+0200", "20200604140000.0+02"] {
            assert_eq!(generalized(text), Some(noon), "{text}");
        }
        assert_eq!(generalized("2020060412.5Z"), Some(noon + 1_800_000));
        for text in
            ["2020-06-04T12:00:00Z", "2020-06-04 12:00:00", "2020-06-04 14:00:00.000 +0200", "2020-06-04T12:00Z"]
        {
            assert_eq!(iso(text), Some(noon), "{text}");
        }
        assert_eq!(iso("2025-05-08 09:35:22.556125 +0000"), Some(1_746_696_922_556));
        assert_eq!(epoch("1471453471"), Some(1_471_453_471_000));
        assert_eq!(epoch("1591297959169"), Some(1_591_297_959_169));
    }

    #[test]
    fn refuses_what_is_no_time() {
        for text in
            ["", "2020", "20200230120000Z", "20200604120000", "2020-06-04T25:00:00Z", "2020-13-01", "20200604120000+1"]
        {
            assert_eq!(generalized(text).or_else(|| iso(text)), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(ms in -62_135_596_800_000_i64..253_402_300_800_000) {
            prop_assert_eq!(iso(&rfc3339(ms)), Some(ms));
            prop_assert_eq!(generalized(&to_generalized(ms)), Some(ms));
        }

        #[test]
        fn any_text_is_survived(text in "\\PC{0,40}", odd in "[0-9+\\-:.TZé ]{0,30}") {
            let _ = (super::any(&text), super::any(&odd));
        }
    }
}
