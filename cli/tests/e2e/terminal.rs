//! The live view on a real terminal: tmux draws it, and its screen is read.

use std::process::Command;
use std::time::{Duration, Instant};

use crate::lab::{Lab, as_caller, binary};

/// A tmux server of one window in which rbuild runs. It ends with this value.
struct Terminal {
    socket: String,
}

impl Terminal {
    /// Runs rbuild with these words in a window of this width.
    fn run(lab: &Lab, width: u16, words: &str) -> Self {
        let terminal = Self { socket: lab.path("tmux").display().to_string() };
        let path = std::env::var_os("PATH").unwrap();
        let mut command = Command::new("tmux");
        command.args([
            "-S",
            &terminal.socket,
            "-u",
            "-f",
            "/dev/null",
            "new-session",
            "-d",
            "-y",
            "30",
            "-x",
        ]);
        // The window stays when the build is over.
        let line = format!("{} {words}; echo \"status $?\"; exec cat", binary().display());
        command.args([&width.to_string(), &line]).current_dir(lab.path("project")).env_clear();
        command
            .env("PATH", path)
            .env("HOME", lab.path("home"))
            .env("LC_ALL", "C.UTF-8")
            .env("SHELL", "/bin/sh");
        command.env("RBUILD_ROOT", lab.path("home/store")).env("RBUILD_DAEMON_JSON", lab.path("daemon.json"));
        assert!(command.status().unwrap().success());
        terminal
    }

    fn tmux(&self, words: &[&str]) -> String {
        let output = Command::new("tmux").args(["-S", &self.socket]).args(words).output().unwrap();
        assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// The screen, once it is as `wanted` says.
    #[track_caller]
    fn screen(&self, wanted: impl Fn(&str) -> bool) -> String {
        let begun = Instant::now();
        loop {
            // With what scrolled away: a narrower window has fewer rows to spare.
            let screen = self.tmux(&["capture-pane", "-p", "-S", "-"]);
            if wanted(&screen) {
                return screen.lines().map(|line| line.trim_end().to_owned() + "\n").collect();
            }
            assert!(begun.elapsed() < Duration::from_secs(60), "the screen stays\n{screen}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn resize(&self, width: u16) {
        self.tmux(&["resize-window", "-x", &width.to_string()]);
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = Command::new("tmux").args(["-S", &self.socket, "kill-server"]).output();
    }
}

/// Two stages side by side, one of which waits for a file; a name that is longer than a narrow line.
const DOCKERFILE: &str = "FROM busybox:1 AS a\n\
    RUN echo quick one\n\
    FROM busybox:1 AS b\n\
    RUN for n in 1 2 3; do echo line $n of the output; done; until [ -e /gate/open ]; do sleep 0.1; done; echo through\n\
    FROM scratch\n\
    COPY --from=a /etc/passwd /a\n\
    COPY --from=b /etc/passwd /b\n";

fn watched(lab: &Lab, first: u16, second: u16) {
    lab.write("Dockerfile", DOCKERFILE);
    let gate = lab.path("gate");
    std::fs::create_dir_all(&gate).unwrap();
    let _ = std::fs::remove_file(gate.join("open"));
    let words = format!("--no-cache --progress tty -v {}:/gate -t app:1.0 .", gate.display());
    let terminal = Terminal::run(lab, first, &words);

    // What is over stands above what runs; the last lines of what runs stand below its name.
    let at = |width: u16| {
        let screen = terminal.screen(|screen| {
            let long = screen.lines().any(|line| line.contains("] RUN for n in 1 2 3") && fits(line, width));
            long && screen.contains("✓ [a 2/2] RUN echo quick one") && screen.contains("line 3 of the output")
        });
        let place = |text: &str| screen.find(text).unwrap_or_else(|| panic!("no `{text}`:\n{screen}"));
        let order = ["✓ [a 2/2]", "] RUN for n in", "line 3 of the output"].map(place);
        assert!(order.is_sorted(), "{order:?} at {width} columns:\n{screen}");
        // tmux breaks the lines of a window that was made narrower before it tells: what was drawn in between may leave a
        // row behind, but never takes one away that should stay.
        let count = |text: &str| screen.matches(text).count();
        assert_eq!(count("✓ [a 2/2] RUN echo quick one"), 1, "at {width} columns:\n{screen}");
        if second > first {
            assert_eq!(count("] RUN for n in 1 2 3"), 1, "at {width} columns:\n{screen}");
            assert_eq!(count("line 3 of the output"), 1, "at {width} columns:\n{screen}");
        }
    };
    at(first);
    terminal.resize(second);
    at(second);

    std::fs::write(gate.join("open"), "").unwrap();
    let screen = terminal.screen(|screen| screen.contains("status "));
    assert!(screen.contains("built app:1.0 (") && screen.contains("status 0"), "{screen}");
    // Everything that ran is left readable, once, and nothing of the live view.
    for text in
        ["✓ [a 2/2] RUN echo", "✓ [b 2/2] RUN for n in", "✓ [stage-2 1/2] COPY", "✓ [stage-2 2/2] COPY"]
    {
        assert_eq!(screen.matches(text).count(), 1, "`{text}`:\n{screen}");
    }
    assert!(first > second || !screen.contains("line 3 of the output"), "{screen}");
}

/// Whether the long line is as long as a window of this width lets it be: cut in a narrow one, whole in a wide one.
fn fits(line: &str, width: u16) -> bool {
    let whole = line.contains("echo through");
    if width < 120 { !whole && line.trim_end().chars().count() <= usize::from(width) } else { whole }
}

#[test]
fn the_live_view_fits_a_narrow_window_and_one_that_grows() {
    as_caller(&["tmux"], |lab| watched(lab, 80, 200));
}

#[test]
fn the_live_view_fits_a_wide_window_and_one_that_shrinks() {
    as_caller(&["tmux"], |lab| watched(lab, 200, 80));
}
