//! Columns as Docker prints them, so that scripts that cut them go on working.

/// A header and rows of cells.
pub(crate) fn columns<const N: usize>(header: [&str; N], rows: &[[String; N]]) -> String {
    let rows = rows.iter().map(|row| row.iter().map(String::as_str).collect());
    aligned(&std::iter::once(header.to_vec()).chain(rows).collect::<Vec<_>>())
}

/// Rows of cells, each column as wide as its widest cell and three spaces, at least ten. The last cell of a row is not
/// padded.
pub(crate) fn aligned(rows: &[Vec<&str>]) -> String {
    let count = rows.iter().map(Vec::len).max().unwrap_or(0);
    let widest = |at: usize| rows.iter().filter_map(|row| row.get(at)).map(|cell| cell.chars().count()).max();
    let widths: Vec<usize> = (0..count).map(|at| (widest(at).unwrap_or(0) + 3).max(10)).collect();
    let mut text = String::new();
    for row in rows {
        for (at, cell) in row.iter().enumerate() {
            text.push_str(cell);
            if at + 1 < row.len() {
                text.extend(std::iter::repeat_n(' ', widths[at] - cell.chars().count()));
            }
        }
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::columns;

    #[test]
    fn columns_are_dockers() {
        let rows = [["127.0.0.1:5000/team/app".to_owned(), "1.0".to_owned(), "4.26MB".to_owned()]];
        insta::assert_snapshot!(columns(["REPOSITORY", "TAG", "SIZE"], &rows), @r"
        REPOSITORY                TAG       SIZE
        127.0.0.1:5000/team/app   1.0       4.26MB
        ");
    }
}
