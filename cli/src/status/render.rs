//! The picture as tables.

use super::look::{Checkpoint, Node, Status};

/// Everything, as text for a terminal.
pub fn render(status: &Status) -> String {
    [log(status), nodes(status), programs(status)].concat()
}

fn log(status: &Status) -> String {
    match &status.log {
        Err(error) => format!("log: cannot be seen: {error}\n\n"),
        Ok(log) => {
            let mut rows = vec![row(["partition", "head"])];
            rows.extend(
                log.heads.iter().enumerate().map(|(n, head)| vec![n.to_string(), head.to_string()]),
            );
            format!("log {} epoch {}\n{}\n", log.id, log.epoch, table(&rows))
        }
    }
}

fn nodes(status: &Status) -> String {
    let mut rows =
        vec![row(["node", "role", "projection", "checkpoint", "lag events", "lag s", "parked"])];
    for node in &status.nodes {
        rows.extend(node_rows(node));
    }
    format!("{}\n", table(&rows))
}

fn node_rows(node: &Node) -> Vec<Vec<String>> {
    let shown = match &node.shows {
        Err(error) => return vec![vec![node.name.clone(), format!("DOWN: {error}")]],
        Ok(shown) => shown,
    };
    if shown.projections.is_empty() {
        return vec![vec![node.name.clone(), "no checkpoint yet".to_owned()]];
    }
    shown.projections.iter().map(|c| checkpoint(&node.name, shown.role, c)).collect()
}

fn checkpoint(node: &str, role: &str, c: &Checkpoint) -> Vec<String> {
    let positions: Vec<String> = c.positions.iter().map(u64::to_string).collect();
    let or_unknown = |value: Option<String>| value.unwrap_or_else(|| "?".to_owned());
    vec![
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
    let mut rows = vec![row(["program", "address", "health"])];
    for program in &status.programs {
        let health = match &program.ready {
            Ok(()) => "ready".to_owned(),
            Err(error) => error.replace('\n', "; "),
        };
        rows.push(vec![program.name.clone(), program.address.to_string(), health]);
    }
    table(&rows)
}

fn row<const N: usize>(cells: [&str; N]) -> Vec<String> {
    cells.map(str::to_owned).to_vec()
}

/// Columns as wide as their widest cell; the last cell of a row may be as long as it likes.
fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or_default();
    let width = |column: usize| {
        let inner = rows.iter().filter(|row| row.len() > column + 1);
        inner.map(|row| row[column].chars().count()).max().unwrap_or_default()
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let line = |row: &Vec<String>| {
        let cells = row.iter().enumerate().map(|(n, cell)| format!("{cell:<0$}", widths[n]));
        format!("  {}\n", cells.collect::<Vec<_>>().join("  ").trim_end())
    };
    rows.iter().map(line).collect()
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
  replica-1     DOWN: refused

  program  address          health
  router   127.0.0.1:50050  ready
";
        assert_eq!(render(&status), expected);
    }
}
