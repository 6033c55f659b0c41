//! The command line at a real terminal: questions about privileges and other images, answered,
//! refused, and left; bars that are drawn, and what of them stays to be read.

use super::bed::{Bed, Kind};
use super::image::probe;
use super::on_ours;
use crate::fixture::{PATIENCE, eventually};
use serde_json::json;
use std::io::{Read, Write};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

on_ours!(
    the_question_about_privileges_is_answered_refused_or_left,
    the_question_about_another_image_is_answered_refused_or_left,
    bars_are_drawn_and_what_they_said_last_stays,
);

/// End of file and interrupt, as a keyboard sends them.
const END: &str = "\x04";
const INTERRUPT: &str = "\x03";
/// What a shell says of a program that an interrupt has ended.
const INTERRUPTED: i32 = 130;

/// How wide the terminal is: longer lines go on in the next one.
const COLUMNS: usize = 80;

/// A program of a home at a terminal, which script(1) makes.
struct Terminal {
    child: Child,
    said: Arc<Mutex<Vec<u8>>>,
    reader: Option<std::thread::JoinHandle<()>>,
}

impl Terminal {
    /// `mobula plugin` with these words.
    fn plugin(bed: &Bed, words: &str) -> Self {
        let program = bed.home.command(&[]);
        let program = program.get_program().to_str().unwrap().to_owned();
        // Interrupts are ignored by what a shell without a terminal has begun with `&`, such as this
        // test, and by all that is begun there. What a terminal begins does not.
        let mut command = Command::new("env");
        let line = format!("stty cols {COLUMNS} rows 24; exec {program} plugin {words}");
        command.args(["--default-signal", "script"]);
        command.args(["--quiet", "--return", "--flush", "--command", &line, "/dev/null"]);
        command.env("MOBULA_HOME", bed.home.dir()).env("TERM", "xterm").env_remove("NO_COLOR");
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let (said, mut output) = (Arc::new(Mutex::new(Vec::new())), child.stdout.take().unwrap());
        let kept = said.clone();
        let reader = std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(count @ 1..) = output.read(&mut buffer) {
                kept.lock().unwrap().extend_from_slice(&buffer[..count]);
            }
        });
        Self { child, said, reader: Some(reader) }
    }

    fn said(&self) -> String {
        String::from_utf8_lossy(&self.said.lock().unwrap()).into_owned()
    }

    /// Waits until it asks, and types an answer.
    fn answer(&mut self, question: &str, keys: &str) {
        eventually(question, PATIENCE, || self.said().contains(question));
        self.child.stdin.as_mut().unwrap().write_all(keys.as_bytes()).unwrap();
    }

    /// Its exit code and all that it said.
    fn end(mut self) -> (i32, String) {
        let mut code = None;
        eventually("it ends", PATIENCE, || {
            code = self.child.try_wait().unwrap();
            code.is_some()
        });
        self.reader.take().unwrap().join().unwrap();
        (code.unwrap().code().unwrap(), self.said())
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = (self.child.kill(), self.child.wait());
    }
}

/// What of `said` is on the screen in the end, a line each.
fn screen(said: &str) -> Vec<String> {
    let (mut lines, mut row, mut column) = (vec![Vec::new()], 0usize, 0usize);
    let mut rest = said.chars();
    while let Some(next) = rest.next() {
        match next {
            '\r' => column = 0,
            '\n' => row += 1,
            '\x1b' => {
                let sequence = sequence(&mut rest);
                let count = || sequence.trim_matches(|c: char| !c.is_ascii_digit()).parse();
                match sequence.chars().last() {
                    Some('A') => row = row.saturating_sub(count().unwrap_or(1)),
                    Some('B') => row += count().unwrap_or(1),
                    Some('K') if sequence == "[2K" => lines[row].clear(),
                    Some('K') => lines[row].truncate(column),
                    _ => {}
                }
            }
            text => {
                if column == COLUMNS {
                    (row, column) = (row + 1, 0);
                    lines.resize(lines.len().max(row + 1), Vec::new());
                }
                let width = lines[row].len().max(column + 1);
                lines[row].resize(width, ' ');
                lines[row][column] = text;
                column += 1;
            }
        }
        lines.resize(lines.len().max(row + 1), Vec::new());
    }
    let lines = lines.into_iter().map(|line| line.into_iter().collect::<String>());
    lines.map(|line| line.trim_end().to_owned()).filter(|line| !line.is_empty()).collect()
}

