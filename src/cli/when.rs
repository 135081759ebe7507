//! Prints and parses times. Times are in UTC, as in the log of the agent.

/// The time as `2026-03-01T12:00:00.123Z`, from ms since 1970.
#[must_use]
pub(super) fn text(ms: u64) -> String {
    let (days, of_day) = (ms / 86_400_000, ms % 86_400_000);
    let (year, month, day) = date(days);
    let (seconds, ms) = (of_day / 1000, of_day % 1000);
    let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{ms:03}Z")
}

/// Year, month and day from the number of days since 1970. In this calculation years begin in March, so that the leap
/// day is the last day of a year.
fn date(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, of_era) = (days / 146_097, days % 146_097);
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let (month, next) = if month < 10 {
        (month + 3, 0)
    } else {
        (month - 9, 1)
    };
    (era * 400 + year + next, month, day)
}

/// Parses a time into ms since 1970: a time in UTC (`2026-03-01T12:00:00`; seconds and `Z` are optional, a blank can
/// replace the `T`), or an age relative to `now` (`90s`, `10m`, `2h`, `1d`).
///
/// # Errors
/// A description of the accepted formats.
pub(super) fn parse(text: &str, now: u64) -> Result<u64, String> {
    age(text)
        .map(|age| now.saturating_sub(age))
        .or_else(|| moment(text))
        .ok_or_else(|| {
            format!(
                "`{text}` is not a time: use UTC, 2026-03-01T12:00:00, or an age, 90s, 10m, 2h, 1d"
            )
        })
}

fn number(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().ok()).flatten()
}

fn age(text: &str) -> Option<u64> {
    let unit = text.chars().last()?;
    let ms = match unit {
        's' => 1_000,
        'm' => 60_000,
        'h' => 3_600_000,
        'd' => 86_400_000,
        _ => return None,
    };
    number(text.strip_suffix(unit)?)?.checked_mul(ms)
}

fn moment(text: &str) -> Option<u64> {
    let text = text.strip_suffix('Z').unwrap_or(text);
    let (date_text, time) = text.split_once(['T', ' ']).unwrap_or((text, "00:00"));
    let mut fields = date_text.split('-').map(number);
    let (year, month, day) = (fields.next()??, fields.next()??, fields.next()??);
    if fields.next().is_some() || !(1970..=9999).contains(&year) || !(1..=12).contains(&month) {
        return None;
    }
    let (time, ms) = match time.split_once('.') {
        Some((time, part)) if part.len() == 3 => (time, number(part)?),
        Some(_) => return None,
        None => (time, 0),
    };
    let mut fields = time.split(':').map(number);
    let (hour, minute) = (fields.next()??, fields.next()??);
    let second = fields.next().unwrap_or(Some(0))?;
    if fields.next().is_some() || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    // The day is found by searching with `date`, so that there is no second formula that could disagree with it.
    let about = (year - 1970) * 365 + (month - 1) * 28;
    let days = (about..about + 500).find(|days| date(*days) == (year, month, day))?;
    Some(days * 86_400_000 + (hour * 3600 + minute * 60 + second) * 1000 + ms)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_round_trip() {
        for (ms, wanted) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (1_772_366_400_123, "2026-03-01T12:00:00.123Z"),
            (4_102_444_799_999, "2099-12-31T23:59:59.999Z"),
        ] {
            assert_eq!(text(ms), wanted);
            assert_eq!(parse(wanted, 0), Ok(ms));
        }
        assert_eq!(parse("2026-03-01 12:00", 0), Ok(1_772_366_400_000));
        assert_eq!(parse("2026-03-01", 0), Ok(1_772_323_200_000));
    }

    #[test]
    fn ages_are_subtracted_from_now() {
        assert_eq!(parse("90s", 100_000), Ok(10_000));
        assert_eq!(parse("1d", 100_000), Ok(0));
        for wrong in [
            "",
            "x",
            "m",
            "-1m",
            "2026-02-30",
            "2026-13-01",
            "12:00",
            "99999999999999999999d",
        ] {
            assert!(parse(wrong, 0).is_err(), "{wrong}");
        }
    }
}
