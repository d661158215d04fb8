//! The terminal below the live view, which may be made narrower or wider while it is drawn on.
//!
//! indicatif fills each line up to the edge and lets the terminal begin the next one. A terminal takes such lines for one
//! long line and breaks them anew when its width changes, and the next picture lands on what should stay. Here lines end
//! where their text ends, with a line break, and what a change of width makes of them is reckoned with.

use std::io::{self, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use console::measure_text_width;
use indicatif::TermLike;

/// Standard error as a terminal. Copies draw on the same one.
#[derive(Debug, Clone)]
pub(super) struct Screen(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    /// Columns and rows of the terminal, as they were when the last picture was drawn: one picture is made for one size.
    size: (u16, u16),
    /// What the picture under way does, until it is flushed.
    picture: Picture,
    /// Columns of each line of the last picture, and how many rows indicatif takes it for.
    drawn: Vec<(usize, usize)>,
    /// Whether the cursor stands behind the text of a line that is over.
    behind: bool,
}

#[derive(Debug, Default)]
struct Picture {
    /// How many rows at the end of the last picture it takes the place of, as indicatif reckons them.
    replaces: usize,
    /// Each line without the spaces at its end, and its columns with them.
    lines: Vec<(String, usize)>,
    /// Whether the last line may go on.
    open: bool,
}

impl Screen {
    /// The terminal that standard error is.
    pub(super) fn new() -> Self {
        Self(Arc::new(Mutex::new(State { size: size(), ..State::default() })))
    }

    /// Ends the line that the cursor stands in, for whoever writes next.
    pub(super) fn end(&self) {
        let mut state = self.state();
        if std::mem::take(&mut state.behind) {
            let _ = io::stderr().lock().write_all(b"\r\n");
        }
        state.drawn.clear();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// The bytes that draw the picture where the terminal has this width now.
    fn draw(&mut self, width: usize) -> String {
        let Picture { replaces, lines, .. } = std::mem::take(&mut self.picture);
        let mut text = String::new();
        if replaces > 0 {
            let (mut reckoned, mut rows) = (0, 0);
            while reckoned < replaces
                && let Some((columns, taken_for)) = self.drawn.pop()
            {
                reckoned += taken_for;
                rows += rows_of(columns, width);
            }
            // From the last row to the first. To clear all of the screen at once would put it into tmux's history.
            text += "\r\x1b[2K";
            text += &"\x1b[A\x1b[2K".repeat(rows.saturating_sub(1));
        } else if self.behind && !lines.is_empty() {
            text += "\r\n";
        }
        self.behind = !lines.is_empty() || (replaces == 0 && self.behind);
        if replaces > 0 || !lines.is_empty() {
            let made_for = usize::from(self.size.0);
            let drawn =
                |(line, columns): &(String, usize)| (measure_text_width(line), rows_of(*columns, made_for));
            self.drawn = lines.iter().map(drawn).collect();
        }
        let lines: Vec<String> = lines.into_iter().map(|(line, _)| line).collect();
        text + &lines.join("\r\n")
    }
}

/// How many rows a line takes where the terminal breaks it.
fn rows_of(columns: usize, width: usize) -> usize {
    columns.div_ceil(width.max(1)).max(1)
}

/// A line without the spaces at its end, which may stand in front of the end of a colour.
fn trimmed(line: &str) -> String {
    const PLAIN: &str = "\x1b[0m";
    match line.trim_end().strip_suffix(PLAIN) {
        Some(coloured) => format!("{}{PLAIN}", coloured.trim_end()),
        None => line.trim_end().to_owned(),
    }
}

impl TermLike for Screen {
    fn width(&self) -> u16 {
        self.state().size.0
    }

    fn height(&self) -> u16 {
        self.state().size.1
    }

    // Where the cursor goes is reckoned in `draw`: a picture always takes the place of the last lines of the one before.
    fn move_cursor_up(&self, _: usize) -> io::Result<()> {
        Ok(())
    }

    fn move_cursor_down(&self, _: usize) -> io::Result<()> {
        Ok(())
    }

    fn move_cursor_right(&self, _: usize) -> io::Result<()> {
        Ok(())
    }

    fn move_cursor_left(&self, _: usize) -> io::Result<()> {
        Ok(())
    }

    fn clear_line(&self) -> io::Result<()> {
        self.state().picture.replaces += 1;
        Ok(())
    }

    fn write_line(&self, text: &str) -> io::Result<()> {
        self.write_str(text)?;
        self.write_str("")
    }

    fn write_str(&self, text: &str) -> io::Result<()> {
        let picture = &mut self.state().picture;
        // Each line is followed by the spaces that fill it, be they none.
        if picture.open {
            picture.open = false;
        } else {
            picture.lines.push((trimmed(text), measure_text_width(text)));
            picture.open = true;
        }
        Ok(())
    }

    fn flush(&self) -> io::Result<()> {
        let now = size();
        let text = {
            let mut state = self.state();
            let text = state.draw(usize::from(now.0));
            state.size = now;
            text
        };
        let mut output = io::stderr().lock();
        output.write_all(text.as_bytes())?;
        output.flush()
    }
}

/// Columns and rows of the terminal; the usual ones where it does not say.
fn size() -> (u16, u16) {
    match rustix::termios::tcgetwinsize(io::stderr()) {
        Ok(size) if size.ws_col > 0 && size.ws_row > 0 => (size.ws_col, size.ws_row),
        _ => (80, 24),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Draws what indicatif draws: lines after as many that are cleared.
    fn drawn(screen: &Screen, width: usize, replaces: usize, lines: &[&str]) -> String {
        for _ in 0..replaces {
            screen.clear_line().unwrap();
        }
        for line in lines {
            screen.write_str(line).unwrap();
            screen.write_str(&" ".repeat(width.saturating_sub(measure_text_width(line)))).unwrap();
        }
        let mut state = screen.state();
        let text = state.draw(width);
        state.size.0 = u16::try_from(width).unwrap();
        text
    }

    #[test]
    fn a_picture_takes_the_place_of_the_last_lines() {
        let screen = Screen::new();
        screen.state().size.0 = 20;
        assert_eq!(drawn(&screen, 20, 0, &["done one", "running two  "]), "done one\r\nrunning two");
        assert_eq!(
            drawn(&screen, 20, 1, &["done two", "running three"]),
            "\r\x1b[2Kdone two\r\nrunning three"
        );
        assert_eq!(drawn(&screen, 20, 1, &["a", "\x1b[2mb  \x1b[0m"]), "\r\x1b[2Ka\r\n\x1b[2mb\x1b[0m");
        // Where the window was made narrower, two lines of ten columns have become four.
        assert_eq!(
            drawn(&screen, 20, 2, &["0123456789", "0123456789"]),
            "\r\x1b[2K\x1b[A\x1b[2K0123456789\r\n0123456789"
        );
        assert_eq!(drawn(&screen, 5, 2, &["x"]), format!("\r\x1b[2K{}x", "\x1b[A\x1b[2K".repeat(3)));
        // What stays is not drawn over, and whoever writes next begins a line.
        assert_eq!(drawn(&screen, 5, 0, &["y"]), "\r\ny");
        assert!(screen.state().behind);
        assert_eq!(drawn(&screen, 5, 1, &[]), "\r\x1b[2K");
        assert!(!screen.state().behind);
    }
}
