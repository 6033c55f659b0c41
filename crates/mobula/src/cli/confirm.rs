//! Questions to people at a terminal, in docker's manner.

use super::terminal::emit;
use error::{Error, IoContext, Result};
use std::io::BufRead;

/// Asks `question` on the terminal.
pub(crate) async fn confirm(question: &str) -> Result<bool> {
    emit(&prompt(question))?;
    // A thread of the runtime must not wait for people.
    let answer = tokio::task::spawn_blocking(|| read_answer(&mut std::io::stdin().lock())).await;
    answer.map_err(|source| Error::internal("the answer was not read").because(source))?
}

fn read_answer(input: &mut impl BufRead) -> Result<bool> {
    let mut answer = String::new();
    input.read_line(&mut answer).doing(|| "read the answer")?;
    Ok(answer.trim().eq_ignore_ascii_case("y"))
}

fn prompt(question: &str) -> String {
    format!("{question} [y/N] ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_question_ends_as_dockers_does() {
        let prompt = prompt("Do you grant the above permissions?");
        assert_eq!(prompt, "Do you grant the above permissions? [y/N] ");
    }

    #[test]
    fn only_y_is_yes() {
        for (answer, expected) in [
            ("y\n", true),
            ("Y\n", true),
            (" y \n", true),
            ("yes\n", false),
            ("\n", false),
            ("", false),
        ] {
            assert_eq!(read_answer(&mut answer.as_bytes()).unwrap(), expected, "{answer:?}");
        }
    }
}
