"""Training of any method through Lightning, resumable bit for bit.

:func:`geoseg.training.engine.fit` trains here, and
:func:`geoseg.training.processes.fit_on_devices` in a process for each device. Both
modules import Lightning, which takes seconds; those that say what a training is told,
and what comes out of it, do not.
"""
