"""Train any method with Lightning; a resumed training gives the same bits.

:func:`geoseg.training.engine.fit` trains in this process, and
:func:`geoseg.training.processes.fit_on_devices` in one process per device. Both modules
import Lightning, which takes seconds; the modules of limits, schedules and tables do
not.
"""
