"""Medical volumes read without silent damage: geometry, labels, resampling, datasets, a CT phantom."""
