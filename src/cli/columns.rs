//! Tables for people: columns as wide as their widest text.

use super::error::CliError;
use super::output::Output;

/// Prints rows, the first of which are the names of the columns.
///
/// # Errors
/// As [`Output::line`].
pub fn print(rows: &[Vec<String>], out: &mut Output<'_>) -> Result<(), CliError> {
    for line in aligned(rows) {
        out.line(line)?;
    }
    Ok(())
}

fn aligned(rows: &[Vec<String>]) -> Vec<String> {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        let texts = rows.iter().filter_map(|row| row.get(column));
        texts.map(|text| text.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let line = |row: &Vec<String>| {
        let cells = row.iter().zip(&widths);
        let cells: Vec<String> = cells
            .map(|(text, width)| format!("{text:<width$}"))
            .collect();
        cells.join("  ").trim_end().to_owned()
    };
    rows.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_text() {
        let rows = [["A", "NAME"], ["long", "é"], ["x", ""]];
        let rows: Vec<Vec<String>> = rows
            .iter()
            .map(|row| row.map(str::to_owned).to_vec())
            .collect();
        assert_eq!(aligned(&rows), ["A     NAME", "long  é", "x"]);
        assert!(aligned(&[]).is_empty());
    }
}
