"""The published systems as TOML documents, read by `flare_train.recipe`."""
