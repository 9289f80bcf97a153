//! Values that are right by construction: the edge parses them, the aggregates need not check them
//! again.

use std::fmt;

/// The largest price of a unit and the largest amount of a sale, in minor units.
pub const AMOUNT_MAX: i64 = 1_000_000_000_000;

/// The most units that one command moves.
pub const QUANTITY_MAX: i64 = 1_000_000_000;

/// The largest total of one item: its units in stock, their value, its units sold, its revenue. The
/// sums over a million items at this limit still fit a `bigint`.
pub const TOTAL_MAX: i64 = 9_000_000_000_000;

/// The longest e-mail address, in bytes (RFC 5321, 4.5.3.1.3, less the two angle brackets).
pub const EMAIL_BYTES_MAX: usize = 254;

/// The longest SKU, in characters.
pub const SKU_LEN_MAX: usize = 64;

/// An e-mail address, in lower case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Email(String);

impl Email {
    /// `None` unless the text is of 3 to 254 bytes, with one `@` that is neither first nor last,
    /// and without white space and control characters. Whether it can be delivered to, only a mail
    /// can tell.
    pub fn parse(text: &str) -> Option<Self> {
        if text.len() > EMAIL_BYTES_MAX {
            return None;
        }
        let email = text.to_lowercase();
        let (local, host) = email.split_once('@')?;
        let sound = |part: &str| {
            !part.is_empty()
                && !part.contains(|c: char| c == '@' || c.is_whitespace() || c.is_control())
        };
        // Lower case can be longer than upper case: İ has two bytes, i̇ has three.
        (sound(local) && sound(host) && email.len() <= EMAIL_BYTES_MAX).then_some(Self(email))
    }

    /// The address.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// An ISO 4217 code by its form: three capital letters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Currency([u8; 3]);

impl Currency {
    /// `None` unless the text is three capital letters.
    pub fn parse(text: &str) -> Option<Self> {
        let code: [u8; 3] = text.as_bytes().try_into().ok()?;
        code.iter().all(u8::is_ascii_uppercase).then_some(Self(code))
    }
}

impl fmt::Display for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|letter| write!(f, "{}", char::from(*letter)))
    }
}

/// An amount of money, exact and not negative.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Money {
    currency: Currency,
    minor_units: i64,
}

impl Money {
    /// `None` unless the amount is 0 to [`AMOUNT_MAX`] minor units.
    pub fn new(currency: Currency, minor_units: i64) -> Option<Self> {
        (0..=AMOUNT_MAX).contains(&minor_units).then_some(Self { currency, minor_units })
    }

    /// The currency.
    pub fn currency(self) -> Currency {
        self.currency
    }

    /// The amount in the currency's minor unit.
    pub fn minor_units(self) -> i64 {
        self.minor_units
    }
}

/// A number of units that come or go, at least one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quantity(i64);

impl Quantity {
    /// `None` unless the number is 1 to [`QUANTITY_MAX`].
    pub fn new(units: i64) -> Option<Self> {
        (1..=QUANTITY_MAX).contains(&units).then_some(Self(units))
    }

    /// The number.
    pub fn units(self) -> i64 {
        self.0
    }
}

/// A store's own product number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sku(String);

impl Sku {
    /// `None` unless the text is of 1 to [`SKU_LEN_MAX`] printable ASCII characters.
    pub fn parse(text: &str) -> Option<Self> {
        let printable = text.bytes().all(|byte| (b' '..=b'~').contains(&byte));
        ((1..=SKU_LEN_MAX).contains(&text.len()) && printable).then(|| Self(text.to_owned()))
    }

    /// The number.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}
