//! Deadline and status of a call, as its headers carry them.

use std::time::Duration;

use http::HeaderMap;
use tonic::Code;

/// The time a caller gives, from the header `grpc-timeout` (1 to 8 digits and a unit); `None` if it
/// is absent or malformed. See the gRPC over HTTP/2 protocol, "Timeout".
pub fn grpc_timeout(headers: &HeaderMap) -> Option<Duration> {
    let value = headers.get("grpc-timeout")?.as_bytes();
    let (unit, digits) = value.split_last()?;
    if !(1..=8).contains(&digits.len()) || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let amount: u64 = std::str::from_utf8(digits).ok()?.parse().ok()?;
    Some(match unit {
        b'H' => Duration::from_secs(amount * 60 * 60),
        b'M' => Duration::from_secs(amount * 60),
        b'S' => Duration::from_secs(amount),
        b'm' => Duration::from_millis(amount),
        b'u' => Duration::from_micros(amount),
        b'n' => Duration::from_nanos(amount),
        _ => return None,
    })
}

/// The part of the time that a caller leaves which may be spent on waiting: nine tenths. The rest
/// is for the reply's way back, through however many services: none of them takes its tenth again
/// of what another one tells it to wait.
pub fn time_to_wait(left: Duration) -> Duration {
    left.mul_f64(0.9)
}

/// The status that headers or trailers carry, if any.
pub fn grpc_status(headers: &HeaderMap) -> Option<Code> {
    headers.get("grpc-status").map(|status| Code::from_bytes(status.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timeouts() {
        let check = |value: &str, expected: Option<Duration>| {
            let mut headers = HeaderMap::new();
            headers.insert("grpc-timeout", value.parse().expect("a header"));
            assert_eq!(grpc_timeout(&headers), expected, "{value:?}");
        };
        check("2H", Some(Duration::from_secs(7200)));
        check("3M", Some(Duration::from_secs(180)));
        check("4S", Some(Duration::from_secs(4)));
        check("82m", Some(Duration::from_millis(82)));
        check("5u", Some(Duration::from_micros(5)));
        check("6n", Some(Duration::from_nanos(6)));
        check("0m", Some(Duration::ZERO));
        check("99999999H", Some(Duration::from_secs(99_999_999 * 3600)));
        for malformed in ["", "H", "1", "1 m", "-1m", "+1m", "1.5S", "123456789S", "1d"] {
            check(malformed, None);
        }
        assert_eq!(grpc_timeout(&HeaderMap::new()), None);
    }
}
