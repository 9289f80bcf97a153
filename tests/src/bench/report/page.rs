//! Where reports go: the terminal, files beside the build, and the page of the repository.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};

use super::plot::Plot;

/// The page, from the repository's root, and the folder of its plots.
const PAGE: &str = "BENCHMARKS.md";
const PLOTS: &str = "docs/bench";

/// What one scenario has to tell.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Text in Markdown.
    pub text: String,
    /// Its plots.
    pub plots: Vec<Plot>,
}

/// Places that reports are written to.
pub struct Output {
    /// Beside the build: always.
    pub folder: PathBuf,
    /// Root of the repository, if its page is to be changed.
    pub repository: Option<PathBuf>,
}

impl Output {
    /// Writes the report of a scenario.
    ///
    /// # Errors
    /// A file cannot be written, or the page has no place for it.
    pub fn write(&self, scenario: &str, report: &Report) -> anyhow::Result<()> {
        std::fs::create_dir_all(&self.folder)?;
        std::fs::write(self.folder.join(format!("{scenario}.md")), &report.text)?;
        self.draw(&self.folder, &report.plots)?;
        let Some(root) = &self.repository else { return Ok(()) };
        let page = root.join(PAGE);
        let text = std::fs::read_to_string(&page)?;
        let pictures = report
            .plots
            .iter()
            .map(|plot| format!("\n![{}]({PLOTS}/{}.svg)\n", plot.title, plot.name));
        let section = format!("{}{}", report.text, pictures.collect::<String>());
        std::fs::write(&page, replace(&text, scenario, &section)?)?;
        self.draw(&root.join(PLOTS), &report.plots)
    }

    fn draw(&self, folder: &Path, plots: &[Plot]) -> anyhow::Result<()> {
        std::fs::create_dir_all(folder)?;
        for plot in plots {
            let path = folder.join(format!("{}.svg", plot.name));
            std::fs::write(&path, plot.svg()).with_context(|| path.display().to_string())?;
        }
        Ok(())
    }
}

/// The page with another text between the markers of a scenario.
fn replace(page: &str, scenario: &str, section: &str) -> anyhow::Result<String> {
    let [begin, end] =
        [format!("<!-- bench: {scenario} -->\n"), format!("<!-- end: {scenario} -->")];
    let Some((before, rest)) = page.split_once(&begin) else {
        bail!("{PAGE} has no line {}", begin.trim());
    };
    let (_, after) = rest.split_once(&end).with_context(|| format!("{PAGE} has no {end}"))?;
    Ok(format!("{before}{begin}{section}{end}{after}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_stands_between_the_markers_is_replaced() {
        let page = "a\n<!-- bench: x -->\nold\n<!-- end: x -->\nb\n";
        let replaced = replace(page, "x", "new\n").expect("markers");
        assert_eq!(replaced, "a\n<!-- bench: x -->\nnew\n<!-- end: x -->\nb\n");
        assert!(replace(page, "y", "").is_err());
    }
}
