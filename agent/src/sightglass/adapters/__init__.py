"""What touches the world: each adapter turns one real part into facts or carries out one kind of effect."""
