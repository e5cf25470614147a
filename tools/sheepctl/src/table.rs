// SPDX-License-Identifier: GPL-2.0

//! Tables for people: plain columns, one line per row, no frames.

use std::io::Write;

use tabwriter::TabWriter;

/// Spaces between two columns.
const GAP: usize = 2;

/// The lines of a table with a head.
pub fn columns(head: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let rows = rows.into_iter().map(|row| row.join("\t"));
    aligned(std::iter::once(head.join("\t")).chain(rows))
}

/// Lines of `name: value`, the values below one another.
pub fn pairs(pairs: impl IntoIterator<Item = (&'static str, String)>) -> String {
    let lines = pairs
        .into_iter()
        .map(|(name, value)| format!("{name}:\t{value}"));
    aligned(lines)
}

/// Lines with tabs between their cells, padded. Cells hold no tabs: `printable` escapes them.
fn aligned(lines: impl Iterator<Item = String>) -> String {
    let text: String = lines.map(|line| line + "\n").collect();
    let mut writer = TabWriter::new(Vec::new()).padding(GAP);
    let written = writer
        .write_all(text.as_bytes())
        .and_then(|()| writer.flush());
    match (written, writer.into_inner()) {
        (Ok(()), Ok(bytes)) => String::from_utf8_lossy(&bytes).into_owned(),
        _ => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_without_trailing_space() {
        let rows = [
            vec!["vm0".to_owned(), "10 GiB".to_owned()],
            vec!["a longer name".to_owned(), "4 MiB".to_owned()],
        ];
        assert_eq!(
            columns(&["NAME", "SIZE"], rows),
            "NAME           SIZE\nvm0            10 GiB\na longer name  4 MiB\n"
        );
    }

    #[test]
    fn pairs_line_up() {
        assert_eq!(
            pairs([
                ("name", "vm0".to_owned()),
                ("object size", "4 MiB".to_owned())
            ]),
            "name:         vm0\nobject size:  4 MiB\n"
        );
    }
}
