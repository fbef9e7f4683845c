//! Tables for terminals and for Markdown.

use std::fmt::Write as _;

/// How a table is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// In columns of equal width.
    Plain,
    /// Markdown.
    Markdown,
}

/// A table.
#[derive(Debug)]
pub struct Table {
    /// The head, and below it the rows.
    rows: Vec<Vec<String>>,
    /// How many columns hold words; those after them hold numbers.
    words: usize,
}

impl Table {
    /// A table with that head, whose first `words` columns hold words.
    pub fn new(words: usize, head: &[&str]) -> Self {
        Self {
            rows: vec![head.iter().map(|&cell| cell.to_owned()).collect()],
            words,
        }
    }

    /// Adds a row.
    pub fn row(&mut self, cells: Vec<String>) {
        self.rows.push(cells);
    }

    /// The text, which ends with a line's end.
    pub fn render(&self, style: Style) -> String {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or_default();
        let widths: Vec<usize> = (0..columns)
            .map(|column| {
                let cells = self.rows.iter().filter_map(|row| row.get(column));
                cells
                    .map(|cell| cell.chars().count())
                    .max()
                    .unwrap_or_default()
            })
            .collect();
        let mut out = String::new();
        for (number, row) in self.rows.iter().enumerate() {
            let cells = widths.iter().enumerate().map(|(column, &width)| {
                let cell = row.get(column).map_or("", String::as_str);
                if column < self.words {
                    format!("{cell:<width$}")
                } else {
                    format!("{cell:>width$}")
                }
            });
            let cells: Vec<String> = cells.collect();
            // Writing to a string cannot fail.
            let _ = match style {
                Style::Plain => writeln!(out, "{}", cells.join("  ").trim_end()),
                Style::Markdown => writeln!(out, "| {} |", cells.join(" | ")),
            };
            if number == 0 && style == Style::Markdown {
                let rules = widths.iter().enumerate().map(|(column, &width)| {
                    let end = if column < self.words { '-' } else { ':' };
                    format!("{}{end}", "-".repeat(width.saturating_sub(1)))
                });
                let rules: Vec<String> = rules.collect();
                let _ = writeln!(out, "| {} |", rules.join(" | "));
            }
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table {
        let mut table = Table::new(1, &["what", "n/s"]);
        table.row(vec!["insert".to_owned(), "12".to_owned()]);
        table.row(vec!["get".to_owned(), "1,234".to_owned()]);
        table
    }

    #[test]
    fn words_stand_left_and_numbers_right() {
        let text = "what      n/s\ninsert     12\nget     1,234\n";
        assert_eq!(table().render(Style::Plain), text);
    }

    #[test]
    fn markdown_has_a_rule_below_the_head() {
        let text =
            "| what   |   n/s |\n| ------ | ----: |\n| insert |    12 |\n| get    | 1,234 |\n";
        assert_eq!(table().render(Style::Markdown), text);
    }
}
