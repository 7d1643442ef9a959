"""The questions that the competition asked: each trains models and ends in a page with the answer.

``upper_limit``, ``dynamic_static``, ``behavior``, ``out_of_domain`` and ``search`` each have
``answer(study)``; ``study.py`` is what they share. ``sensorium-jax ask`` runs them. Where mice are
simulated the truth is known: page and JSON say what it demands, and whether the answer agrees.
"""
