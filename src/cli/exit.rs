//! What the process says with its exit code: the one list of them, for code and for `--help`.

use std::process::ExitCode;

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// It did what was asked, or whoever read its output had enough of it (`hub tail x | head`).
    Done,
    /// The hub refused, or something failed on the way.
    Failed,
    /// The command line makes no sense, or lacks an answer that nobody is there to give.
    Usage,
    /// No hub answered at the address.
    Unreachable,
    /// Somebody pressed Ctrl-C: 128 and the number of the signal, as shells count. A server ends
    /// so only by the second one.
    Interrupted,
    /// A server that was told to stop was told once more.
    Terminated,
}

impl Exit {
    /// The number that the shell sees.
    pub const fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::Unreachable => 3,
            Self::Interrupted => 130,
            Self::Terminated => 143,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

/// The part of `hub --help` that follows the options.
pub const HELP: &str = "\
Exit codes:
  0    done; also when the reader of a pipe closed it early
  1    refused by the hub, or failed: the message says which field, value and rule
  2    usage: the command line makes no sense, or a question could not be asked
  3    unreachable: no hub answered at the address
  130  stopped by Ctrl-C; `hub serve`: by a second one, without waiting for anything
  143  `hub serve`: stopped by a second SIGTERM, in the same way

Environment:
  HUB_URL          where the hub serves channels, as --server
  HUB_OPS_URL      where it answers operators, as --ops
  HUB_BACKUP_URL   where the backups are, as --place
  HUB_ADMIN_TOKEN  the token that `hub cluster recover` and `hub backup create` send, if the hub wants one
  HUB_CONFIG       the file that `hub serve` and `hub config` read, as --config

A first walk:
  hub serve &
  hub channel create orders --ttl-days 7
  echo '{\"order\": 1}' | hub post orders --content-type application/json
  hub get orders/latest
  hub tail orders";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn help_lists_every_code() {
        for exit in [
            Exit::Done,
            Exit::Failed,
            Exit::Usage,
            Exit::Unreachable,
            Exit::Interrupted,
            Exit::Terminated,
        ] {
            let listed = HELP
                .lines()
                .any(|line| line.split_whitespace().next() == Some(&exit.code().to_string()));
            assert!(listed, "{exit:?}");
        }
    }
}
