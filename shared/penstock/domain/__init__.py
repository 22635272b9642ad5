"""Pure rules every room agrees on: ids, run states, the depth rule, durations. No I/O, no third-party drivers."""
