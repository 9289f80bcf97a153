//! The request's body: refuses a message that is too large before any of it is kept.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf as _, Bytes};
use headwater_edge::{ErrorReason, Failure};
use http_body::{Body, Frame, SizeHint};
use tonic::Status;
use tonic::codegen::StdError;

/// Bytes before each message: a flag, and the message's length.
const PREFIX_BYTES: usize = 5;

/// A request's body whose messages are bounded. It reads their lengths along the way.
pub(super) struct RequestBody<B> {
    inner: B,
    message_bytes_max: usize,
    /// Bytes that have come of the next message's prefix.
    prefix: [u8; PREFIX_BYTES],
    prefix_len: usize,
    /// Bytes of the message that are still to come.
    left: usize,
}

impl<B> RequestBody<B> {
    pub(super) fn new(inner: B, message_bytes_max: usize) -> Self {
        let prefix = [0; PREFIX_BYTES];
        Self { inner, message_bytes_max, prefix, prefix_len: 0, left: 0 }
    }

    /// Goes over the next bytes.
    fn check(&mut self, mut bytes: &[u8]) -> Result<(), Failure> {
        while !bytes.is_empty() {
            let passed = self.left.min(bytes.len());
            self.left -= passed;
            bytes.advance(passed);
            let wanted = (PREFIX_BYTES - self.prefix_len).min(bytes.len());
            self.prefix[self.prefix_len..][..wanted].copy_from_slice(&bytes[..wanted]);
            self.prefix_len += wanted;
            bytes.advance(wanted);
            if self.prefix_len == PREFIX_BYTES {
                let [_, length @ ..] = self.prefix;
                self.prefix_len = 0;
                self.left = u32::from_be_bytes(length) as usize;
            }
            if self.left > self.message_bytes_max {
                return Err(too_large(self.left, self.message_bytes_max));
            }
        }
        Ok(())
    }
}

fn too_large(bytes: usize, bytes_max: usize) -> Failure {
    let text = format!("the message has {bytes} bytes, and no more than {bytes_max} are taken");
    Failure::new(ErrorReason::InvalidRequest, text)
}

impl<B: Body<Data = Bytes, Error: Into<StdError>> + Unpin> Body for RequestBody<B> {
    type Data = Bytes;
    type Error = StdError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, StdError>>> {
        let this = self.get_mut();
        Pin::new(&mut this.inner).poll_frame(cx).map(|polled| {
            polled.map(|polled| {
                let frame = polled.map_err(Into::into)?;
                let checked = frame.data_ref().map_or(Ok(()), |bytes| this.check(bytes));
                checked.map_err(|failure| StdError::from(Status::from(failure)))?;
                Ok(frame)
            })
        })
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Messages of these lengths in the body's form.
    fn body(lengths: &[usize]) -> Vec<u8> {
        let message = |length: &usize| {
            let prefix = (*length as u32).to_be_bytes();
            [&[0][..], &prefix, &vec![0xff; *length]].concat()
        };
        lengths.iter().flat_map(message).collect()
    }

    #[test]
    fn each_message_is_measured_however_it_is_cut() {
        let table: [(&[usize], bool); 6] = [
            (&[], true),
            (&[100], true),
            (&[101], false),
            (&[0, 100, 1, 100], true),
            (&[0, 100, 101], false),
            (&[70_000, 3], false),
        ];
        for (lengths, fits) in table {
            for cut in [1, 2, 3, 5, 7, 100, 10_000] {
                let mut limited = RequestBody::new((), 100);
                let checked = body(lengths).chunks(cut).try_for_each(|part| limited.check(part));
                assert_eq!(checked.is_ok(), fits, "{lengths:?} in parts of {cut}");
            }
        }
    }
}
