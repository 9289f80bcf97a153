//! Tokens in metadata: the state that a client has seen, and the state that a reply shows.

use headwater_kernel::{TokenError, Tokens};
use tonic::metadata::MetadataMap;

use crate::failure::{ErrorReason, Failure};

/// The metadata key of tokens: of the state that a request requires, and of the state that a reply
/// shows.
pub const TOKEN: &str = "headwater-token";

/// All tokens of a request's metadata, merged; `None` without any.
///
/// # Errors
/// A token that is malformed, or tokens of different logs.
pub(crate) fn tokens_of(metadata: &MetadataMap) -> Result<Option<Tokens>, Failure> {
    let values = metadata.get_all(TOKEN).iter().map(|value| value.to_str());
    let values = values.collect::<Result<Vec<_>, _>>();
    let values = values.map_err(|_| token_failure(TokenError::Malformed))?;
    Tokens::decode_all(values).map_err(token_failure)
}

/// The failure of a token that cannot be used.
pub fn token_failure(error: TokenError) -> Failure {
    let reason = match error {
        TokenError::Malformed => ErrorReason::TokenMalformed,
        TokenError::Foreign => ErrorReason::TokenForeign,
        TokenError::Lost => ErrorReason::TokenLost,
    };
    Failure::new(reason, error.to_string())
}
