//! Columns as Docker prints them, so that scripts that cut them go on working.

/// Rows of cells, each column as wide as its widest cell and three spaces, at least ten.
pub(crate) fn columns<const N: usize>(header: [&str; N], rows: &[[String; N]]) -> String {
    let mut widths = header.map(str::len);
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut text = String::new();
    let mut line = |cells: [&str; N]| {
        for (at, cell) in cells.iter().enumerate() {
            text.push_str(cell);
            if at + 1 < N {
                let padding = (widths[at] + 3).max(10) - cell.chars().count();
                text.extend(std::iter::repeat_n(' ', padding));
            }
        }
        text.push('\n');
    };
    line(header);
    for row in rows {
        line(row.each_ref().map(String::as_str));
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
