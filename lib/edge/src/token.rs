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
    let values = values.map_err(|_| token_failure_in(TOKEN, TokenError::Malformed))?;
    Tokens::decode_all(values).map_err(|error| token_failure_in(TOKEN, error))
}

/// The failure of a token in this field, or in the metadata of this name, that cannot be used.
pub fn token_failure_in(field: &str, error: TokenError) -> Failure {
    let failure = token_failure(error);
    match error {
        TokenError::Malformed => failure.violation(field, "must be a token as a reply gave it"),
        TokenError::TooMany => failure.violation(field, error.to_string()),
        TokenError::Foreign | TokenError::Lost => failure,
    }
}

/// The failure of a token that cannot be used.
pub fn token_failure(error: TokenError) -> Failure {
    let reason = match error {
        TokenError::Malformed | TokenError::TooMany => ErrorReason::TokenMalformed,
        TokenError::Foreign => ErrorReason::TokenForeign,
        TokenError::Lost => ErrorReason::TokenLost,
    };
    Failure::new(reason, error.to_string())
}

#[cfg(test)]
mod tests {
    use headwater_kernel::{Epoch, LogId, Token};
    use tonic::Status;
    use tonic_types::StatusExt as _;
    use uuid::Uuid;

    use super::*;

    #[test]
    fn what_is_wrong_with_tokens_is_named() {
        let one = Token::empty(LogId(Uuid::nil()), Epoch(1)).encode();
        for (tokens, said) in [(vec!["x"], "damaged"), (vec![&*one; 17], "more than 16 tokens")] {
            let mut metadata = MetadataMap::new();
            for token in tokens {
                metadata.append(TOKEN, token.parse().expect("ascii"));
            }
            let failure = tokens_of(&metadata).expect_err("refused");
            assert_eq!(failure.reason(), "TOKEN_MALFORMED");
            assert!(failure.message().contains(said), "{}", failure.message());
            let details = Status::from(failure).get_error_details();
            let wrong = details.bad_request().expect("a field").field_violations.clone();
            assert_eq!(wrong[0].field, TOKEN);
        }
    }
}
