"""What a person can ask for, for whoever asks: command line, demo, web page, tests.

Nothing here prints, asks or exits. What a person should hear comes back as a value or goes through `tell`; what they
must agree to is a value that is shown to them and comes back as an argument; what goes wrong is of cellwave's errors.

    surroundings.py  the project, its environment, its records: what every use case stands on
    plans.py         a release's plan
    rollouts.py      start, go on with, command and reverse a rollout; look at it again and again
    views.py         a rollout as those see it who show it
    cells.py         what each cell runs
    leases.py        whose a cell is
    deploying.py     put a release into one cell
    removing.py      take a cell's stacks away
    releases.py      build a release; let a held one go again
    collecting.py    remove what ended rollouts leave behind
    installing.py    keep a worker running on this host
    forgetting.py    take the sandbox down, or forget all that it held
"""
