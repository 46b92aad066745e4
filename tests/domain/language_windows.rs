//! What the contract language refuses of windows and of what is asked of them, with the whole message.

use crate::language::check_term;

#[test]
fn the_place_of_a_window_needs_windows_that_follow_each_other() {
    check_term(
        "rate = [{ period = 1, is = \"10%\" }, { otherwise = \"20%\" }]\nof = \"Sales\"\neach = \"item\"",
        "1:20: term share (\"Clause\"): period = 1\n  the place of a window, where there are none; write each = \"month\" \
         or another window",
    );
}
