//! The first reading of a file: checks every line, and learns what is to be made before sales can
//! be recorded.
//!
//! Memory grows with the number of stores, products and items (a product in a store), not with the
//! number of lines.

use std::collections::HashMap;
use std::fs::{File, Metadata};
use std::io::Read;
use std::path::Path;

use anyhow::{Context as _, ensure};
use sha2::{Digest as _, Sha256};

use super::lines::Lines;
use super::sale::{QUANTITY_MAX, Sale, TOTAL_MAX};

/// Progress is told once in so many lines.
const TELL_EVERY: u64 = 10_000;

/// Contents of a file, counted.
pub struct Survey {
    /// SHA-256 of the file.
    pub digest: [u8; 32],
    /// Number of sales.
    pub sales: u64,
    /// In the order in which the file names them.
    pub stores: Vec<Named>,
    /// Products, likewise.
    pub products: Vec<String>,
    /// Items, likewise.
    pub items: Vec<Item>,
    as_surveyed: Metadata,
}

/// A store.
pub struct Named {
    /// The store's name.
    pub name: String,
    /// The first line that names it.
    pub line: u64,
}

/// A product in a store.
pub struct Item {
    /// The store's place in [`Survey::stores`].
    pub store: u32,
    /// The product's place in [`Survey::products`].
    pub product: u32,
    /// The first line that sells it.
    pub line: u64,
    /// Units sold, over all lines.
    pub units: i64,
    /// Paid for them.
    pub amount: i64,
}

impl Item {
    /// The mean price of a unit, rounded to the nearest minor unit: the same in whatever order
    /// lines are read.
    pub fn price(&self) -> i64 {
        (self.amount + self.units / 2) / self.units
    }
}

impl Survey {
    /// Reads and checks the whole file. `tell` hears how many bytes were read.
    pub fn of_file(path: &Path, tell: impl Fn(u64)) -> anyhow::Result<Survey> {
        let file = File::open(path)?;
        let as_surveyed = file.metadata()?;
        ensure!(as_surveyed.is_file(), "it is read twice, so it must be an ordinary file");
        let mut hashed = Hashed { inner: file, hasher: Sha256::new() };
        let counted = Counted::of(&mut hashed, tell)?;
        // The parser reads to the end, but not beyond a final newline's buffer.
        std::io::copy(&mut hashed, &mut std::io::sink())?;
        Ok(Survey {
            digest: hashed.hasher.finalize().into(),
            sales: counted.sales,
            stores: counted.stores,
            products: counted.products,
            items: counted.items,
            as_surveyed,
        })
    }

    /// The same file's sales, one by one; fails if it has changed since.
    pub fn open_again(
        &self,
        path: &Path,
    ) -> anyhow::Result<impl Iterator<Item = anyhow::Result<Sale>> + use<>> {
        let file = File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
        let now = file.metadata()?;
        let is_same = now.len() == self.as_surveyed.len()
            && now.modified()? == self.as_surveyed.modified()?;
        ensure!(is_same, "{} has changed since it was checked", path.display());
        let mut lines = Lines::of(file)?;
        Ok(std::iter::from_fn(move || {
            let next = lines.next().transpose()?;
            Some(next.and_then(|(line, record)| Sale::parse(line, record)))
        }))
    }
}

/// Reads on behalf of the parser, and hashes what it reads.
struct Hashed<R> {
    inner: R,
    hasher: Sha256,
}

impl<R: Read> Read for Hashed<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.hasher.update(&buffer[..read]);
        Ok(read)
    }
}

/// The sums, while the file is read.
#[derive(Default)]
struct Counted {
    sales: u64,
    stores: Vec<Named>,
    products: Vec<String>,
    items: Vec<Item>,
    store_places: HashMap<String, u32>,
    product_places: HashMap<String, u32>,
    item_places: HashMap<(u32, u32), usize>,
}

impl Counted {
    fn of(input: impl Read, tell: impl Fn(u64)) -> anyhow::Result<Counted> {
        let mut counted = Counted::default();
        let mut lines = Lines::of(input)?;
        while let Some((line, record)) = lines.next()? {
            let sale = Sale::parse(line, record)?;
            counted.add(&sale).with_context(|| format!("line {}", sale.line))?;
            if counted.sales.is_multiple_of(TELL_EVERY) {
                tell(lines.bytes());
            }
        }
        ensure!(counted.sales > 0, "it has no sales");
        Ok(counted)
    }

