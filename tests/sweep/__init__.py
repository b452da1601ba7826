"""Long runs: kills at many moments, many hands on one queue; a sample of each is in the suite, the whole under `-m sweep`."""
