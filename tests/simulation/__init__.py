"""A market in a bottle: the real flows on a real database, a week in seconds, all going wrong.

    world.py    the clock, the queue of what is to happen, luck, and the history
    server.py   the control plane: flows and loops, killed and cut off at any statement
    hosts.py    machines: the agent's own plan over a pretend engine, on lines that lose messages
    people.py   what renters, hosts, the operator and nature do: one table for each
    dealings.py what they do more rarely: orders, payments, volumes in use, own jobs
    laws.py     what must hold: after every step, now and then wholly, and at the end
    market.py   puts them together
    seeds.py    runs a seed

`make simulate SEED=17` replays one market, bit for bit; `make simulate SEEDS=200` runs many.
"""
