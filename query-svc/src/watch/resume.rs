//! Place where to resume a watch, as text. Pure.

use headwater_kernel::{TokenError, Tokens};

use super::change::Point;
use super::pages::Place;

/// Separates the token from a place in the changes; no token has it.
const SEPARATOR: char = '~';
/// Before the revision of a state that was told as a whole.
const REVISION: char = 'r';
/// Between the events and the revision of a place, and the revision of the state that it is in; all
/// are of revision 0 where it is not said.
const POINT: char = '.';

/// Place where to resume.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resume {
    /// A state that must be shown.
    pub tokens: Tokens,
    /// Part of it that was told.
    pub told: Told,
}

/// Part of a state that was told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    /// All of it, at this revision; `None` if that is not known, since it is any reply's token.
    Whole(Option<i64>),
    /// Changes up to a place.
    Partly {
        /// The place.
        place: Place,
        /// The state's revision. A row that was revised at the same positions is told where its
        /// last change is, so before that revision it would have come before the place.
        revision: i64,
    },
}

/// A state that has been told as a whole. A plain token if its rows have never been revised.
pub fn whole(token: &str, revision: i64) -> String {
    match revision {
        0 => token.to_owned(),
        revision => format!("{token}{SEPARATOR}{REVISION}{revision}"),
    }
}

/// A place in the changes of a state that has not been told as a whole.
pub fn partly(token: &str, revision: i64, place: &Place) -> String {
    let Place { at, key } = place;
    let point = format!("{}{POINT}{}{POINT}{revision}", at.applied, at.revision);
    format!("{token}{SEPARATOR}{point}{SEPARATOR}{key}")
}

impl Resume {
    /// Reads a token, several joined by commas, or what [`whole`] or [`partly`] wrote.
    ///
    /// # Errors
    /// [`TokenError`].
    pub fn read(text: &str) -> Result<Self, TokenError> {
        let (tokens, told) = match text.split_once(SEPARATOR) {
            Some((tokens, told)) => (tokens, read_told(told).ok_or(TokenError::Malformed)?),
            None => (text, Told::Whole(None)),
        };
        let tokens = Tokens::decode_all([tokens])?.ok_or(TokenError::Malformed)?;
        Ok(Self { tokens, told })
    }
}

fn read_told(text: &str) -> Option<Told> {
    if let Some(revision) = text.strip_prefix(REVISION) {
        return Some(Told::Whole(Some(revision.parse().ok()?)));
    }
    let (point, key) = text.split_once(SEPARATOR)?;
    // Places were written without a revision before there were any.
    let (applied, revisions) = point.split_once(POINT).unwrap_or((point, "0.0"));
    let (of_place, revision) = revisions.split_once(POINT)?;
    let at = Point { applied: applied.parse().ok()?, revision: of_place.parse().ok()? };
    let revision = revision.parse().ok()?;
    // Postgres has no text with a zero byte.
    let place = Place { at, key: key.to_owned() };
    (!key.contains('\0')).then_some(Told::Partly { place, revision })
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
        let place = Place { at: Point { applied: 41, revision: 2 }, key: "a~b".to_owned() };
        let unrevised = Place { at: Point { revision: 0, ..place.at }, ..place.clone() };
        let malformed = || Err(TokenError::Malformed);
        let table = [
            (encoded.clone(), Ok(Told::Whole(None))),
            (format!("{encoded},{encoded}"), Ok(Told::Whole(None))),
            (whole(&encoded, 0), Ok(Told::Whole(None))),
            (whole(&encoded, 3), Ok(Told::Whole(Some(3)))),
            (partly(&encoded, 3, &place), Ok(Told::Partly { place, revision: 3 })),
            (partly(&encoded, 0, &Place::END), Ok(Told::Partly { place: Place::END, revision: 0 })),
            // As it was written before there were revisions.
            (format!("{encoded}~41~a~b"), Ok(Told::Partly { place: unrevised, revision: 0 })),
            (format!("{encoded}~41"), malformed()),
            (format!("{encoded}~r"), malformed()),
            (format!("{encoded}~x~y"), malformed()),
            (format!("{encoded}~1.2~y"), malformed()),
            (format!("{encoded}~1.2.x~y"), malformed()),
            (format!("{encoded}~1~\0"), malformed()),
            ("~1~y".to_owned(), malformed()),
            (String::new(), malformed()),
        ];
        for (text, expected) in table {
            let read = Resume::read(&text);
            let expected = expected.map(|told| Resume { tokens: token.clone().into(), told });
            assert_eq!(read, expected, "{text}");
        }
    }
}
