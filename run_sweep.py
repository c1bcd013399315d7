"""Train, analyze and draw a lab page of a clone: `python run_sweep.py grokking` is `toylab run grokking`.

Runs of a sweep go into OUT/<experiment>/runs; small results beside them. Stopped or killed, the same command goes on."""

from toylab.cli.main import leave
from toylab.cli.main import run_sweep as main

if __name__ == "__main__":
    leave(main())
