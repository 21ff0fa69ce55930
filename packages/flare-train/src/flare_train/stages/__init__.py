"""A recipe's work as a graph of named stages, each done once, resumable, found again by its key.

`flare_train.stages.graph` says what a stage is, `settings` what each kind can be told, `runner`
does what is not done yet. Every other module does the work of one kind.
"""
