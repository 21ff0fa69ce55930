"""The commands of ``flare-train``, one module each; the module's name is the command's.

A module has ``add(commands, common)``, which adds its parser (with `common` as parent, for
``--json`` and ``--debug``) and calls ``set_defaults(run=run)``, and ``run(arguments)``, which
returns an exit code.
What is slow to import is imported in ``run``: ``--help`` loads every module of this folder.
"""
