//! From the fields of requests to the domain's values. Every mistake is recorded, with the field's
//! name.

use headwater_domain_model::values::{
    AMOUNT_MAX, Currency, EMAIL_BYTES_MAX, Email, Money, QUANTITY_MAX, Quantity, SKU_LEN_MAX, Sku,
};
use headwater_domain_proto::stores::v1 as stores;
use headwater_edge::{Violations, checked};

/// Characters of a name or a reason at most.
pub(super) const TEXT_LEN_MAX: usize = 200;

/// Characters of a city's name at most.
pub(super) const CITY_LEN_MAX: usize = 100;

/// See [`Currency::parse`].
pub(super) fn currency(v: &mut Violations, field: &str, code: &str) -> Option<Currency> {
    let description = "must be an ISO 4217 code: three capital letters, such as EUR";
    checked(v, field, description, Currency::parse(code))
}

/// See [`Email::parse`].
pub(super) fn email(v: &mut Violations, field: &str, text: &str) -> Option<Email> {
    let description = format!(
        "must be an e-mail address of at most {EMAIL_BYTES_MAX} bytes, with one @ and no spaces"
    );
    checked(v, field, &description, Email::parse(text))
}

/// See [`Sku::parse`].
pub(super) fn sku(v: &mut Violations, field: &str, text: &str) -> Option<Sku> {
    let description = format!("must be 1 to {SKU_LEN_MAX} printable ASCII characters");
    checked(v, field, &description, Sku::parse(text))
}

/// See [`Quantity::new`].
pub(super) fn quantity(v: &mut Violations, field: &str, units: i64) -> Option<Quantity> {
    let description = format!("must be from 1 to {QUANTITY_MAX}, not {units}");
    checked(v, field, &description, Quantity::new(units))
}

/// See [`Money::new`].
pub(super) fn money(
    v: &mut Violations,
    field: &str,
    money: Option<&stores::Money>,
) -> Option<Money> {
    let money = v.required(field, money)?;
    let code = currency(v, &format!("{field}.currency"), &money.currency);
    let amount = v.number(&format!("{field}.minor_units"), money.minor_units, 0..=AMOUNT_MAX);
    Money::new(code?, amount?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check<T>(right: bool, parse: impl FnOnce(&mut Violations) -> Option<T>) {
        let mut violations = Violations::new();
        let value = parse(&mut violations);
        assert_eq!(value.is_some(), right);
        assert_eq!(violations.finish(Some(())).is_ok(), right, "a missing value is a violation");
    }

    #[test]
    fn a_value_or_a_violation() {
        check(true, |v| currency(v, "currency", "EUR"));
        check(false, |v| currency(v, "currency", "eur"));
        check(true, |v| email(v, "email", "Ada@example.org"));
        check(false, |v| email(v, "email", "ada"));
        check(true, |v| sku(v, "sku", "A-1"));
        check(false, |v| sku(v, "sku", ""));
        check(true, |v| quantity(v, "quantity", 1));
        check(false, |v| quantity(v, "quantity", 0));
    }

    #[test]
    fn money_is_whole() {
        let of = |currency: &str, minor_units| stores::Money {
            currency: currency.to_owned(),
            minor_units,
        };
        check(true, |v| money(v, "price", Some(&of("EUR", 0))));
        check(true, |v| money(v, "price", Some(&of("EUR", AMOUNT_MAX))));
        check(false, |v| money(v, "price", Some(&of("EUR", AMOUNT_MAX + 1))));
        check(false, |v| money(v, "price", Some(&of("EUR", -1))));
        check(false, |v| money(v, "price", Some(&of("", 1))));
        check(false, |v| money(v, "price", None));
    }
}
