// SPDX-License-Identifier: GPL-2.0

//! How a command fails: what happened, what to do next, and the exit code.
//!
//! Comes in: an errno of the kernel, or a cause that is best named by one. Goes out: the text on
//! standard error and the exit code, which is the errno's number as with `rbd`. Nothing else in
//! this program decides on an exit code.

use std::fmt;

use rustix::io::Errno;

/// One failed command.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct Failure {
    message: String,
    advice: Vec<String>,
    errno: Errno,
    /// In place of the errno, where a convention asks for another number.
    exit_code: Option<u8>,
}

/// The result of everything that a command does.
pub type Outcome<T> = Result<T, Failure>;

impl Failure {
    /// A failure with a cause that `errno` names best; `message` says what happened.
    pub fn new(errno: Errno, message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            advice: Vec::new(),
            errno,
            exit_code: None,
        }
    }

    /// A failed system call: `message` says what was tried, the errno's text is added.
    pub fn from_io(error: &std::io::Error, message: impl fmt::Display) -> Self {
        let errno = error
            .raw_os_error()
            .map_or(Errno::IO, Errno::from_raw_os_error);
        let reason = match error.raw_os_error() {
            Some(_) => errno_text(errno),
            None => error.to_string(),
        };
        Self::new(errno, format!("{message}: {reason}"))
    }

    /// Adds one line that says what to do.
    #[must_use]
    pub fn advise(mut self, advice: impl Into<String>) -> Self {
        self.advice.push(advice.into());
        self
    }

    /// Ends the process with `code`, whatever the errno is.
    #[must_use]
    pub fn exits_with(mut self, code: u8) -> Self {
        self.exit_code = Some(code);
        self
    }

    /// The cause.
    pub fn errno(&self) -> Errno {
        self.errno
    }

    /// The exit code of the process, 1 to 133.
    pub fn exit_code(&self) -> u8 {
        let errno = u8::try_from(self.errno.raw_os_error()).unwrap_or(1);
        self.exit_code.unwrap_or(errno)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        for line in &self.advice {
            write!(f, "\n  {line}")?;
        }
        Ok(())
    }
}

/// The C library's text for `errno`, without the number.
pub fn errno_text(errno: Errno) -> String {
    let text = std::io::Error::from(errno).to_string();
    match text.find(" (os error") {
        Some(end) => text[..end].to_owned(),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_code_is_the_errno() {
        assert_eq!(Failure::new(Errno::NOENT, "x").exit_code(), 2);
        assert_eq!(Failure::new(Errno::TIMEDOUT, "x").exit_code(), 110);
        let other = Failure::new(Errno::NOENT, "x").exits_with(127);
        assert_eq!((other.errno(), other.exit_code()), (Errno::NOENT, 127));
    }

    #[test]
    fn advice_stands_below_the_message() {
        let failure = Failure::new(Errno::BUSY, "in use")
            .advise("unmount it")
            .advise("try again");
        assert_eq!(failure.to_string(), "in use\n  unmount it\n  try again");
    }

    #[test]
    fn system_call_errors_keep_their_errno_and_text() {
        let error = std::io::Error::from(Errno::CONNREFUSED);
        let failure = Failure::from_io(&error, "192.0.2.1:7000");
        assert_eq!(failure.errno(), Errno::CONNREFUSED);
        assert_eq!(failure.to_string(), "192.0.2.1:7000: Connection refused");
    }
}
