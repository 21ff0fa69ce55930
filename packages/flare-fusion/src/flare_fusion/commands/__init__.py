"""The subcommands of ``flare-fusion``, one module each.

A module has ``add_parser``, which describes the arguments and imports nothing heavy, and the
function that does the work.
"""
