//! The repository's own lints: what ARCHITECTURE.md and CONTRIBUTING.md promise and the
//! compiler cannot check.
//!
//! Every rule is a pure function from files to complaints, in a file of its own that says what it
//! demands, what it allows, and proves on small inputs that it can fail. Each complaint names a
//! place and what to do about it. Nothing is written, and nothing but cargo is run.
//!
//! A program of its own beside `behaviour` and `faults`: it needs no cluster, takes seconds, and is
//! run by itself after every edit (`cargo test -p headwater-tests --test tidy`).

mod code;
mod repository;

mod architecture;
mod budgets;
mod crates;
mod docs;
mod glossary;
mod licences;
mod links;
mod mappings;
mod modules;
mod packing;
mod protos;
mod purity;
mod runbook;
mod statements;
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
fn the_architecture_page_says_what_is_so() {
    let repository = Repository::read();
    let page = repository.texts.iter().find(|text| text.path == "ARCHITECTURE.md");
    tidy(architecture::check(&page.expect("ARCHITECTURE.md").text));
}

#[test]
fn the_domain_is_named_only_where_a_team_replaces_it() {
    tidy(crates::domain_is_named(&Repository::read().sources));
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
fn docs_begin_with_the_thing_itself() {
    tidy(docs::beginnings(&Repository::read().sources));
}

#[test]
fn a_let_binds_two_things_at_most() {
    tidy(packing::packed(&Repository::read().sources));
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
fn every_alert_has_a_section_in_the_runbook() {
    let repository = Repository::read();
    tidy(runbook::check(&repository.texts, &repository.sources));
}

#[test]
fn every_node_package_is_permissively_licensed() {
    tidy(licences::check(&licences::node_packages()));
}

#[test]
fn the_protos_are_a_manual_that_keeps_its_own_rules() {
    tidy(protos::check(headwater_domain_proto::FILE_DESCRIPTOR_SET));
    tidy(protos::check(counter::FILE_DESCRIPTOR_SET));
}
