// SPDX-License-Identifier: GPL-2.0

//! Tables for people: plain columns, one line per row, no frames.

use comfy_table::presets::NOTHING;
use comfy_table::{ContentArrangement, Table};

/// The lines of a table with a head.
pub fn columns(head: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let mut table = bare();
    table.set_header(head);
    table.add_rows(rows);
    text(&mut table)
}

/// Lines of `name: value`, the values below one another.
pub fn pairs(pairs: impl IntoIterator<Item = (&'static str, String)>) -> String {
    let mut table = bare();
    table.add_rows(
        pairs
            .into_iter()
            .map(|(name, value)| vec![format!("{name}:"), value]),
    );
    text(&mut table)
}

fn bare() -> Table {
    let mut table = Table::new();
    table
        .load_preset(NOTHING)
        .set_content_arrangement(ContentArrangement::Disabled);
    table
}

fn text(table: &mut Table) -> String {
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    let lines = table.lines().map(|line| format!("{}\n", line.trim_end()));
    lines.collect()
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
