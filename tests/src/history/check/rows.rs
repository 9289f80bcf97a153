//! Rows: those of the log at exactly the positions that the reply claims.

use super::super::model::Model;
use super::super::record::{Answer, Operation, What};
use super::super::violation::{Kind, Violation};

/// Every reply against the fold.
pub fn check(model: &Model, operations: &[Operation]) -> Vec<Violation> {
    operations.iter().filter_map(|operation| wrong(model, operation)).collect()
}

fn wrong(model: &Model, operation: &Operation) -> Option<Violation> {
    let What::Query(query) = &operation.what else { return None };
    let Answer::Shown(shown) = &query.answer else { return None };
    let (rows, more) = model.rows(&query.ask, shown.page.as_ref(), &shown.proof.positions);
    let said = shown.page.as_ref().is_some_and(|page| page.more);
    let text = || format!("expected {rows:?}, more: {more}; got {operation:?}");
    (rows != shown.rows || more != said).then(|| Violation::new(Kind::WrongRows, text()))
}
