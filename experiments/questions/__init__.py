"""The questions that the competition asked, each a program that ends in a page with the answer.

    python -m experiments.questions.upper_limit       how much of a response can be predicted?
    python -m experiments.questions.dynamic_static    what does a film's past add?
    python -m experiments.questions.behavior          do running, pupil size and gaze help?
    python -m experiments.questions.out_of_domain     do models of natural films know other stimuli?
    python -m experiments.questions.search            which architecture and training is best?

Without data they train small models on simulated mice, with --data=STORE models of the published
size. Where mice are simulated the truth is known: page and JSON say what it demands, and whether
the answer agrees. Runs are shared between questions, and the same command goes on where it stopped.
"""
