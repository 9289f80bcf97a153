//! Section 7 of docs/your-own-domain.md, carried out on a repository that `headwater new` made.

use std::path::Path;

const PAGE: &str = include_str!("../../../docs/your-own-domain.md");

/// Adds the view of the page to the repository of an aggregate with this name, and looks at it in
/// the repository's test.
pub fn one_more_view(root: &Path, name: &str, camel: &str) {
    let step = |step: &str| block(step).replace("counter", name).replace("Counter", camel);
    edit(&root.join("Cargo.toml"), |text| {
        text.replace("\nprost = ", "\nprost-types = \"0.14\"\nprost = ")
    });
    edit(&root.join(format!("proto/{name}/v1/{name}.proto")), |text| {
        let imported = text.replace(
            "import \"headwater",
            "import \"google/protobuf/timestamp.proto\";\nimport \"headwater",
        );
        let (services, messages) = imported.split_once("// Event:").expect("the messages");
        let services = services.trim_end().strip_suffix('}').expect("the end of a service");
        format!("{services}{}}}\n\n// Event:{messages}\n{}", step("method"), step("messages"))
    });
    std::fs::write(root.join("src/recent.rs"), step("view")).expect("written");
    edit(&root.join("src/lib.rs"), |text| {
        let view = format!("view::{camel}Row");
        text.replace("pub mod api;", "pub mod api;\npub mod recent;")
            .replace(&view, &format!("{view}, recent::RecentRow"))
    });
    edit(&root.join("src/api.rs"), |text| {
        let all = text.trim_end().strip_suffix('}').expect("the end of the queries");
        format!("{}\n{}}}\n", all.replace("{aggregate,", "{aggregate, recent,"), step("adapter"))
    });
    edit(&root.join(format!("tests/{name}.rs")), |text| {
        text.replace("IncrementRequest,", "IncrementRequest, ListRecentRequest,")
            .replace("    let options = None;\n", LOOK)
    });
}

/// The one that was added to last comes first.
const LOOK: &str = "
    let request = ListRecentRequest { consistency: at_least(&token), ..Default::default() };
    let recent = queries.list_recent(request).await.expect(\"read\").into_inner().recent;
    assert_eq!(recent.len(), 2, \"{recent:?}\");
    assert!(format!(\"{:?}\", recent[0]).contains(&ids[0].to_string()), \"{recent:?}\");

    let options = None;
";

/// The code block of a step.
fn block(step: &str) -> String {
    let mark = format!(" step=\"{step}\"\n");
    let (_, rest) = PAGE.split_once(&mark).expect("a step of the page");
    let (block, _) = rest.split_once("```\n").expect("its end");
    block.to_owned()
}

fn edit(path: &Path, change: impl FnOnce(&str) -> String) {
    let text = std::fs::read_to_string(path).expect("a file");
    let changed = change(&text);
    assert_ne!(changed, text, "{} should have changed", path.display());
    std::fs::write(path, changed).expect("written");
}
