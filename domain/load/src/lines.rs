//! The lines of a file of sales, each with its number as an editor counts them: also after empty
//! lines, after fields with line breaks, and where lines end in CRLF.

use std::io::{Chain, Read};

use csv::{Reader, ReaderBuilder, StringRecord, Terminator};

use super::sale::check_header;

/// The line break that ends the last line, if the file does not.
const END: &[u8] = b"\n";

/// Reads one record after the other.
pub struct Lines<R> {
    reader: Reader<Chain<R, &'static [u8]>>,
    record: StringRecord,
}

impl<R: Read> Lines<R> {
    /// Begins to read, with the header.
    pub fn of(input: R) -> anyhow::Result<Self> {
        // Flexible, since our own message on the number of fields names the line as the others do.
        // Records end with each line feed: the parser counts a CRLF only when it reads on.
        let mut reader = ReaderBuilder::new()
            .flexible(true)
            .terminator(Terminator::Any(b'\n'))
            .buffer_capacity(1 << 16)
            .from_reader(input.chain(END));
        let mut header = reader.headers()?.clone();
        drop_return(&mut header);
        check_header(&header)?;
        Ok(Self { reader, record: StringRecord::new() })
    }

    /// The next record and the line that it begins in; `None` at the end.
    pub fn next(&mut self) -> anyhow::Result<Option<(u64, &StringRecord)>> {
        while self.reader.read_record(&mut self.record)? {
            let is_empty = self.record.len() == 1 && self.record.get(0) == Some("\r");
            if is_empty {
                continue;
            }
            drop_return(&mut self.record);
            let breaks = |field: &str| field.bytes().filter(|byte| *byte == b'\n').count() as u64;
            let within: u64 = self.record.iter().map(breaks).sum();
            // The one after the line feed that ended the record.
            let next = self.reader.position().line();
            return Ok(Some((next.saturating_sub(within + 1), &self.record)));
        }
        Ok(None)
    }

    /// Bytes read so far.
    pub fn bytes(&self) -> u64 {
        self.reader.position().byte()
    }
}

/// Takes the carriage return of a CRLF from the last field.
fn drop_return(record: &mut StringRecord) {
    let last = record.iter().next_back().and_then(|last| last.strip_suffix('\r'));
    if let Some(last) = last.map(str::to_owned) {
        record.truncate(record.len() - 1);
        record.push_field(&last);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Number and last field of each line after the header.
    fn lines(text: &str) -> Vec<(u64, String)> {
        let text = format!("store,product,quantity,amount,timestamp\n{text}");
        let mut all = Vec::new();
        for text in [text.clone(), text.replace('\n', "\r\n")] {
            let mut lines = Lines::of(text.as_bytes()).expect("a header");
            let mut found = Vec::new();
            while let Some((line, record)) = lines.next().expect("CSV") {
                found.push((line, record.iter().next_back().unwrap_or_default().to_owned()));
            }
            all.push(found);
        }
        let crlf = all.pop();
        assert_eq!(crlf.as_ref(), all.last(), "{text:?}");
        crlf.unwrap_or_default()
    }

    #[test]
    fn lines_are_counted_as_an_editor_does() {
        let of = |expected: &[(u64, &str)]| -> Vec<(u64, String)> {
            expected.iter().map(|(line, last)| (*line, (*last).to_owned())).collect()
        };
        assert_eq!(lines("a,b\nc,d\n"), of(&[(2, "b"), (3, "d")]));
        assert_eq!(lines("a,b\nc,d"), of(&[(2, "b"), (3, "d")]));
        assert_eq!(lines("\n\na,b\n\n\nc,\"d\"\n\n"), of(&[(4, "b"), (7, "d")]));
        assert_eq!(lines("\"a\n\nz\",b\nc,d\n"), of(&[(2, "b"), (5, "d")]));
        assert_eq!(lines(""), of(&[]));
    }
}
