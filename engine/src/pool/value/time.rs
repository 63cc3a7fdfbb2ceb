//! Timestamps as text: `YYYY-MM-DDThh:mm:ss.mmmZ` out, that and the common RFC 3339 variants in.
//!
//! Days are counted by Howard Hinnant's `days_from_civil` and `civil_from_days`
//! ("chrono-Compatible Low-Level Date Algorithms"), in the proleptic Gregorian calendar.

const MS_PER_DAY: i64 = 86_400_000;

/// The first millisecond that a timestamp can name, `0000-01-01T00:00:00.000Z`.
pub const TIME_MIN_MS: i64 = days_from_civil(0, 1, 1) * MS_PER_DAY;
/// The last millisecond that a timestamp can name, `9999-12-31T23:59:59.999Z`.
pub const TIME_MAX_MS: i64 = days_from_civil(10_000, 1, 1) * MS_PER_DAY - 1;

/// Bytes of a timestamp's text.
pub const TIME_TEXT_BYTES: usize = 24;

/// Reads a timestamp as milliseconds since the Unix epoch; `None` if it is not one.
///
/// Taken: RFC 3339 date-times (`T`, `t` or a space between, `Z`, `z` or an offset `±hh:mm`, a fraction of
/// 1 to 9 digits or none; what is finer than a millisecond is cut off) from year 0000 to 9999.
/// Not taken: a date alone, local time without offset, the leap second `:60`.
pub fn parse_time(text: &[u8]) -> Option<i64> {
    let (date_time, rest) = text.split_at_checked(19)?;
    let [y0, y1, y2, y3, b'-', m0, m1, b'-', d0, d1, b'T' | b't' | b' ', h0, h1, b':', n0, n1, b':', s0, s1] =
        *<&[u8; 19]>::try_from(date_time).ok()?
    else {
        return None;
    };
    let year = two(y0, y1)? * 100 + two(y2, y3)?;
    let (month, day) = (two(m0, m1)?, two(d0, d1)?);
    let (hour, minute, second) = (two(h0, h1)?, two(n0, n1)?, two(s0, s1)?);
    if !(1..=12).contains(&month) || day < 1 || day > days_in_month(year, month) {
        return None;
    }
    if hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let (fraction_ms, zone) = parse_fraction(rest)?;
    let offset_minutes = parse_zone(zone)?;
    let seconds = (hour * 60 + minute - offset_minutes) * 60 + second;
    let ms = days_from_civil(year, month, day) * MS_PER_DAY + seconds * 1000 + fraction_ms;
    (TIME_MIN_MS..=TIME_MAX_MS).contains(&ms).then_some(ms)
}

/// Writes `ms` as `YYYY-MM-DDThh:mm:ss.mmmZ`. Times outside years 0000 to 9999, which no parsed value has,
/// are shown as the nearest one inside.
pub fn time_text(ms: i64) -> [u8; TIME_TEXT_BYTES] {
    let ms = ms.clamp(TIME_MIN_MS, TIME_MAX_MS);
    let (year, month, day) = civil_from_days(ms.div_euclid(MS_PER_DAY));
    let in_day = ms.rem_euclid(MS_PER_DAY);
    let mut out = *b"0000-00-00T00:00:00.000Z";
    put(&mut out[0..4], year);
    put(&mut out[5..7], month);
    put(&mut out[8..10], day);
    put(&mut out[11..13], in_day / 3_600_000);
    put(&mut out[14..16], in_day / 60_000 % 60);
    put(&mut out[17..19], in_day / 1000 % 60);
    put(&mut out[20..23], in_day % 1000);
    out
}

/// Writes `number` in decimal, right-aligned over the zeros of `digits`.
fn put(digits: &mut [u8], mut number: i64) {
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
    }
}

fn two(tens: u8, ones: u8) -> Option<i64> {
    (tens.is_ascii_digit() && ones.is_ascii_digit()).then(|| i64::from(tens - b'0') * 10 + i64::from(ones - b'0'))
}

/// Splits `.fraction` off; answers milliseconds and what follows.
fn parse_fraction(rest: &[u8]) -> Option<(i64, &[u8])> {
    let Some(after_dot) = rest.strip_prefix(b".") else {
        return Some((0, rest));
    };
    let digits = after_dot.iter().take_while(|b| b.is_ascii_digit()).count();
    if !(1..=9).contains(&digits) {
        return None;
    }
    let place = |at: usize, worth: i64| if at < digits { i64::from(after_dot[at] - b'0') * worth } else { 0 };
    Some((place(0, 100) + place(1, 10) + place(2, 1), &after_dot[digits..]))
}

