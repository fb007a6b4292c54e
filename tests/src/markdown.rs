//! Tables of the documents, which tests read and try.

/// The cells of the first table after a heading, its head first. The heading is a whole line, such as `### Errors`.
pub fn table<'a>(document: &'a str, heading: &str) -> Vec<Vec<&'a str>> {
    let (_, section) = document.split_once(&format!("\n{heading}\n")).expect("the heading");
    let lines = section.lines().skip_while(|line| !line.starts_with('|')).take_while(|line| line.starts_with('|'));
    let rows = lines.filter(|line| !line.starts_with("| ---"));
    rows.map(|line| line.trim_matches('|').split(" | ").map(str::trim).collect()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_the_first_one_after_its_heading() {
        let document =
            "# Page\n\n| no |\n| --- |\n\n## Here\n\nText.\n\n| a | b |\n| --- | --- |\n| `1` | x, y |\n\n| c |\n";
        assert_eq!(table(document, "## Here"), [["a", "b"], ["`1`", "x, y"]]);
    }
}
