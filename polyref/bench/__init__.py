"""The benchmark, ``python -m polyref.bench``: what the reference and the losses cost, as ratios measured in one run.

Contenders take turns round by round, and a figure is the median over the rounds of the ratio of two times of the same
round, with its quartiles: what disturbs the machine for a while disturbs both sides of a ratio.

    contender   what is timed, and which of them are compared
    goals       what the fast losses are wanted to reach
    timer       takes turns, and makes ratios of the times
    cuda        time and memory on a device
    memory      the most memory that a call holds
    reference   the engines, the rounding model, and a plain closed form beside them
    losses      polyref.nn, F.cross_entropy, the textbook forms, these compiled, and a copy of the logits
    ours        polyref.nn by its backends
    binary      the binary loss, beside torch's
    suite       which of these a run measures, and for how long
    machine     what the figures depend on
    record      the JSON document
    table       the same for a terminal
    picture     the same to look at
"""