    fn add(&mut self, sale: &Sale) -> anyhow::Result<()> {
        let line = sale.line;
        let stores = &mut self.stores;
        let products = &mut self.products;
        let store = place(&mut self.store_places, &sale.store, |name| {
            stores.push(Named { name, line });
        });
        let product = place(&mut self.product_places, &sale.product, |name| products.push(name));
        let next = self.items.len();
        let at = *self.item_places.entry((store, product)).or_insert(next);
        if at == next {
            self.items.push(Item { store, product, line, units: 0, amount: 0 });
        }
        let item = &mut self.items[at];
        item.units += sale.quantity;
        item.amount += sale.amount;
        let (most, name) = (QUANTITY_MAX, &sale.product);
        // Its revenue, and the value of its units at their mean price, which is rounded.
        ensure!(
            item.amount + item.units / 2 <= TOTAL_MAX,
            "more than {TOTAL_MAX} paid for {name} in all, which no item can hold"
        );
        ensure!(
            item.units <= most,
            "more than {most} units of {name} in all, which one delivery cannot bring"
        );
        self.sales += 1;
        Ok(())
    }
}

/// The place of a name, which is `add`ed if it is new.
fn place(places: &mut HashMap<String, u32>, name: &str, add: impl FnOnce(String)) -> u32 {
    if let Some(place) = places.get(name) {
        return *place;
    }
    let place = places.len() as u32;
    places.insert(name.to_owned(), place);
    add(name.to_owned());
    place
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    const FILE: &str = "store,product,quantity,amount,timestamp\n\
        B,2,1,100,2017-01-01T00:00:00Z\n\
        A,1,2,301,2017-01-01T00:00:01Z\n\
        B,1,1,10,2017-01-01T00:00:02Z\n\
        B,2,3,50,2017-01-01T00:00:03Z\n";

    fn survey(text: &str) -> (tempfile::NamedTempFile, Result<Survey, String>) {
        let mut file = tempfile::NamedTempFile::new().expect("a file");
        file.write_all(text.as_bytes()).expect("written");
        let survey = Survey::of_file(file.path(), |_| {}).map_err(|error| format!("{error:#}"));
        (file, survey)
    }

    #[test]
    fn stores_items_and_sums_are_found_in_order() {
        let (file, survey) = survey(FILE);
        let survey = survey.expect("a good file");
        assert_eq!(survey.sales, 4);
        let stores: Vec<_> = survey.stores.iter().map(|s| (s.name.as_str(), s.line)).collect();
        assert_eq!(stores, [("B", 2), ("A", 3)]);
        assert_eq!(survey.products, ["2", "1"]);
        let items: Vec<_> = survey
            .items
            .iter()
            .map(|i| (i.store, i.product, i.line, i.units, i.amount, i.price()))
            .collect();
        assert_eq!(
            items,
            [(0, 0, 2, 4, 150, 38), (1, 1, 3, 2, 301, 151), (0, 1, 4, 1, 10, 10)],
            "prices are rounded half up"
        );
        assert_eq!(survey.digest[..], Sha256::digest(FILE)[..]);
        let again: Result<Vec<_>, _> = survey.open_again(file.path()).expect("unchanged").collect();
        assert_eq!(again.expect("sales").len(), 4);
    }

    #[test]
    fn a_bad_file_is_refused_with_the_line() {
        let header = "store,product,quantity,amount,timestamp\n";
        let half = "A,1,600000000,1,2017-01-01T00:00:00Z\n";
        let dear = "A,1,1,1000000000000,2017-01-01T00:00:00Z\n";
        for (text, expected) in [
            (String::new(), "line 1 must be store,product"),
            (FILE.replacen("store", "shop", 1), "line 1 must be store,product"),
            (header.to_owned(), "it has no sales"),
            (format!("{FILE}B,2,x,50,2017-01-01T00:00:03Z\n"), "line 6: quantity"),
            (format!("{FILE}B,2\n"), "line 6: quantity is missing"),
            (format!("{header}{half}{half}"), "line 3: more than 1000000000 units of 1"),
            (format!("{header}{}", dear.repeat(10)), "line 10: more than 9000000000000 paid"),
            (format!("{header}\n\nA,1,x,1,2017-01-01T00:00:00Z\n"), "line 4: quantity"),
            (FILE.replace('\n', "\r\n") + "B,2,x,5,2017-01-01T00:00:03Z\r\n", "line 6: quantity"),
        ] {
            let error = survey(&text).1.err().unwrap_or_else(|| panic!("accepted {text:?}"));
            assert!(error.contains(expected), "{text:?}: {error}");
        }
    }

    #[test]
    fn a_file_that_changes_while_it_is_loaded_is_noticed() {
        let (mut file, survey) = survey(FILE);
        let survey = survey.expect("a good file");
        file.write_all(b"B,2,1,1,2017-01-01T00:00:04Z\n").expect("written");
        let error = survey.open_again(file.path()).err().expect("it has changed");
        assert!(error.to_string().contains("has changed"), "{error}");
    }
}
