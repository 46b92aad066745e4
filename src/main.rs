//! The program: reads the command line, runs one role, and says by its exit status how that went.

mod cli;

use clap::Parser;
use std::process::ExitCode;

fn main() -> ExitCode {
    match cli::Cli::parse().run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            cli::tell(format_args!("apportion: {}", cli::explain(&error)));
            cli::exit_status(&error)
        }
    }
}
