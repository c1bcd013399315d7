"""The panels of the page: runs, curves, sweep, views, claims."""
