//! The repository's own lints: what ARCHITECTURE.md and CONTRIBUTING.md promise and the
//! compiler cannot check.
//!
//! Every rule is a pure function from files to complaints, in a file of its own that says what it
//! demands, what it allows, and proves on small inputs that it can fail. Each complaint names a
//! place and what to do about it. Nothing is written, and nothing but cargo is run.

#[path = "tidy/code.rs"]
mod code;
#[path = "tidy/repository.rs"]
mod repository;

#[path = "tidy/budgets.rs"]
mod budgets;
#[path = "tidy/crates.rs"]
mod crates;
#[path = "tidy/glossary.rs"]
mod glossary;
#[path = "tidy/licences.rs"]
mod licences;
#[path = "tidy/links.rs"]
mod links;
#[path = "tidy/mappings.rs"]
mod mappings;
#[path = "tidy/modules.rs"]
mod modules;
#[path = "tidy/protos.rs"]
mod protos;
#[path = "tidy/purity.rs"]
mod purity;
#[path = "tidy/statements.rs"]
mod statements;
#[path = "tidy/words.rs"]
mod words;

use repository::Repository;

/// Fails with everything there is to complain about, at once.
#[track_caller]
fn tidy(complaints: Vec<String>) {
    assert!(complaints.is_empty(), "{} to tidy:\n{}", complaints.len(), complaints.join("\n"));
}

#[test]
fn crates_depend_on_each_other_along_the_allowed_edges_only() {
    tidy(crates::edges(&crates::members()));
}

#[test]
fn the_domain_is_named_only_where_a_team_replaces_it() {
    tidy(crates::domain_is_named(&Repository::read().sources));
}

#[test]
fn the_router_links_no_database_driver() {
    tidy(crates::drivers("headwater-router", &crates::linked("headwater-router")));
}

#[test]
fn the_kernel_and_the_domain_are_pure() {
    let mut complaints = purity::sources(&Repository::read().sources);
    complaints.extend(purity::dependencies(&crates::members()));
    complaints.extend(purity::linked("headwater-kernel", &crates::linked("headwater-kernel")));
    tidy(complaints);
}

#[test]
fn the_modules_of_a_crate_form_no_cycle() {
    tidy(modules::cycles(&Repository::read().sources));
}

#[test]
fn files_functions_and_lines_keep_their_budgets() {
    let repository = Repository::read();
    tidy([budgets::code(&repository.sources), budgets::texts(&repository.texts)].concat());
}

#[test]
fn nothing_unfinished_is_left_lying_about() {
    tidy(words::unfinished(&Repository::read().sources));
}

#[test]
fn programs_do_not_unwrap() {
    tidy(words::unwrapped(&Repository::read().sources));
}

#[test]
fn tests_wait_for_conditions_and_do_not_sleep() {
    tidy(words::slept(&Repository::read().sources));
}

#[test]
fn errors_are_mapped_to_replies_exhaustively() {
    tidy(mappings::wildcards(&Repository::read().sources));
}

#[test]
fn every_statement_has_a_header_and_one_caller() {
    let repository = Repository::read();
    tidy(statements::check(&repository.texts, &repository.sources));
}

#[test]
fn the_glossary_names_the_types_of_the_systems_terms() {
    let repository = Repository::read();
    tidy(glossary::check(&repository.texts, &repository.sources));
}

#[test]
fn what_is_referred_to_is_in_the_repository() {
    let repository = Repository::read();
    tidy(links::check(&repository.texts, &repository.sources));
}

#[test]
fn every_dependency_is_permissively_licensed() {
    tidy(licences::check(&licences::packages()));
    tidy(licences::check(&licences::node_packages()));
}

#[test]
fn the_protos_are_a_manual_that_keeps_its_own_rules() {
    let counter = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));
    tidy(protos::check(headwater_proto::FILE_DESCRIPTOR_SET));
    tidy(protos::check(counter));
}
