//! Reports of measurements: tables in Markdown, plots in SVG, and the page that shows both.

mod page;
mod plot;
mod table;

pub use page::{Output, Report};
pub use plot::{Axis, Plot, Series};
pub use table::{Sample, median, number, ratio_row, tables};
