//! Tables for people: columns as wide as their content, cut to the width of the terminal.

use std::fmt::Write;

const GAP: &str = "  ";

/// How a cell is coloured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tint {
    /// Good: mounted, attached.
    Green,
    /// In between.
    Yellow,
    /// Wrong.
    Red,
}

impl Tint {
    fn code(self) -> &'static str {
        match self {
            Self::Green => "\x1b[32m",
            Self::Yellow => "\x1b[33m",
            Self::Red => "\x1b[31m",
        }
    }

    /// The colour of a volume's status.
    pub(crate) fn of_status(status: &str) -> Option<Self> {
        match status {
            "mounted" | "attached" | "ok" => Some(Self::Green),
            "preparing" | "releasing" | "elsewhere" | "degraded" => Some(Self::Yellow),
            "faulty" | "error" => Some(Self::Red),
            _ => None,
        }
    }
}

/// A piece of text in a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Cell {
    text: String,
    tint: Option<Tint>,
}

impl Cell {
    /// A cell of this text in this colour. Control characters are escaped: names and paths come
    /// from elsewhere, and must not steer the terminal.
    pub(crate) fn new(text: impl Into<String>, tint: Option<Tint>) -> Self {
        let text = text.into();
        let text = if text.chars().any(char::is_control) { escaped(&text) } else { text };
        Self { text, tint }
    }

    /// The text, in its colour if colours are wanted.
    pub(crate) fn shown(&self, color: bool) -> String {
        match self.tint.filter(|_| color) {
            Some(tint) => format!("{}{}\x1b[0m", tint.code(), self.text),
            None => self.text.clone(),
        }
    }
}

impl<T: Into<String>> From<T> for Cell {
    fn from(text: T) -> Self {
        Self::new(text, None)
    }
}

fn escaped(text: &str) -> String {
    let mut plain = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        if c.is_control() {
            plain.extend(c.escape_default());
        } else {
            plain.push(c);
        }
    }
    plain
}

/// A column.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Column {
    title: &'static str,
    flexible: bool,
}

impl Column {
    /// A column that keeps its width as long as any other can give way.
    pub(crate) const fn fixed(title: &'static str) -> Self {
        Self { title, flexible: false }
    }

    /// A column that is cut when the table is too wide.
    pub(crate) const fn flexible(title: &'static str) -> Self {
        Self { title, flexible: true }
    }
}

/// Columns and rows.
#[derive(Debug, Clone, Default)]
pub(crate) struct Table {
    flexible: Vec<bool>,
    rows: Vec<Vec<Cell>>,
}

impl Table {
    /// A table of these columns, with their titles as its first row.
    pub(crate) fn new(columns: &[Column]) -> Self {
        let header = columns.iter().map(|column| Cell::from(column.title)).collect();
        Self {
            flexible: columns.iter().map(|column| column.flexible).collect(),
            rows: vec![header],
        }
    }

    /// A table without titles, every column of which can be cut.
    pub(crate) fn bare() -> Self {
        Self::default()
    }

    /// Adds a row.
    pub(crate) fn push(&mut self, row: Vec<Cell>) {
        self.rows.push(row);
    }

    /// The text of the table, at most `width` columns wide where that is possible at all.
    pub(crate) fn render(&self, width: Option<usize>, color: bool) -> String {
        let mut widths = self.natural_widths();
        if let Some(width) = width {
            self.fit(&mut widths, width);
        }
        let mut text = String::with_capacity(self.rows.len() * (widths.iter().sum::<usize>() + 8));
        for row in &self.rows {
            render_row(&mut text, row, &widths, color);
        }
        text
    }

    fn natural_widths(&self) -> Vec<usize> {
        let mut widths = Vec::new();
        for row in &self.rows {
            widths.resize(widths.len().max(row.len()), 0);
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(cell.text.chars().count());
            }
        }
        widths
    }

    /// Takes from the widest flexible column, then from any, until the table fits.
    fn fit(&self, widths: &mut [usize], limit: usize) {
        let gaps = GAP.len() * widths.len().saturating_sub(1);
        loop {
            let excess = (widths.iter().sum::<usize>() + gaps).saturating_sub(limit);
            let widest = self.widest(widths, true).or_else(|| self.widest(widths, false));
            let Some(index) = widest.filter(|_| excess > 0) else { return };
            widths[index] -= 1;
        }
    }

    fn widest(&self, widths: &[usize], only_flexible: bool) -> Option<usize> {
        let least = if only_flexible { 8 } else { 1 };
        let may = |index: usize| !only_flexible || *self.flexible.get(index).unwrap_or(&true);
        (0..widths.len())
            .filter(|index| may(*index) && widths[*index] > least)
            .max_by_key(|index| (widths[*index], std::cmp::Reverse(*index)))
    }
}

fn render_row(text: &mut String, row: &[Cell], widths: &[usize], color: bool) {
    let last = row.iter().rposition(|cell| !cell.text.is_empty()).unwrap_or(0);
    for (index, (cell, width)) in row.iter().zip(widths).take(last + 1).enumerate() {
        let shown = cut(&cell.text, *width);
        match cell.tint.filter(|_| color) {
            Some(tint) => {
                let _ = write!(text, "{}{shown}\x1b[0m", tint.code());
            }
            None => text.push_str(&shown),
        }
        if index < last {
            let used = shown.chars().count();
            text.extend(std::iter::repeat_n(' ', width - used + GAP.len()));
        }
    }
    text.push('\n');
}

fn cut(text: &str, width: usize) -> std::borrow::Cow<'_, str> {
    if text.chars().count() <= width {
        return text.into();
    }
    let mut kept: String = text.chars().take(width.saturating_sub(1)).collect();
    kept.push('…');
    kept.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn volumes() -> Table {
        let columns = [Column::flexible("NAME"), Column::fixed("STATUS"), Column::flexible("PATH")];
        let mut table = Table::new(&columns);
        let mounted = Cell::new("mounted", Tint::of_status("mounted"));
        table.push(vec!["pgdata".into(), mounted, "/run/mobula/mounts/mobula/pgdata".into()]);
        table.push(vec!["a".into(), "available".into(), "".into()]);
        table
    }

    #[test]
    fn columns_are_as_wide_as_their_content() {
        let expected = "\
NAME    STATUS     PATH
pgdata  mounted    /run/mobula/mounts/mobula/pgdata
a       available
";
        assert_eq!(volumes().render(None, false), expected);
        assert_eq!(volumes().render(Some(200), false), expected);
    }

    #[test]
    fn the_widest_flexible_column_is_cut() {
        let expected = "\
NAME    STATUS     PATH
pgdata  mounted    /run/mobula/…
a       available
";
        assert_eq!(volumes().render(Some(32), false), expected);
    }

    #[test]
    fn no_terminal_is_too_narrow() {
        let expected = "\
NAME   STAT…  PATH
pgda…  moun…  /run/…
a      avai…
";
        assert_eq!(volumes().render(Some(20), false), expected);
        for width in 0..20 {
            assert!(!volumes().render(Some(width), true).is_empty());
        }
    }

    #[test]
    fn colours_do_not_count_as_width() {
        let text = volumes().render(None, true);
        assert!(text.contains("\x1b[32mmounted\x1b[0m    /run"), "{text:?}");
    }

    #[test]
    fn control_characters_do_not_reach_the_terminal() {
        let mut table = Table::bare();
        table.push(vec!["a\x1b[2Jb\n".into()]);
        assert_eq!(table.render(None, true), "a\\u{1b}[2Jb\\n\n");
    }
}
