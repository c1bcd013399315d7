"""`python -m toylab` is the command `toylab`."""

from toylab.cli.main import leave, main

if __name__ == "__main__":
    leave(main(program="python -m toylab"))
