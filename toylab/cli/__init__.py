"""The command line: `toylab run | list | status | report`; `python run_sweep.py PAGE` is `toylab run PAGE`.

main  which command  ·  options  those of run  ·  run  a page's stages  ·  training  the first of them  ·  listing, report,
status  what there is to run, what came out, how far a sweep is  ·  parser  options by whole names
"""
