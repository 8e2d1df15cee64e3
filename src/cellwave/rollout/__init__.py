"""How a rollout runs. Read loop.py (a turn), decide.py (the decision), effects.py (the effects), rows.py (the rows).

The words, one meaning each:

plan        a frozen value: waves of deployments in order; a rollout runs its snapshot
outline     what a plan's deployments are called, wave by wave: what is read of it to show a rollout
rollout     the execution of a plan, by turns
glance      all that is shown of a rollout, read in a few queries without its state
turn        one transaction: an event is taken, a decision made, its outcome written
event       something that happened; it waits in the rollout's inbox until a turn takes it
inbox       a rollout's events in order of arrival, each under a key that is there once
decision    what follows from a state and an event; pure, and never made twice
effect      something to be done outside: deploy, prove, preview, look (check, observe), hold
outbox      the effects that turns asked for and whose end was not told yet
leg         a direction of a rollout: forward, or back
track       how far one deployment of a leg has come
attempt     one try at a deployment, under a name that is unique for ever
preview     a look at what the engine would change in a deployment of the coming wave; it changes nothing
proof       a look from outside that a deployment runs what it should
question    what a rollout waits for a person to answer; a command names the question it answers
lease       whose a cell is, to change it
worker      the process that takes turns and performs effects; any number of hosts may have one
seat        a host, a home and a state backend: where one worker at a time is
beat        a worker's saying that it lives
"""