/// The rest of an escape sequence.
fn sequence(rest: &mut impl Iterator<Item = char>) -> String {
    let mut sequence = String::new();
    for next in rest {
        sequence.push(next);
        if next.is_ascii_alphabetic() || next == '~' {
            break;
        }
    }
    sequence
}

const QUESTION: &str = "Do you grant the above permissions? [y/N] ";

fn the_question_about_privileges_is_answered_refused_or_left(kind: Kind) {
    let bed = Bed::start(kind);
    let name = bed.publish("me/probe:v1", &probe());
    let install = |keys: &str| {
        let mut terminal = Terminal::plugin(&bed, &format!("install {name}"));
        terminal.answer(QUESTION, keys);
        terminal.end()
    };
    for keys in ["n\n", "\n", "yes\n", "nope y\n", END] {
        let (code, said) = install(keys);
        assert!(code != 0 && code != INTERRUPTED, "{keys:?}: {code} {said}");
        assert!(said.contains(" - capabilities: [CAP_SYS_ADMIN]"), "{said}");
        assert!(said.contains("were not granted; nothing was changed"), "{keys:?}: {said}");
        assert_eq!(bed.list(""), Vec::<String>::new(), "{keys:?}");
    }
    let (code, said) = install(INTERRUPT);
    assert_eq!(code, INTERRUPTED, "{said}");
    assert_eq!(bed.list(""), Vec::<String>::new());
    let (code, said) = install("Y\n");
    assert_eq!(code, 0, "{said}");
    assert!(bed.is_enabled(&name));
}

/// Docker's own: the prompt of an upgrade ends with the program.
fn the_question_about_another_image_is_answered_refused_or_left(kind: Kind) {
    let bed = Bed::start(kind);
    let name = bed.publish("me/probe:v1", &probe());
    let more = json!({ "capabilities": ["CAP_SYS_ADMIN", "CAP_NET_ADMIN"] });
    let next = bed.publish("me/probe:v2", &probe().with("linux", more));
    bed.install(&name, "--disable");
    let start = || Terminal::plugin(&bed, &format!("upgrade {name} {next}"));
    let reference = || bed.inspect(&name)["PluginReference"].clone();
    let other = "Plugin images do not match, are you sure? [y/N] ";
    for (keys, is_interrupted) in [("n\n", false), (END, false), (INTERRUPT, true)] {
        let mut terminal = start();
        terminal.answer(other, keys);
        let (code, said) = terminal.end();
        assert!(code != 0 && (code == INTERRUPTED) == is_interrupted, "{keys:?}: {code} {said}");
        assert!(!said.contains(QUESTION), "{said}");
        // The second question is about what is new only.
        let mut terminal = start();
        terminal.answer(other, "y\n");
        terminal.answer(QUESTION, keys);
        let (code, said) = terminal.end();
        assert!(code != 0 && (code == INTERRUPTED) == is_interrupted, "{keys:?}: {code} {said}");
        assert!(said.contains(" - capabilities: [CAP_NET_ADMIN]"), "{said}");
        assert_eq!(reference(), name);
    }
    let mut terminal = start();
    terminal.answer(other, "y\n");
    terminal.answer(QUESTION, "y\n");
    let (code, said) = terminal.end();
    assert_eq!(code, 0, "{said}");
    assert_eq!(reference(), next);
}

fn bars_are_drawn_and_what_they_said_last_stays(kind: Kind) {
    let bed = Bed::start(kind);
    let name = bed.publish("me/probe:v1", &probe());
    // From the registry, and from what is there already.
    for alias in ["one", "two"] {
        let words = format!("install --grant-all-permissions --disable --alias {alias} {name}");
        let (code, said) = Terminal::plugin(&bed, &words).end();
        assert_eq!(code, 0, "{said}");
        assert!(
            said.contains("\x1b[2K") && said.contains("Extracting") || alias == "two",
            "{said:?}"
        );
        let is_shown = said.matches("\x1b[?25l").count() <= said.matches("\x1b[?25h").count();
        assert!(is_shown, "the cursor stays hidden: {said:?}");
        let shown = screen(&said);
        let starts = ["v1: Pulling from", "Digest: sha256:", "", "Installed plugin"];
        assert_eq!(shown.len(), starts.len(), "{shown:#?}");
        for (line, start) in shown.iter().zip(starts) {
            assert!(line.starts_with(start), "{shown:#?}");
        }
        assert!(shown[2].contains(": Complete"), "{shown:#?}");
    }
    let missing = bed.registry.name("me/none:v1");
    let (code, said) = Terminal::plugin(&bed, &format!("install {missing}")).end();
    assert!(code != 0 && screen(&said)[0].starts_with("mobula: "), "{said}");
}
