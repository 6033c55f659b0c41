//! What is wrong with options, each with the one to blame.

use error::{Error, Result};

/// Something that is wrong with an option, or with how it goes with others.
#[derive(Debug)]
pub struct Mistake {
    /// The option to blame: one that is given, by its proper name.
    pub option: &'static str,
    /// What is wrong, and the way out.
    pub error: Error,
}

impl Mistake {
    /// A value that cannot be: `InvalidArgument`.
    #[must_use]
    pub fn new(option: &'static str, message: impl Into<String>) -> Self {
        Self { option, error: Error::invalid_argument(message) }
    }
}

/// All of them in one error of the first one's kind; none → fine.
pub fn told(mut mistakes: Vec<Mistake>) -> Result<()> {
    match mistakes.len() {
        0 => Ok(()),
        1 => Err(mistakes.remove(0).error),
        _ => {
            let all: Vec<_> = mistakes.iter().map(|mistake| mistake.error.chain()).collect();
            Err(Error::new(mistakes[0].error.kind(), all.join("; ")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_mistakes_are_told_in_one_error() {
        assert!(told(Vec::new()).is_ok());
        let one = || Mistake::new("a", "a is wrong");
        assert_eq!(told(vec![one()]).unwrap_err().message(), "a is wrong");
        let two = Mistake { option: "b", error: Error::out_of_range("b is too large") };
        let error = told(vec![one(), two]).unwrap_err();
        assert_eq!(error.kind(), error::Kind::InvalidArgument);
        assert_eq!(error.message(), "a is wrong; b is too large");
    }
}
