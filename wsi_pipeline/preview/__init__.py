"""One page on a slide before anything is classified: why it would work, or fail."""
