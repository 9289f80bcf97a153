//! Place where to resume a watch, as text. Pure.

use headwater_kernel::{TokenError, Tokens};

use super::pages::Place;

/// Separates the token from a place in the changes; no token has it.
const SEPARATOR: char = '~';

/// Place where to resume.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resume {
    /// A state that must be shown.
    pub tokens: Tokens,
    /// The place up to which that state was told; none if all of it was.
    pub place: Option<Place>,
}

/// A place in the changes of a state that has not been told as a whole.
pub fn text(token: &str, place: &Place) -> String {
    let Place { applied, key } = place;
    format!("{token}{SEPARATOR}{applied}{SEPARATOR}{key}")
}

impl Resume {
    /// Reads a token, several joined by commas, or what [`text`] wrote.
    ///
    /// # Errors
    /// [`TokenError`].
    pub fn read(text: &str) -> Result<Self, TokenError> {
        let (tokens, place) = match text.split_once(SEPARATOR) {
            Some((tokens, place)) => (tokens, Some(read_place(place)?)),
            None => (text, None),
        };
        let tokens = Tokens::decode_all([tokens])?.ok_or(TokenError::Malformed)?;
        Ok(Self { tokens, place })
    }
}

fn read_place(text: &str) -> Result<Place, TokenError> {
    let (applied, key) = text.split_once(SEPARATOR).ok_or(TokenError::Malformed)?;
    let applied = applied.parse().map_err(|_| TokenError::Malformed)?;
    Ok(Place { applied, key: key.to_owned() })
}

#[cfg(test)]
mod tests {
    use headwater_kernel::{Epoch, LogId, Position, Token};
    use uuid::Uuid;

    use super::*;

    #[test]
    fn a_place_is_read_as_it_was_written() {
        let token = Token::of_positions(LogId(Uuid::nil()), Epoch(1), &[Position(7)]);
        let encoded = token.encode();
        let place = Place { applied: 41, key: "a~b".to_owned() };
        let table = [
            (encoded.clone(), Ok(None)),
            (format!("{encoded},{encoded}"), Ok(None)),
            (text(&encoded, &place), Ok(Some(place))),
            (text(&encoded, &Place::END), Ok(Some(Place::END))),
            (format!("{encoded}~41"), Err(TokenError::Malformed)),
            (format!("{encoded}~x~y"), Err(TokenError::Malformed)),
            ("~1~y".to_owned(), Err(TokenError::Malformed)),
            (String::new(), Err(TokenError::Malformed)),
        ];
        for (text, expected) in table {
            let read = Resume::read(&text);
            let expected = expected.map(|place| Resume { tokens: token.clone().into(), place });
            assert_eq!(read, expected, "{text}");
        }
    }
}
