"""kill -9 of server, agent or database at random moments of a busy market: real processes.

    parts.py       the processes of one market: started, killed, started again
    crowd.py       renters who want something all the time, and can be held for a moment
    truth.py       what Docker says ran, whatever the market believes
    test_kills.py  kills one part after another and asks, each time, what must hold

`make kills KILLS=100` kills a hundred times, and says which MERCATO_KILLS_SEED draws the same
victims and wishes; an ordinary run of the tests kills three times.
"""
