"""What this machine does, and for whom: samples, history, alerts, limits that act, profiles of models."""
