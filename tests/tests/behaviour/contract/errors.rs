//! What clients are told to branch on is what they get: `docs/errors.md` and the protos name every
//! reason of the domain with its code, and no others. (The platform's own are compared where they
//! are defined, in the chassis.)

use std::collections::BTreeSet;

use headwater_domain_model::reasons;
use headwater_domain_proto::FILE_DESCRIPTOR_SET;
use headwater_edge::ErrorReason;
use headwater_edge::{code_of, code_of_rejection, reason_name};
use prost::Message as _;
use prost_types::FileDescriptorSet;
use tonic::Code;

const DOCUMENT: &str = include_str!("../../../../docs/errors.md");

/// Domain, reason and code.
type Row = (String, String, String);

fn row(domain: &str, reason: &str, code: &str) -> Row {
    (domain.to_owned(), reason.to_owned(), code.to_owned())
}

/// `FailedPrecondition` -> `FAILED_PRECONDITION`, as the protocol spells it.
fn spelled(code: Code) -> String {
    let mut spelled = String::new();
    for c in format!("{code:?}").chars() {
        if c.is_uppercase() && !spelled.is_empty() {
            spelled.push('_');
        }
        spelled.extend(c.to_uppercase());
    }
    spelled
}

fn domain_reasons() -> BTreeSet<Row> {
    let reasons = reasons::ALL.iter();
    let rows = reasons.map(|r| row(r.domain, r.code, &spelled(code_of_rejection(r.kind))));
    rows.collect()
}

/// The rows of the table under the domain's heading.
fn documented(document: &str) -> Vec<Row> {
    let (_, section) = document.split_once("## stores and users").expect("the heading");
    let section = section.split("\n## ").next().unwrap_or_default();
    let rows = section.lines().filter(|line| line.starts_with("| `"));
    rows.map(|line| {
        let cells = line.split('|').map(|cell| cell.trim().trim_matches('`'));
        let cells: Vec<_> = cells.skip(1).collect();
        assert_eq!(cells.len(), 6, "domain, reason, code, meaning, advice: {line}");
        assert!(cells[..5].iter().all(|cell| !cell.is_empty()), "an empty cell: {line}");
        row(cells[0], cells[1], cells[2])
    })
    .collect()
}

#[test]
fn the_document_names_exactly_the_domains_reasons() {
    let documented = documented(DOCUMENT);
    let rows: BTreeSet<Row> = documented.iter().cloned().collect();
    assert_eq!(rows, domain_reasons());
    assert_eq!(rows.len(), documented.len(), "a reason stands there twice");
    assert_eq!(rows.len(), reasons::ALL.len(), "a domain has two reasons of one name");
}

/// Comments of the protos name a refusal as `CODE (REASON)`.
fn named_in(comment: &str) -> Vec<(String, String)> {
    let screams =
        |word: &str| word.contains('_') && word.chars().all(|c| c.is_ascii_uppercase() || c == '_');
    let words: Vec<&str> = comment.split_whitespace().collect();
    let pairs = words.windows(2).filter_map(|pair| {
        let (_, inside) = pair[1].split_once('(')?;
        let (reason, _) = inside.split_once(')')?;
        let code = pair[0];
        let is_code = screams(code) || matches!(code, "ABORTED" | "UNAVAILABLE" | "INTERNAL");
        (is_code && screams(reason)).then(|| (code.to_owned(), reason.to_owned()))
    });
    pairs.collect()
}

#[test]
fn the_protos_name_real_reasons_with_their_codes() {
    let platform = (0..).map_while(|number| ErrorReason::try_from(number).ok());
    let platform = platform.map(|r| (spelled(code_of(r)), reason_name(r).to_owned()));
    let domain = domain_reasons().into_iter().map(|(_, reason, code)| (code, reason));
    let known: BTreeSet<(String, String)> = platform.chain(domain).collect();

    let set = FileDescriptorSet::decode(FILE_DESCRIPTOR_SET).expect("a descriptor set");
    let infos = set.file.iter().filter_map(|file| file.source_code_info.as_ref());
    let comments = infos.flat_map(|info| &info.location).map(|place| place.leading_comments());
    let named: BTreeSet<_> = comments.flat_map(named_in).collect();
    assert!(named.len() >= 6, "the protos say what is refused: {named:?}");
    let unknown: Vec<_> = named.difference(&known).collect();
    assert!(unknown.is_empty(), "not among the reasons, or with another code: {unknown:?}");
}

#[test]
fn a_difference_would_be_seen() {
    let changed = DOCUMENT.replace("`SKU_TAKEN` | ALREADY_EXISTS", "`SKU_TAKEN` | ABORTED");
    let rows: BTreeSet<Row> = documented(&changed).into_iter().collect();
    assert_eq!(domain_reasons().difference(&rows).count(), 1);
    assert_eq!(
        named_in("Closes it. FAILED_PRECONDITION (STORE_HAS_STOCK) while (as yet) so."),
        [("FAILED_PRECONDITION".to_owned(), "STORE_HAS_STOCK".to_owned())]
    );
    assert_eq!(named_in("answered with ABORTED (VERSION_CONFLICT),").len(), 1);
}
