//! The picture as tables.

use super::look::{Checkpoint, Node, Status};
use crate::table;

/// Everything, as text for a terminal.
pub(super) fn render(status: &Status) -> String {
    [log(status), nodes(status), programs(status)].concat()
}

fn log(status: &Status) -> String {
    match &status.log {
        Err(error) => format!("log: cannot be seen: {error}\n\n"),
        Ok(log) => {
            let heads = log.heads.iter().enumerate();
            let rows = heads.map(|(n, head)| [n.to_string(), head.to_string()]);
            let table = indented(table::lines(["partition", "head"], rows));
            format!("log {} epoch {}\n{table}\n", log.id, log.epoch)
        }
    }
}

fn nodes(status: &Status) -> String {
    let header = ["node", "role", "projection", "checkpoint", "lag events", "lag s", "parked"];
    let rows = status.nodes.iter().flat_map(node_rows);
    let mut lines = table::lines(header, rows);
    lines.extend(status.nodes.iter().filter_map(remark));
    format!("{}\n", indented(lines))
}

fn node_rows(node: &Node) -> Vec<[String; 7]> {
    let Ok(shown) = &node.shows else { return Vec::new() };
    shown.projections.iter().map(|c| checkpoint(&node.name, shown.role, c)).collect()
}

/// The line of a node that has no row in the table.
fn remark(node: &Node) -> Option<String> {
    match &node.shows {
        Err(error) => Some(format!("{}  DOWN: {error}", node.name)),
        Ok(shown) if shown.projections.is_empty() => {
            Some(format!("{}  no checkpoint yet", node.name))
        }
        Ok(_) => None,
    }
}

fn checkpoint(node: &str, role: &str, c: &Checkpoint) -> [String; 7] {
    let positions: Vec<String> = c.positions.iter().map(u64::to_string).collect();
    let or_unknown = |value: Option<String>| value.unwrap_or_else(|| "?".to_owned());
    [
        node.to_owned(),
        role.to_owned(),
        c.projection.clone(),
        positions.join(" "),
        or_unknown(c.lag_events.map(|lag| lag.to_string())),
        or_unknown(c.lag_seconds.map(|lag| format!("{lag:.2}"))),
        c.parked.to_string(),
    ]
}

fn programs(status: &Status) -> String {
    if status.programs.is_empty() {
        return String::new();
    }
    let rows = status.programs.iter().map(|program| {
        let health = match &program.ready {
            Ok(()) => "ready".to_owned(),
            Err(error) => error.replace('\n', "; "),
        };
        [program.name.clone(), program.address.to_string(), health]
    });
    indented(table::lines(["program", "address", "health"], rows))
}

fn indented(lines: Vec<String>) -> String {
    lines.iter().map(|line| format!("  {line}\n")).collect()
}

#[cfg(test)]
mod tests {
    use super::super::look::{Log, Program, Shown};
    use super::*;

    #[test]
    fn the_picture_is_complete() {
        let checkpoint = Checkpoint {
            projection: "retail".to_owned(),
            positions: vec![10, 7],
            lag_events: Some(3),
            lag_seconds: Some(0.25),
            parked: 0,
        };
        let status = Status {
            log: Ok(Log { id: "L".to_owned(), epoch: 1, heads: vec![12, 8] }),
            nodes: vec![
                Node {
                    name: "read-primary".to_owned(),
                    shows: Ok(Shown { role: "primary", projections: vec![checkpoint] }),
                },
                Node { name: "replica-1".to_owned(), shows: Err("refused".to_owned()) },
                Node {
                    name: "replica-2".to_owned(),
                    shows: Ok(Shown { role: "replica", projections: Vec::new() }),
                },
            ],
            programs: vec![Program {
                name: "router".to_owned(),
                address: "127.0.0.1:50050".parse().expect("an address"),
                ready: Ok(()),
            }],
        };
        assert!(!status.is_well(), "a node is down");
        let expected = "\
log L epoch 1
  partition  head
  0          12
  1          8

  node          role     projection  checkpoint  lag events  lag s  parked
  read-primary  primary  retail      10 7        3           0.25   0
  replica-1  DOWN: refused
  replica-2  no checkpoint yet

  program  address          health
  router   127.0.0.1:50050  ready
";
        assert_eq!(render(&status), expected);
    }
}
