"""The Library's services: what is installed and kept, what fits, what is new, what lies on the disk."""
