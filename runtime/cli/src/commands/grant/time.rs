//! Times as people write and read them, where they are.

use jiff::{
    Span, Timestamp, Zoned,
    civil::{Date, DateTime},
    tz::TimeZone,
};

/// The system's time zone; UTC where it says none.
fn here() -> TimeZone {
    TimeZone::try_system().unwrap_or(TimeZone::UTC)
}

fn wrong(text: &str) -> String {
    let shown: String = text.chars().take(40).collect();
    format!("{shown:?} is not a time such as 2026-11-27, 2026-11-27T18:00 or 2026-11-27T18:00:00Z")
}

fn seconds(time: Timestamp) -> Result<u64, String> {
    u64::try_from(time.as_second()).map_err(|_| "it is before 1970".to_owned())
}

/// The moment that is meant; of a day, what `of_day` says.
fn moment(text: &str, of_day: impl Fn(Zoned) -> Result<Zoned, jiff::Error>) -> Result<u64, String> {
    if let Ok(time) = text.parse::<Timestamp>() {
        return seconds(time);
    }
    let zoned = match text.contains(':') {
        true => text.parse::<DateTime>().and_then(|time| time.to_zoned(here())),
        false => text.parse::<Date>().and_then(|day| day.to_zoned(here())).and_then(of_day),
    };
    zoned.map_err(|_| wrong(text)).and_then(|time| seconds(time.timestamp()))
}

/// When something begins, in seconds since the Unix epoch: of a day, its first second.
pub(in crate::commands) fn begin(text: &str) -> Result<u64, String> {
    moment(text, |day| day.start_of_day())
}

/// When something ends, in seconds since the Unix epoch: of a day, its last second.
pub(super) fn end(text: &str) -> Result<u64, String> {
    moment(text, |day| day.end_of_day())
}

/// A length of time, in seconds, as `7d`, `12h` or `2 weeks`; days as the calendar has them here.
pub(in crate::commands) fn span(text: &str) -> Result<u64, String> {
    let shown: String = text.chars().take(40).collect();
    let wrong = || format!("{shown:?} is not a length of time such as 7d or 12h");
    let span: Span = text.parse().map_err(|_| wrong())?;
    let now = Timestamp::now().to_zoned(here());
    let then = now.checked_add(span).map_err(|_| wrong())?;
    let seconds = then.timestamp().as_second().saturating_sub(now.timestamp().as_second());
    u64::try_from(seconds).ok().filter(|seconds| *seconds > 0).ok_or_else(wrong)
}

fn zoned(time: u64) -> Option<Zoned> {
    let time = Timestamp::from_second(i64::try_from(time).ok()?).ok()?;
    Some(time.to_zoned(here()))
}

/// A time in seconds since the Unix epoch as people read it: `Friday 27 November 2026 18:00 CET`; the last second of a day
/// is the day.
pub(in crate::commands) fn words(time: u64) -> String {
    let Some(zoned) = zoned(time) else { return format!("second {time}") };
    let last = (zoned.hour(), zoned.minute(), zoned.second()) == (23, 59, 59);
    let form = if last { "%A %-d %B %Y" } else { "%A %-d %B %Y %H:%M %Z" };
    zoned.strftime(form).to_string()
}

/// In few characters, for a table.
pub(in crate::commands) fn short(time: u64) -> String {
    zoned(time).map_or_else(|| time.to_string(), |zoned| zoned.strftime("%Y-%m-%d %H:%M").to_string())
}

/// As RFC 3339, in UTC.
pub(super) fn utc(time: u64) -> String {
    let time = i64::try_from(time).ok().and_then(|time| Timestamp::from_second(time).ok());
    time.map(|time| time.to_string()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_is_whole_and_a_time_is_itself() {
        assert_eq!(begin("2026-11-27T18:00:00Z"), Ok(1_795_802_400));
        assert_eq!(end("2026-11-27T18:00:00Z"), begin("2026-11-27T19:00:00+01:00"));
        let (first, last) = (begin("2026-11-27").unwrap_or(0), end("2026-11-27").unwrap_or(0));
        assert!(first > 0 && last - first >= 22 * 3_600 && (last - first) % 60 == 59);
        assert_eq!(words(last), "Friday 27 November 2026");
        assert_eq!(begin("2026-11-27T00:00"), Ok(first));
        for bad in ["", "friday", "2026-13-01", "1960-01-01", "2026-11-27T25:00", "7d"] {
            assert!(begin(bad).is_err() && end(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn lengths_are_positive() {
        assert_eq!(span("12h"), Ok(43_200));
        assert!(span("7d").is_ok_and(|s| s.abs_diff(7 * 86_400) <= 7_200));
        for bad in ["", "0d", "-7d", "7", "soon", "99999999y"] {
            assert!(span(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn no_time_is_too_far_to_be_shown() {
        assert!(!words(u64::MAX).is_empty() && !short(1 << 53).is_empty());
        assert_eq!(utc(u64::MAX), "");
        assert_eq!(utc(0), "1970-01-01T00:00:00Z");
    }
}