/// Minutes that the zone is ahead of UTC.
fn parse_zone(zone: &[u8]) -> Option<i64> {
    match *zone {
        [b'Z' | b'z'] => Some(0),
        [sign @ (b'+' | b'-'), h0, h1, b':', m0, m1] => {
            let (hours, minutes) = (two(h0, h1)?, two(m0, m1)?);
            let ahead = (hours <= 23 && minutes <= 59).then_some(hours * 60 + minutes)?;
            Some(if sign == b'+' { ahead } else { -ahead })
        }
        _ => None,
    }
}

fn days_in_month(year: i64, month: i64) -> i64 {
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    match month {
        2 => 28 + i64::from(leap),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days from 1970-01-01 to the given date. Years count from March, so that the leap day comes last.
const fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let month_from_march = (month + 9) % 12;
    let day_of_year = (153 * month_from_march + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

/// Year, month and day of a day counted from 1970-01-01.
const fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = year_of_era + era * 400;
    (if month <= 2 { year + 1 } else { year }, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn text(ms: i64) -> String {
        String::from_utf8(time_text(ms).to_vec()).unwrap()
    }

    #[test]
    fn known_instants() {
        for (ms, wire) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (-1, "1969-12-31T23:59:59.999Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (1_795_305_600_123, "2026-11-22T00:00:00.123Z"),
            (TIME_MIN_MS, "0000-01-01T00:00:00.000Z"),
            (TIME_MAX_MS, "9999-12-31T23:59:59.999Z"),
        ] {
            assert_eq!(text(ms), wire);
            assert_eq!(parse_time(wire.as_bytes()), Some(ms));
        }
        assert_eq!(text(i64::MAX), "9999-12-31T23:59:59.999Z");
        assert_eq!(text(i64::MIN), "0000-01-01T00:00:00.000Z");
    }

    #[test]
    fn variants_name_the_same_instant() {
        let expected = parse_time(b"2026-11-22T12:30:00.500Z");
        assert!(expected.is_some());
        for same in [
            "2026-11-22t12:30:00.5z",
            "2026-11-22 12:30:00.500000Z",
            "2026-11-22T12:30:00.500999999Z",
            "2026-11-22T13:30:00.5+01:00",
            "2026-11-21T23:00:00.5-13:30",
            "2026-11-22T12:30:00.5-00:00",
        ] {
            assert_eq!(parse_time(same.as_bytes()), expected, "{same}");
        }
    }

    #[test]
    fn refused() {
        for bad in [
            "",
            "2026-11-22",
            "2026-11-22T12:30:00",
            "2026-11-22T12:30Z",
            "2026-02-29T00:00:00Z",
            "1900-02-29T00:00:00Z",
            "2026-13-01T00:00:00Z",
            "2026-00-01T00:00:00Z",
            "2026-01-00T00:00:00Z",
            "2026-04-31T00:00:00Z",
            "2026-01-01T24:00:00Z",
            "2026-01-01T00:60:00Z",
            "2026-12-31T23:59:60Z",
            "2026-01-01T00:00:00.Z",
            "2026-01-01T00:00:00.0000000001Z",
            "2026-01-01T00:00:00+0100",
            "2026-01-01T00:00:00+24:00",
            "2026-01-01T00:00:00ZZ",
            "0000-01-01T00:00:00+00:01",
            "9999-12-31T23:59:59-00:01",
            "+2026-01-01T00:00:00Z",
            "２026-01-01T00:00:00Z",
        ] {
            assert_eq!(parse_time(bad.as_bytes()), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn round_trip(ms in TIME_MIN_MS..=TIME_MAX_MS) {
            prop_assert_eq!(parse_time(&time_text(ms)), Some(ms));
        }

        #[test]
        fn dates_count_up(day in -719_528_i64..2_932_000) {
            let (year, month, date) = civil_from_days(day);
            prop_assert_eq!(days_from_civil(year, month, date), day);
            prop_assert!(date <= days_in_month(year, month));
            prop_assert!((year, month, date) < civil_from_days(day + 1));
        }

        #[test]
        fn never_panics(text in proptest::collection::vec(any::<u8>(), 0..40)) {
            parse_time(&text);
        }
    }
}
