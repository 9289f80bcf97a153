//! The checker: every rule over every operation.

mod commands;
mod freshness;
mod order;
mod rows;
mod stored;

use super::log::Log;
use super::model::Model;
use super::record::Operation;
use super::violation::Violation;

/// All promises that were broken; none if all is well. Operations may come in any order.
pub fn check(log: &Log, operations: &[Operation]) -> Vec<Violation> {
    let index = stored::Index::new(log);
    let order = order::Order::new(log, &index, operations);
    let model = Model::new(log);
    let mut found = stored::check(log, &model.misfits, operations);
    found.extend(commands::check(log, &index, &order, operations));
    found.extend(freshness::check(log, &index, &order, operations));
    found.extend(rows::check(&model, operations));
    found
}
