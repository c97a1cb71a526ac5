"""`ml-service bench`: the service beside its ceiling and its peers, on the same weights and images, in one run.

bench.py starts what is asked for → rounds.py measures it → results.py computes → report.py and chart.py show it
"""
