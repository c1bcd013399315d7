"""The command line: `toylab run | fields | list | status | report | explore | export`; `python run_sweep.py PAGE` is
`toylab run PAGE`.

main  which command  ·  options  those of run  ·  run  a page's stages  ·  training  the first of them  ·  listing, fields,
report, status  what there is to run, what can be set, what came out, how far a sweep is  ·  explore, export  a sweep in the
browser, and as one file  ·  parser  options by whole names
"""
