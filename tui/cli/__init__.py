"""Everything the screens do, without a screen."""
