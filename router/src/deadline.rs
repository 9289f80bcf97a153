//! Writes the `grpc-timeout` header, as the gRPC protocol defines it. Pure.
//!
//! <https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md>: at most eight digits and a
//! unit.

use std::time::Duration;

use http::{HeaderName, HeaderValue};

/// The header.
pub const GRPC_TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");

const AMOUNT_MAX: u128 = 99_999_999;

/// The header's value for what is left of a deadline, in the finest unit that can hold it.
pub fn value(left: Duration) -> HeaderValue {
    let text = match left.as_micros() {
        micros if micros <= AMOUNT_MAX => format!("{micros}u"),
        micros if micros / 1_000 <= AMOUNT_MAX => format!("{}m", micros / 1_000),
        micros => format!("{}S", (micros / 1_000_000).min(AMOUNT_MAX)),
    };
    HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static("0u"))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use headwater_edge::grpc_timeout;
    use http::HeaderMap;

    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        for micros in [0, 1, 99_999_999, 100_000_000, 3_600_000_000, 90_000_000_000_000] {
            let left = Duration::from_micros(micros);
            let headers = HeaderMap::from_iter([(GRPC_TIMEOUT, value(left))]);
            let read = grpc_timeout(&headers).unwrap();
            assert!(read <= left && left - read < Duration::from_secs(1), "{micros}: {read:?}");
        }
    }
}
