"""Where settings live, what they mean, and how they are saved."""
