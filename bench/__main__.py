"""`python -m bench`."""

from bench.rollout_vs_loop import main

main()
