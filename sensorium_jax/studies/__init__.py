"""Studies of the questions of the competition: each trains models and writes a page.

``upper_limit``, ``dynamic_static``, ``behavior``, ``out_of_domain`` and ``search`` have a function
``answer(study)``; ``study`` has what they share. ``sensorium-jax ask`` runs them. For simulated
mice the true rates are known: page and JSON list what follows from them, and whether the answer
agrees.
"""
