//! Values are right by construction: what each takes and what it refuses.

use headwater_domain_model::values::{
    AMOUNT_MAX, Currency, EMAIL_BYTES_MAX, Email, Money, QUANTITY_MAX, Quantity, SKU_LEN_MAX, Sku,
};

#[test]
fn email_is_kept_in_lower_case() {
    let check = |text: &str, expected: Option<&str>| {
        assert_eq!(Email::parse(text).as_ref().map(Email::as_str), expected, "{text:?}");
    };
    check("Ada@Example.ORG", Some("ada@example.org"));
    check("a@b", Some("a@b"));
    check("ÄDA@example.org", Some("äda@example.org"));
    for wrong in ["", "a", "@", "a@", "@b", "a@b@c", "a b@c", "a@b\n", "a@\u{7f}"] {
        check(wrong, None);
    }
    let longest = format!("{}@b", "a".repeat(EMAIL_BYTES_MAX - 2));
    check(&longest, Some(&longest));
    check(&format!("a{longest}"), None);
    // Fits as it is written, but not in lower case.
    check(&format!("{}@b", "Ⱥ".repeat(100)), None);
}

#[test]
fn currency_is_three_capital_letters() {
    assert_eq!(Currency::parse("EUR").unwrap().to_string(), "EUR");
    for wrong in ["", "EU", "EURO", "eur", "E1R", "ÄU"] {
        assert_eq!(Currency::parse(wrong), None, "{wrong:?}");
    }
}

#[test]
fn amounts_and_quantities_are_bounded() {
    let money = |minor_units| Money::new(Currency::parse("EUR").unwrap(), minor_units).is_some();
    assert_eq!([-1, 0, AMOUNT_MAX, AMOUNT_MAX + 1].map(money), [false, true, true, false]);
    let quantity = |units| Quantity::new(units).is_some();
    assert_eq!([0, 1, QUANTITY_MAX, QUANTITY_MAX + 1].map(quantity), [false, true, true, false]);
}

#[test]
fn sku_is_short_printable_ascii() {
    let longest = "~".repeat(SKU_LEN_MAX);
    for right in ["A-1", "a b", &longest] {
        assert_eq!(Sku::parse(right).unwrap().as_str(), right);
    }
    for wrong in ["", "Ä", "a\tb", &format!("{longest}~")] {
        assert_eq!(Sku::parse(wrong), None, "{wrong:?}");
    }
}
