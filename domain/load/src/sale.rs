//! One line of a file of sales, checked.

use anyhow::{Context as _, bail, ensure};
use csv::StringRecord;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// The first line of the file.
pub const HEADER: [&str; 5] = ["store", "product", "quantity", "amount", "timestamp"];

/// Bounds of the wire contract (`stores/v1/commands.proto`), so that no line fails after others
/// were sent.
pub const QUANTITY_MAX: i64 = 1_000_000_000;
const AMOUNT_MAX: i64 = 1_000_000_000_000;
/// Revenue of an item in all, at most, likewise.
pub const TOTAL_MAX: i64 = 9_000_000_000_000;
const STORE_CHARS_MAX: usize = 200;
const PRODUCT_CHARS_MAX: usize = 64;
/// Characters of a field that an error shows.
const SHOWN_CHARS_MAX: usize = 60;

/// A sale.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sale {
    /// Line of the file, from 1, the header's.
    pub line: u64,
    /// Name of the store.
    pub store: String,
    /// The store's product number.
    pub product: String,
    /// Units.
    pub quantity: i64,
    /// Paid for all units, in minor units of the currency.
    pub amount: i64,
    /// Time of the sale.
    pub time: OffsetDateTime,
}

/// The header, or what is wrong with it.
pub fn check_header(header: &StringRecord) -> anyhow::Result<()> {
    let is_ours = header.iter().eq(HEADER);
    ensure!(
        is_ours,
        "line 1 must be {}, not {}",
        HEADER.join(","),
        shown(&header.iter().collect::<Vec<_>>().join(","))
    );
    Ok(())
}

impl Sale {
    /// Reads a line; the error names it and the field.
    pub fn parse(line: u64, record: &StringRecord) -> anyhow::Result<Sale> {
        Sale::fields(line, record).with_context(|| format!("line {line}"))
    }

    fn fields(line: u64, record: &StringRecord) -> anyhow::Result<Sale> {
        let mut fields = record.iter();
        let mut next = |name| fields.next().with_context(|| format!("{name} is missing"));
        let sale = Sale {
            line,
            store: store(next("store")?)?,
            product: product(next("product")?)?,
            quantity: number("quantity", next("quantity")?, 1, QUANTITY_MAX)?,
            amount: number("amount", next("amount")?, 0, AMOUNT_MAX)?,
            time: timestamp(next("timestamp")?)?,
        };
        ensure!(fields.next().is_none(), "there are more than {} fields", HEADER.len());
        Ok(sale)
    }
}

fn store(text: &str) -> anyhow::Result<String> {
    let length = text.chars().count();
    ensure!(
        (1..=STORE_CHARS_MAX).contains(&length) && text.trim() == text,
        "store must have 1 to {STORE_CHARS_MAX} characters and no space around them, not {}",
        shown(text)
    );
    Ok(text.to_owned())
}

fn product(text: &str) -> anyhow::Result<String> {
    let is_sku = (1..=PRODUCT_CHARS_MAX).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ')
        && text.trim() == text;
    ensure!(
        is_sku,
        "product must have 1 to {PRODUCT_CHARS_MAX} printable ASCII characters, not {}",
        shown(text)
    );
    Ok(text.to_owned())
}

fn number(name: &str, text: &str, least: i64, most: i64) -> anyhow::Result<i64> {
    match text.parse() {
        Ok(number) if (least..=most).contains(&number) => Ok(number),
        _ => bail!("{name} must be a whole number from {least} to {most}, not {}", shown(text)),
    }
}

fn timestamp(text: &str) -> anyhow::Result<OffsetDateTime> {
    let must = "timestamp must be RFC 3339 (2017-03-01T12:30:00Z)";
    OffsetDateTime::parse(text, &Rfc3339).with_context(|| format!("{must}, not {}", shown(text)))
}

/// A field in quotes, or its beginning: a quote that is never closed makes one of the whole file.
fn shown(text: &str) -> String {
    match text.char_indices().nth(SHOWN_CHARS_MAX) {
        Some((end, _)) => format!("{:?}… ({} bytes)", &text[..end], text.len()),
        None => format!("{text:?}"),
    }
}

#[cfg(test)]
mod tests {
    use csv::ReaderBuilder;

    use super::*;

    fn parse(line: &str) -> Result<Sale, String> {
        let text = format!("{}\n{line}\n", HEADER.join(","));
        let mut reader = ReaderBuilder::new().flexible(true).from_reader(text.as_bytes());
        let record = reader.records().next().expect("a line").expect("CSV");
        Sale::parse(2, &record).map_err(|error| format!("{error:#}"))
    }

    #[test]
    fn a_line_is_a_sale() {
        let sale =
            parse("\"Store, the 1st\",1095275,2,50,2017-01-01T11:53:26+01:00").expect("a sale");
        let time = time::macros::datetime!(2017-01-01 10:53:26 UTC);
        let (store, product) = ("Store, the 1st".to_owned(), "1095275".to_owned());
        assert_eq!(sale, Sale { line: 2, store, product, quantity: 2, amount: 50, time });
        assert_eq!(parse("S,1,1,0,2017-01-01T11:53:26Z").expect("given away").amount, 0);
    }

    #[test]
    fn a_malformed_line_is_named_with_its_field() {
        let long = format!("{},1,1,1,2017-01-01T11:53:26Z", "x".repeat(201));
        for (line, field) in [
            (",1,1,1,2017-01-01T11:53:26Z", "store must"),
            (" S,1,1,1,2017-01-01T11:53:26Z", "store must"),
            (long.as_str(), "store must"),
            ("S,,1,1,2017-01-01T11:53:26Z", "product must"),
            ("S,prüf,1,1,2017-01-01T11:53:26Z", "product must"),
            ("S,1,0,1,2017-01-01T11:53:26Z", "quantity must"),
            ("S,1,1.0,1,2017-01-01T11:53:26Z", "quantity must"),
            ("S,1,1000000001,1,2017-01-01T11:53:26Z", "quantity must"),
            ("S,1,1,-1,2017-01-01T11:53:26Z", "amount must"),
            ("S,1,1,1.50,2017-01-01T11:53:26Z", "amount must"),
            ("S,1,1,1,2017-01-01", "timestamp must"),
            ("S,1,1,1,2017-13-01T11:53:26Z", "timestamp must"),
            ("S,1,1,1", "timestamp is missing"),
            ("S", "product is missing"),
            ("S,1,1,1,2017-01-01T11:53:26Z,more", "more than 5 fields"),
        ] {
            let error = parse(line).expect_err(line);
            assert!(error.starts_with("line 2: ") && error.contains(field), "{line}: {error}");
        }
        for field in 0..HEADER.len() {
            let mut fields = ["S", "1", "1", "1", "2017-01-01T11:53:26Z"];
            let huge = "ü".repeat(1_000_000);
            fields[field] = &huge;
            let error = parse(&fields.join(",")).expect_err("too long");
            assert!(error.len() < 500 && error.contains("2000000 bytes"), "{error}");
        }
    }
}
