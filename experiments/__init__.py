"""Lab pages: one phenomenon a file. `python run_sweep.py --list` shows them."""
