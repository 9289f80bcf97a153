//! Tables for a terminal: columns that line up, without lines between them.

use comfy_table::{Row, Table, presets};

/// Spaces between two columns.
const GAP: u16 = 2;

/// The header and the rows as lines that end without spaces.
pub(crate) fn lines<R: Into<Row>>(
    header: impl Into<Row>,
    rows: impl IntoIterator<Item = R>,
) -> Vec<String> {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(header).add_rows(rows);
    for column in table.column_iter_mut() {
        column.set_padding((0, GAP));
    }
    table.lines().map(|line| line.trim_end().to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up() {
        let rows = [["query-svc", "127.0.0.1:16007", "a"], ["zürich", "[::1]:50050", "b"]];
        let expected = [
            "PROGRAM    ADDRESS          ROLE",
            "query-svc  127.0.0.1:16007  a",
            "zürich     [::1]:50050      b",
        ];
        assert_eq!(lines(["PROGRAM", "ADDRESS", "ROLE"], rows), expected);
    }

    #[test]
    fn a_long_cell_is_neither_wrapped_nor_cut() {
        let error = "no answer ".repeat(40);
        assert_eq!(lines(["health"], [[error.as_str()]])[1], error.trim_end());
    }
}
